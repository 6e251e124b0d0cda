"""PSI and KS against a second formulation, and their bounds where neighbours are alike."""

import msgspec
import numpy as np
import pytest
from scipy import stats

from ml.watch.drift import chi_square, drift_of
from ml.watch.reference import (
    KEY,
    Reference,
    dissimilarity,
    inflation,
    reference_in,
    reference_of,
)

NAMES = ("a", "b")


def alike(n: int, r: float, seed: int, columns: int = 2) -> np.ndarray:
    """Return columns whose neighbours have a correlation of r."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((n, columns))
    for k in range(1, n):
        x[k] = r * x[k - 1] + np.sqrt(1 - r * r) * x[k]
    return x.astype(np.float32)


def reference(x: np.ndarray) -> Reference:
    return reference_of(x, NAMES, np.zeros(len(x), int))


def test_measures_are_those_of_the_textbook():
    rng = np.random.default_rng(4)
    train, now = rng.normal(size=(5000, 2)), rng.normal(0.5, 1.3, size=(3000, 2))
    kept = reference(train)
    found = drift_of(now[:, 0], kept.features["a"], kept.rows, 1.0)
    edges = np.quantile(train[:, 0], np.arange(1, 20) / 20)
    a = np.histogram(train[:, 0], np.r_[-np.inf, edges, np.inf])[0] / 5000
    b = np.histogram(now[:, 0], np.r_[-np.inf, edges, np.inf])[0] / 3000
    assert found.psi == pytest.approx(float(np.sum((a - b) * np.log(a / b))), rel=1e-2)
    exact = stats.ks_2samp(train[:, 0], now[:, 0]).statistic
    assert exact - 0.02 < found.ks <= exact + 1e-3
    assert found.exceeds(0.25, 0.2)


@pytest.mark.parametrize("degrees", [1, 5, 19])
def test_the_chance_quantile_is_near_the_exact_one(degrees):
    assert chi_square(degrees) == pytest.approx(stats.chi2.ppf(0.999, degrees), rel=0.04)


@pytest.mark.parametrize("r", [0.0, 0.9, 0.99])
def test_where_nothing_has_changed_chance_explains_it_however_alike_neighbours_are(r):
    of = np.zeros(2000, int)
    wrong = naive = 0
    for seed in range(20):
        kept = reference(alike(4000, r, seed))
        now = alike(2000, r, 1000 + seed)
        for k, name in enumerate(NAMES):
            found = drift_of(now[:, k], kept.features[name], kept.rows, inflation(now[:, k], of))
            wrong += found.exceeds(0.0, 0.0)
            naive += found.psi > chi_square(19) * (1 / 2000 + 1 / 4000)
    assert wrong <= 2
    assert r == 0.0 or naive > 20, "without the correction it would be drift"


def test_a_shift_is_seen_and_names_its_feature_only():
    kept = reference(alike(4000, 0.9, 1))
    now = alike(4000, 0.9, 2)
    now[:, 1] += 1.5
    of = np.zeros(4000, int)
    said = [
        drift_of(now[:, k], kept.features[n], kept.rows, inflation(now[:, k], of)).exceeds(
            0.25, 0.2
        )
        for k, n in enumerate(NAMES)
    ]
    assert said == [False, True]


def test_constant_and_stepped_features_have_references():
    x = np.c_[np.full(500, 3.0), np.tile([0.0, 1.0], 250)]
    kept = reference(x)
    same = drift_of(x[:, 0], kept.features["a"], 500, 1.0)
    assert (same.psi, same.ks) == (0.0, 0.0)
    assert len(kept.features["b"].edges) <= 3
    moved = drift_of(x[:, 0] + 1, kept.features["a"], 500, 1.0)
    assert moved.exceeds(0.25, 0.2)


def test_rows_far_out_are_dissimilar():
    x = alike(3000, 0.5, 3)
    kept = reference(x)
    assert (dissimilarity(x, kept) > kept.far).mean() == pytest.approx(0.01, abs=0.002)
    assert (dissimilarity(x + 5, kept) > kept.far).mean() > 0.9


def test_neighbours_are_counted_within_instruments():
    x = alike(2000, 0.95, 5)[:, 0].astype(float)
    mixed = np.r_[x[:1000], x[1000:]].reshape(2, 1000).T.ravel()
    of = np.tile([0, 1], 1000)
    assert inflation(mixed, of) == pytest.approx(inflation(x, np.zeros(2000, int)), rel=0.3)
    assert inflation(mixed, np.zeros(2000, int)) < inflation(mixed, of)


def test_metadata_keeps_a_reference_and_only_that_of_these_features():
    kept = reference(alike(400, 0.5, 6))
    meta = msgspec.json.decode(msgspec.json.encode({KEY: kept, "label": "any"}))
    assert reference_in(meta, NAMES) == kept
    assert reference_in(meta, ("b", "a")) is None
    assert reference_in({KEY: {"rows": 3}}, NAMES) is None
    assert reference_in({}, NAMES) is None
