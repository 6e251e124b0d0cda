"""From rows to a registered candidate: repeatable, honest, and all or nothing."""

import dataclasses
import json

import numpy as np
import pytest

from engine.errors import DataError
from ml import registry
from ml.training import signal_classifier, tick_mlp
from tests.ml.conftest import NETWORK, TOY, TREES, toy_rows, toy_spec

RECIPES = {
    "signal_classifier": (signal_classifier, TREES),
    "tick_mlp": (tick_mlp, NETWORK),
}


@pytest.fixture(params=sorted(RECIPES))
def recipe(request):
    return RECIPES[request.param]


def test_the_same_rows_and_seed_give_the_same_bytes(recipe, tmp_path):
    module, settings = recipe
    found = []
    for name in ("a", "b"):
        root = tmp_path / name
        result = module.train(toy_rows(), toy_spec(), TOY, out_dir=root, settings=settings)
        names = ("model.onnx", "golden.npz", "model.meta.json", "model_card.md")
        found.append([(result.folder / file).read_bytes() for file in names])
    assert found[0] == found[1]
    other = dataclasses.replace(settings, seed=43)
    result = module.train(toy_rows(), toy_spec(), TOY, out_dir=root, settings=other)
    assert (result.folder / "model.onnx").read_bytes() != found[0][0]


def test_it_finds_skill_where_there_is_some_and_says_so(recipe, tmp_path):
    module, settings = recipe
    better = {"trees": 60} if module is signal_classifier else {"epochs": 20}
    settings = dataclasses.replace(settings, **better)
    result = module.train(toy_rows(4000), toy_spec(), TOY, out_dir=tmp_path, settings=settings)
    assert set(result.test) == {"model", "always_hold", "class_prior", "logistic"}
    assert result.test["model"]["log_loss"] < 0.98 * result.test["class_prior"]["log_loss"]
    card = (result.folder / "model_card.md").read_text()
    assert TOY.note in card
    assert f"{result.test['model']['log_loss']:.4f}" in card


def test_it_admits_that_there_is_none_where_there_is_none(recipe, tmp_path):
    module, settings = recipe
    rows = toy_rows(4000)
    rows.x = np.random.default_rng(99).normal(size=rows.x.shape).astype(np.float32)
    result = module.train(rows, toy_spec(), TOY, out_dir=tmp_path, settings=settings)
    assert result.test["model"]["log_loss"] > 0.97 * result.test["class_prior"]["log_loss"]
    card = (result.folder / "model_card.md").read_text()
    assert "does NOT beat" in card or "next to nothing" in card


def test_a_result_is_a_candidate_that_verifies(recipe, tmp_path):
    module, settings = recipe
    result = module.train(toy_rows(), toy_spec(), TOY, out_dir=tmp_path, settings=settings)
    assert result.entry.status == "candidate"
    assert [finding.ok for finding in registry.verify(tmp_path)] == [True]
    meta = json.loads((result.folder / "model.meta.json").read_bytes())
    assert meta["settings"]["seed"] == 42
    assert abs(sum(meta["feature_importance"].values()) - 1) < 1e-3
    sizes = {path.name: path.stat().st_size for path in result.folder.iterdir()}
    assert max(sizes.values()) < 1_500_000


def test_interrupted_training_writes_nothing(recipe, tmp_path):
    module, settings = recipe

    def interrupt(stage, share):
        if stage == "export":
            raise KeyboardInterrupt

    root = tmp_path / "artifacts"
    options = {"out_dir": root, "settings": settings, "progress": interrupt}
    with pytest.raises(KeyboardInterrupt):
        module.train(toy_rows(), toy_spec(), TOY, **options)
    assert not root.exists()


def test_rows_that_are_not_warm_are_never_trained_on(recipe):
    module, settings = recipe
    rows = toy_rows()
    rows.x[~rows.valid] = np.nan
    labelled = module.label_rows(rows, settings)
    assert np.isfinite(labelled.x).all()
    assert len(labelled) <= rows.valid.sum()
    rows.valid[:] = False
    with pytest.raises(DataError, match="warm"):
        module.label_rows(rows, settings)


def test_instruments_are_labelled_apart(recipe):
    module, settings = recipe
    rows = toy_rows(400)
    alone = module.label_rows(rows, settings)
    doubled = toy_rows(400)
    for name, values in vars(doubled).items():
        setattr(doubled, name, np.repeat(values, 2, axis=0))
    doubled.instrument[1::2] = 1
    for name in ("bid", "ask", "bar_open", "bar_high", "bar_low", "bar_close"):
        getattr(doubled, name)[1::2] *= 7.0  # another instrument at another price
    both = module.label_rows(doubled, settings)
    assert len(both) == 2 * len(alone)
    assert np.array_equal(both.label[::2], alone.label)
    assert np.array_equal(both.label[1::2], alone.label)


def test_a_horizon_that_spans_a_night_gives_no_label():
    rows = toy_rows(400)
    dense = signal_classifier.label_rows(rows, TREES)
    rows.ts[200:] += 8 * 3600 * 1_000_000_000
    night = signal_classifier.label_rows(rows, TREES)
    assert len(night) == len(dense) - TREES.horizon
    assert (night.end_ts - night.ts).max() < 3600 * 1_000_000_000


@pytest.mark.parametrize(
    ("module", "changes", "name"),
    [
        (signal_classifier, {"horizon": 0}, "horizon"),
        (signal_classifier, {"row_share": 1.5}, "row_share"),
        (signal_classifier, {"l1": -1.0}, "l1"),
        (signal_classifier, {"max_depth": 40}, "max_depth"),
        (tick_mlp, {"epochs": 0}, "epochs"),
        (tick_mlp, {"hidden": ()}, "hidden"),
        (tick_mlp, {"threshold": 2.0}, "threshold"),
    ],
)
def test_settings_out_of_range_are_named(module, changes, name):
    with pytest.raises(DataError, match=name):
        module.Settings(**changes).check()
