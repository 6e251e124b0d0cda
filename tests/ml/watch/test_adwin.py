"""ADWIN sees changes of the mean, seldom sees any where there is none, and stays small."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml.watch.adwin import Adwin


def fed(values, delta: float = 0.002) -> tuple[Adwin, list[int]]:
    adwin = Adwin(delta)
    return adwin, [k for k, value in enumerate(values) if adwin.add(float(value))]


@pytest.mark.parametrize(("before", "after"), [(0.3, 0.6), (0.8, 0.5), (0.5, 0.65)])
def test_a_change_is_seen_soon_and_the_old_mean_forgotten(before, after):
    rng = np.random.default_rng(1)
    stream = np.r_[rng.random(2000) < before, rng.random(1500) < after]
    adwin, cuts = fed(stream)
    assert [k for k in cuts if k < 2000] == []
    assert 2000 <= cuts[0] < 2000 + 600
    assert adwin.mean == pytest.approx(after, abs=0.06)
    assert adwin.width < 2500


def test_streams_without_a_change_are_hardly_ever_cut():
    rng = np.random.default_rng(2)
    false = sum(bool(fed(rng.random(2000))[1]) for _ in range(40))
    assert false <= 1


def test_a_slow_drift_is_seen():
    rng = np.random.default_rng(3)
    stream = np.clip(np.linspace(0.2, 0.8, 4000) + 0.1 * rng.standard_normal(4000), 0, 1)
    adwin, cuts = fed(stream)
    assert len(cuts) > 3
    assert adwin.mean == pytest.approx(stream[-200:].mean(), abs=0.08)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=400))
def test_width_and_mean_are_those_of_the_last_values(values):
    adwin, cuts = fed(values, 0.05)
    assert 0 < adwin.width <= len(values)
    assert adwin.mean == pytest.approx(np.mean(values[-adwin.width :]), abs=1e-9)
    assert adwin.changes == len(cuts)


@given(st.lists(st.floats(0, 1), min_size=2, max_size=300))
def test_the_scatter_is_that_of_the_window(values):
    adwin, cuts = fed(values, 1e-12)
    if not cuts:
        expected = float(np.var(values)) * len(values)
        assert adwin._scatter == pytest.approx(expected, abs=1e-9)


def test_a_long_stream_keeps_few_buckets():
    adwin, _ = fed(np.tile([0.0, 1.0], 20_000))
    buckets = sum(len(row) for row in adwin._rows)
    assert buckets <= 6 * (1 + math.log2(adwin.width))
