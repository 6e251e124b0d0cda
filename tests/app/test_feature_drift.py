"""Drift: the limits hold what chance does with memory, and a real move is named."""

import numpy as np
import pytest
from scipy.signal import lfilter
from scipy.stats import ks_2samp

from app.feature_drift import compare, drifts, measure, memory_of, scores
from store.feature_store import SnapshotRows


def series(seed: int, n: int, coefficient: float) -> np.ndarray:
    noise = np.random.default_rng(seed).standard_normal(n + 2_000)
    return lfilter([np.sqrt(1.0 - coefficient**2)], [1.0, -coefficient], noise)[2_000:]


def test_ks_is_that_of_scipy_also_with_ties() -> None:
    draw = np.random.default_rng(1)
    for x, y in (
        (draw.normal(size=300), draw.normal(0.3, 1.2, 200)),
        (draw.integers(0, 6, 300).astype(float), draw.integers(0, 5, 100).astype(float)),
    ):
        _, ks, shift = measure(x[None], y[None])
        assert ks[0] == pytest.approx(ks_2samp(x, y).statistic)
        z = scores(np.concatenate([x, y]))
        assert shift[0] == pytest.approx(z[len(x) :].mean() - z[: len(x)].mean())


def test_psi_by_hand() -> None:
    x = np.repeat(np.arange(10.0), 10)
    y = np.concatenate([x[:50], x[:50]])  # the upper half is gone, the lower doubled
    psi, _, _ = measure(x[None], y[None])
    gone = 0.5 / 100
    by_hand = 5 * (0.2 - 0.1) * np.log(2.0) + 5 * (gone - 0.1) * np.log(gone / 0.1)
    assert psi[0] == pytest.approx(by_hand)


@pytest.mark.parametrize("coefficient", [0.0, 0.5, 0.9, 0.98])
def test_memory_is_measured(coefficient: float) -> None:
    true = (1.0 + coefficient) / (1.0 - coefficient)
    found = [memory_of(scores(series(k, 20_000, coefficient))) for k in range(4)]
    assert np.mean(found) == pytest.approx(true, rel=0.2)


FEATURES = 6


def snapshot(seed: int, n: int, coefficient: float, moved: float = 0.0) -> SnapshotRows:
    columns = [series(100 * seed + k, n, coefficient) for k in range(FEATURES)]
    x = np.exp(np.stack(columns, axis=1)).astype(np.float32)
    x[:, 3] *= np.exp(moved)
    ts = np.arange(n)
    return SnapshotRows(np.asarray(["v:A"] * n, object), ts, ts, ts, x, np.ones(n, bool))


NAMES = tuple(f"f{k}" for k in range(FEATURES))


@pytest.mark.parametrize(("n", "coefficient"), [(1_000, 0.99), (100, 0.0)])
def test_without_drift_few_cry_out_where_a_fixed_limit_would(n: int, coefficient: float) -> None:
    alarms, fixed, rounds = 0, 0, 12
    for seed in range(rounds):
        a, b = (snapshot(2 * seed + k, n, coefficient) for k in range(2))
        found = drifts(NAMES, a, b, 0.05, 1)
        alarms += any(one.drifts for one in found)
        fixed += sum(one.psi > 0.1 for one in found)
    assert alarms <= 2  # of 12 comparisons of six features; 0.05 is the level
    if coefficient == 0.99:
        assert fixed > 0.7 * rounds * FEATURES
    if n == 100:
        assert fixed > 0.2 * rounds * FEATURES


def test_a_move_is_named_and_nothing_else() -> None:
    a, b = snapshot(1, 4_000, 0.7), snapshot(2, 3_000, 0.7, moved=1.0)
    found = {one.feature: one for one in drifts(NAMES, a, b, 0.05, 1)}
    assert [name for name, one in found.items() if one.drifts] == ["f3"]
    assert {"psi", "ks"} <= set(found["f3"].drifts)
    assert found["f3"].shift > 0.5


def test_a_change_of_spread_alone_is_seen() -> None:
    x, y = series(1, 4_000, 0.5), 1.6 * series(2, 4_000, 0.5)
    found = compare("f", x, y, 0.005, 1)
    assert "psi" in found.drifts
    assert abs(found.shift) < found.limits[2]


def test_the_same_seed_gives_the_same_limits() -> None:
    x, y = series(1, 800, 0.9), series(2, 500, 0.9)
    assert compare("f", x, y, 0.01, 5) == compare("f", x, y, 0.01, 5)


def test_what_has_no_spread_or_too_few_values_is_left_out() -> None:
    a, b = snapshot(1, 200, 0.0), snapshot(2, 200, 0.0)
    a.x[:, 0] = 1.0
    b.x[20:, 1] = np.nan
    assert [one.feature for one in drifts(NAMES, a, b, 0.05, 1)] == list(NAMES[2:])
