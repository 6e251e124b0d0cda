"""What is exported answers as its source does, also where thresholds and rows nearly touch."""

import lightgbm as lgb
import numpy as np
import onnx
import pytest

from engine.errors import DataError
from ml.onnx_scan import scan
from ml.runtime.session import OrtModel
from ml.training.network import Fit, fit_network
from ml.training.onnx_graph import (
    float32_thresholds,
    network_to_onnx,
    thresholds,
    tree_probabilities,
    trees_to_onnx,
)

FEATURES = 5


def forest(**more) -> lgb.Booster:
    """Train on float64 values that lie densely, so that thresholds are no float32."""
    rng = np.random.default_rng(4)
    x = rng.normal(size=(3000, FEATURES))
    x[:, 0] = np.round(x[:, 0], 2) + 1e-10
    x[rng.random(x.shape) < 0.02] = np.nan
    label = np.digitize(np.nan_to_num(x[:, 0] * x[:, 1] + x[:, 2]), [-0.5, 0.5])
    settings = {
        "objective": "multiclass",
        "num_class": 3,
        "verbosity": -1,
        "num_threads": 1,
        "deterministic": True,
        "force_row_wise": True,
    }
    return lgb.train(settings | more, lgb.Dataset(x, label), 15)


def open_model(data: bytes, columns: int = 3) -> OrtModel:
    x = np.zeros((1, scan(data).inputs[0].shape[1]), np.float32)
    return OrtModel(data, x=x, y=np.zeros((1, columns), np.float32))


@pytest.fixture(scope="module")
def plain() -> lgb.Booster:
    return forest()


@pytest.fixture(scope="module")
def cured(plain) -> lgb.Booster:
    return float32_thresholds(plain)


def beside(booster: lgb.Booster) -> np.ndarray:
    """Return float32 rows with each threshold's neighbours on both sides."""
    rng = np.random.default_rng(9)
    rows = []
    for feature, threshold in thresholds(booster):
        near = np.float32(threshold)
        for value in (near, np.nextafter(near, np.float32(9)), np.nextafter(near, np.float32(-9))):
            row = rng.normal(size=FEATURES).astype(np.float32)
            row[feature] = value
            rows.append(row)
    return np.array(rows)


def test_thresholds_as_float32_change_no_answer_of_the_source(plain, cured):
    rows = beside(plain)
    found = [t for _, t in thresholds(cured)]
    assert all(float(np.float32(t)) == t for t in found)
    assert any(float(np.float32(t)) != t for _, t in thresholds(plain))
    rows64 = rows.astype(np.float64)
    assert np.array_equal(plain.predict(rows64), cured.predict(rows64))


def test_without_the_cure_single_rows_take_the_other_branch(plain):
    """The trap is real here: this is what the cure is for."""
    rows = beside(plain)
    model = open_model(trees_to_onnx(plain, features=FEATURES, temperature=1.0, properties={}))
    error = np.abs(model.run_batch(rows) - tree_probabilities(plain, 1.0, rows)).max(axis=1)
    assert (error > 1e-5).any()


def test_exported_trees_answer_as_their_source(cured):
    rng = np.random.default_rng(6)
    rows = np.concatenate([rng.normal(size=(20_000, FEATURES)).astype(np.float32), beside(cured)])
    rows[::50, 2] = np.nan
    rows[0] = np.nan
    rows[1] = 0.0
    data = trees_to_onnx(cured, features=FEATURES, temperature=1.7, properties={"k": "v"})
    error = np.abs(open_model(data).run_batch(rows) - tree_probabilities(cured, 1.7, rows))
    assert error.max() < 1e-6
    declared = scan(data)
    assert declared.opsets == {"": 17, "ai.onnx.ml": 1}
    assert declared.metadata == {"k": "v"}
    onnx.checker.check_model(onnx.load_from_string(data), full_check=True)


def test_the_same_trees_give_the_same_bytes(cured):
    again = float32_thresholds(forest())
    options = {"features": FEATURES, "temperature": 1.0, "properties": {"b": "1", "a": "2"}}
    assert trees_to_onnx(cured, **options) == trees_to_onnx(again, **options)


def test_zero_as_missing_is_refused():
    with pytest.raises(DataError, match="zero_as_missing"):
        float32_thresholds(forest(zero_as_missing=True))


def test_exported_networks_normalise_and_calibrate_inside_the_graph():
    rng = np.random.default_rng(8)
    x = rng.normal(size=(600, 3)) * [1, 10, 100] + [5, -50, 1000]
    label = (x[:, 0] > 5).astype(np.int64) * 2
    mean = x.mean(axis=0).astype(np.float32).astype(np.float64)
    scale = (1 / x.std(axis=0)).astype(np.float32).astype(np.float64)
    normal = (x - mean) * scale
    network, losses = fit_network((normal, label), (normal, label), Fit(hidden=(6, 4), epochs=8))
    assert losses[-1] < losses[0]
    data = network_to_onnx(
        network.weights, network.biases, mean=mean, scale=scale, temperature=2.0, properties={}
    )
    raw = network.scores((x.astype(np.float32) - mean) * scale) / 2.0
    expected = np.exp(raw) / np.exp(raw).sum(axis=1, keepdims=True)
    assert np.abs(open_model(data).run_batch(x.astype(np.float32)) - expected).max() < 1e-5
    assert scan(data).opsets == {"": 17}
