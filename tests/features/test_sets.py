"""The committed sets: what they hold, what they need, and that they are written canonically."""

from collections import Counter
from pathlib import Path

import pytest

from features.registry import required_inputs, resolve
from features.spec import FeatureSpec, parse_spec

FOLDER = Path(__file__).resolve().parents[2] / "config" / "features"
SIZES = {
    "signal_classifier_28": 28,
    "tfa_55": 55,
    "price_direction_10": 10,
    "rl_33": 33,
    "microstructure": 24,
    "position_sizer_15": 15,
    "tick_mlp": 11,
    "tick_quotes": 10,
}


def committed(name: str) -> FeatureSpec:
    return parse_spec((FOLDER / f"{name}.json").read_bytes(), name)


def test_every_set_is_known_here() -> None:
    assert {path.stem for path in FOLDER.glob("*.json")} == set(SIZES)


@pytest.mark.parametrize("name", SIZES)
def test_a_set_resolves_has_its_size_and_its_canonical_form(name: str) -> None:
    spec = committed(name)
    assert len(spec) == len(resolve(spec)) == SIZES[name]
    assert (FOLDER / f"{name}.json").read_bytes() == spec.to_json()


@pytest.mark.parametrize("name", ["tfa_55", "price_direction_10", "rl_33"])
def test_sets_on_bars_need_nothing_but_bars(name: str) -> None:
    assert required_inputs(committed(name)) == {"bars"}


def test_the_55_are_what_the_document_says() -> None:
    groups = Counter(entry.feature.words.group for entry in resolve(committed("tfa_55")))
    assert groups == {
        "price and trend": 16, "momentum": 10, "volatility": 13, "volume and flow": 10, "time": 6,
    }  # fmt: skip
    assert set(committed("rl_33").names) <= set(committed("tfa_55").names)
    assert set(committed("price_direction_10").names) <= set(committed("tfa_55").names)
