"""docs/features.md says what the catalogue says."""

from pathlib import Path

from features.catalogue import catalogue_markdown
from tests.features.harness import own_features

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "features.md"


def test_the_document_is_current() -> None:
    fresh = catalogue_markdown()
    again = "run `python -m features.catalogue > docs/features.md`"
    assert DOCUMENT.read_text(encoding="utf-8") == fresh, again


def test_it_has_a_section_for_every_feature() -> None:
    text = DOCUMENT.read_text(encoding="utf-8")
    for feature in own_features():
        assert f"### `{feature.name}`" in text
        assert feature.words.source in text
