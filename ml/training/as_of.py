"""Joins labels to feature rows by time: a label gets the last row that was available then.

Never by row number: a snapshot leaves out decisions that would have held, and labels come from bars
or quotes that have rows of their own.
"""

from typing import NamedTuple, Protocol

import numpy as np

from ml.training.rows import Samples


class AvailableRows(Protocol):
    """Feature rows with the time from which they could be acted on; arrays of length n.

    store/feature_store.py's rows of one instrument are such.
    """

    ts_available: np.ndarray  # int64 ns, ascending
    x: np.ndarray  # float32[n, F]
    valid: np.ndarray  # bool


class Labels(NamedTuple):
    """What decisions of one instrument should have been, in any order; arrays of length m."""

    ts: np.ndarray  # int64 ns, when the decision is due
    end_ts: np.ndarray  # int64 ns, when its label is known
    label: np.ndarray  # int64, 0 SELL, 1 HOLD, 2 BUY; below 0: none
    long_return: np.ndarray  # float64
    short_return: np.ndarray


def as_of(times: np.ndarray, available: np.ndarray) -> np.ndarray:
    """Return, for each time, the place of the last one of `available` not after it; -1 for none.

    >>> as_of(np.array([5, 10, 15]), np.array([10, 10, 20])).tolist()
    [-1, 1, 1]
    """
    assert (np.diff(available) >= 0).all(), "rows stand in order of ts_available"
    return np.searchsorted(available, times, side="right") - 1


def join_as_of(rows: AvailableRows, labels: Labels, *, max_age_ns: int) -> Samples:
    """Give each label the features that were known when its decision was due.

    Args:
        rows: of one instrument.
        labels: of the same instrument.
        max_age_ns: a row that is older than this when the decision is due is none.
    Returns:
        Samples sorted by time: labels that have one and a whole row at hand.
    Example:
        >>> from types import SimpleNamespace
        >>> rows = SimpleNamespace(ts_available=np.array([10, 20, 30]),
        ...     x=np.float32([[1], [2], [3]]), valid=np.array([True, False, True]))
        >>> due = np.array([31, 12, 25, 9, 95])
        >>> zeros = np.zeros(5)
        >>> found = join_as_of(rows, Labels(due, due + 5, np.array([2, 0, 1, 1, 1]), zeros, zeros),
        ...                    max_age_ns=10)
        >>> found.ts.tolist(), found.x[:, 0].tolist(), found.label.tolist()
        ([12, 31], [1.0, 3.0], [0, 2])
    """
    assert max_age_ns >= 0
    assert (labels.end_ts >= labels.ts).all(), "a label is known before its decision"
    order = np.argsort(labels.ts, kind="stable")
    ts = labels.ts[order]
    at = as_of(ts, rows.ts_available)
    if not len(rows.ts_available):
        kept = order[:0]
        at = at[:0]
    else:
        known = (at >= 0) & (labels.label[order] >= 0)
        place = np.maximum(at, 0)
        known &= rows.valid[place] & (ts - rows.ts_available[place] <= max_age_ns)
        kept, at = order[known], at[known]
    return Samples(
        labels.ts[kept],
        labels.end_ts[kept],
        np.ascontiguousarray(rows.x[at]),
        labels.label[kept],
        labels.long_return[kept],
        labels.short_return[kept],
    )
