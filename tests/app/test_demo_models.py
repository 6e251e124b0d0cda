"""The committed demonstration models are fresh, verify, and say plainly what they are."""

import shutil
from pathlib import Path

import pytest

from app import demo_models
from ml import registry

ARTIFACTS = Path(__file__).resolve().parents[2] / "artifacts"


def test_committed_models_are_not_stale():
    assert demo_models.stale(ARTIFACTS) == {}, "run make demo-models"


def test_committed_models_verify():
    findings = {f.entry.name: f.reason for f in registry.verify(ARTIFACTS)}
    for demo in demo_models.DEMOS:
        assert findings[f"{demo.model_id}:{demo_models.VERSION}"] == ""


@pytest.mark.parametrize("demo", demo_models.DEMOS, ids=lambda demo: demo.model_id)
def test_committed_models_serve_and_are_small(demo):
    loaded = registry.load(ARTIFACTS, demo.model_id)
    assert loaded.entry.status == "production"
    assert len(loaded.model_bytes) < 1_500_000
    card = (ARTIFACTS / demo.model_id / demo_models.VERSION / "model_card.md").read_text()
    assert "no skill on any real market" in card.replace("\n", " ")


def test_a_changed_recipe_is_seen(tmp_path, monkeypatch):
    copy = tmp_path / "artifacts"
    shutil.copytree(ARTIFACTS, copy, ignore=shutil.ignore_patterns("kernels"))
    monkeypatch.setattr(demo_models, "recipe_identity", lambda demo: "0" * 64)
    reasons = demo_models.stale(copy)
    assert set(reasons) == {demo.model_id for demo in demo_models.DEMOS}
    monkeypatch.undo()
    shutil.rmtree(copy / "TickMLP")
    assert "TickMLP" in demo_models.stale(copy)


def test_the_recipe_is_code_and_numbers_not_words(tmp_path, monkeypatch):
    demo = demo_models.DEMOS[0]
    root = tmp_path / "repo"
    for name in demo_models.PARTS:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(demo_models.ROOT / name, root / name)
    monkeypatch.setattr(demo_models, "ROOT", root)
    before = demo_models.recipe_identity(demo)
    path = root / "ml/training/labels.py"
    text = path.read_text()
    path.write_text("# said otherwise\n" + text.replace("Return Wilder's", "Give Wilder's"))
    assert demo_models.recipe_identity(demo) == before
    path.write_text(text.replace("ATR_BARS = 14", "ATR_BARS = 15"))
    assert demo_models.recipe_identity(demo) != before


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("demo", demo_models.DEMOS, ids=lambda demo: demo.model_id)
def test_a_rebuild_changes_no_byte(demo, tmp_path):
    copy = tmp_path / "artifacts"
    shutil.copytree(ARTIFACTS, copy, ignore=shutil.ignore_patterns("kernels"))
    demo_models.build(demo, copy, scratch=tmp_path / "scratch")
    for path in sorted((ARTIFACTS / demo.model_id / demo_models.VERSION).iterdir()):
        rebuilt = copy / demo.model_id / demo_models.VERSION / path.name
        assert rebuilt.read_bytes() == path.read_bytes(), path.name
    assert (copy / "registry.json").read_bytes() == (ARTIFACTS / "registry.json").read_bytes()
