"""Figures against hand-made cases."""

import numpy as np
import pytest

from ml.training.calibrate import fit_temperature, softmax
from ml.training.metrics import calibration_error, economics, scores
from ml.training.rows import Samples


def samples(label, long_return, short_return) -> Samples:
    n = len(label)
    columns = (np.arange(n), np.arange(n), np.zeros((n, 1), np.float32))
    return Samples(*columns, np.array(label), np.array(long_return), np.array(short_return))


def test_scores_of_a_perfect_and_of_an_empty_model():
    label = np.array([0, 1, 2, 1])
    perfect = scores(np.eye(3)[label] * 0.999997 + 1e-6, label)
    assert perfect["accuracy"] == perfect["auc"] == perfect["balanced_accuracy"] == 1.0
    assert perfect["log_loss"] < 1e-5
    empty = scores(np.full((4, 3), 1 / 3), label)
    assert empty["log_loss"] == pytest.approx(np.log(3), abs=1e-6)
    assert empty["brier"] == pytest.approx(2 / 3, abs=1e-6)
    assert empty["auc"] == 0.5


def test_auc_is_left_out_when_a_class_does_not_occur():
    assert "auc" not in scores(np.full((4, 3), 1 / 3), np.array([0, 1, 1, 0]))


def test_honest_probabilities_have_a_small_calibration_error():
    rng = np.random.default_rng(1)
    probability = rng.dirichlet((2, 3, 2), 40_000)
    label = (rng.random(40_000)[:, None] > probability.cumsum(axis=1)).sum(axis=1)
    assert calibration_error(probability, label) < 0.01
    sharp = probability**3 / (probability**3).sum(axis=1, keepdims=True)
    assert calibration_error(sharp, label) > 0.1


def test_temperature_undoes_overconfidence_and_keeps_the_best_class():
    rng = np.random.default_rng(2)
    honest = rng.normal(size=(20_000, 3))
    probability = softmax(honest)
    label = (rng.random(20_000)[:, None] > probability.cumsum(axis=1)).sum(axis=1)
    temperature = fit_temperature(honest * 2.5, label)
    assert temperature == pytest.approx(2.5, rel=0.05)
    scaled = softmax(honest * 2.5 / temperature)
    assert (scaled.argmax(axis=1) == honest.argmax(axis=1)).all()


def test_economics_count_costs_and_the_side_that_was_advised():
    probability = np.array([[0.1, 0.1, 0.8], [0.7, 0.2, 0.1], [0.2, 0.6, 0.2], [0.3, 0.3, 0.4]])
    rows = samples([2, 1, 0, 2], [0.01, 0.0, 0.5, 0.5], [-0.01, 0.0002, 0.5, 0.5])
    found = economics(probability, rows, threshold=0.6, cost_bps=5.0)
    assert found["advised"] == 2
    assert found["hit_rate"] == 0.5
    assert found["net_positive_rate"] == 0.5
    assert found["mean_gross_bps"] == pytest.approx((100 + 2) / 2)
    assert found["mean_net_bps"] == pytest.approx((100 + 2) / 2 - 5)


def test_economics_of_a_model_that_never_advises():
    probability = np.full((3, 3), 1 / 3)
    rows = samples([2, 1, 0], [0.0] * 3, [0.0] * 3)
    assert economics(probability, rows, threshold=0.6, cost_bps=5.0)["advised"] == 0
