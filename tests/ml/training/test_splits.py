"""No label of an earlier part is decided by what a later part is made of."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.errors import DataError
from ml.training.splits import MIN_ROWS, split_by_time


@given(st.integers(0, 9999), st.integers(0, 40), st.integers(0, 60))
@settings(max_examples=80, deadline=None)
def test_parts_follow_each_other_with_nothing_shared(seed, longest, embargo):
    rng = np.random.default_rng(seed)
    ts = np.cumsum(rng.integers(0, 3, 2000))  # several instruments: equal times happen
    end = ts + rng.integers(0, longest + 1, 2000)
    cut = split_by_time(ts, end, embargo_ns=embargo)
    parts = (cut.train, cut.validation, cut.test)
    assert all(len(part) >= MIN_ROWS for part in parts)
    for earlier, later, boundary in zip(parts[:2], parts[1:], cut.boundaries, strict=True):
        assert end[earlier].max() < boundary
        assert ts[later].min() >= boundary + embargo
    assert len(cut.train) > 4 * len(cut.test)


@pytest.mark.parametrize("n", [0, 10, 149])
def test_too_few_rows_are_refused(n):
    with pytest.raises(DataError, match="too few"):
        split_by_time(np.arange(n), np.arange(n), embargo_ns=1)


def test_a_horizon_that_swallows_a_part_is_refused():
    ts = np.arange(400)
    with pytest.raises(DataError, match="validation part"):
        split_by_time(ts, ts + 50, embargo_ns=50)
