"""Train, validation and test by time, with nothing of the later part known to the earlier one.

Rows are cut at two moments that all instruments share. A row whose label ends at or after the next
boundary is purged, and rows that start less than the embargo behind a boundary are left out
(Lopez de Prado 2018, chapter 7).
"""

from typing import NamedTuple

import numpy as np

from engine.errors import DataError

SHARES = (0.70, 0.15, 0.15)
MIN_ROWS = 50  # in each part


class Split(NamedTuple):
    """Row numbers of the three parts, and the two moments between them (ns)."""

    train: np.ndarray
    validation: np.ndarray
    test: np.ndarray
    boundaries: tuple[int, int]


def split_by_time(
    ts: np.ndarray,
    end_ts: np.ndarray,
    *,
    embargo_ns: int,
    shares: tuple[float, float, float] = SHARES,
) -> Split:
    """Cut samples into three parts by time.

    Args:
        ts: int64[n] ns, non-decreasing.
        end_ts: int64[n] ns, when the label of each row is known.
        embargo_ns: length left out behind each boundary, usually the horizon.
        shares: of the rows, in order; they sum to 1.
    Raises:
        DataError: a part would have fewer than MIN_ROWS rows.
    Example:
        >>> t = np.arange(1000)
        >>> cut = split_by_time(t, t + 5, embargo_ns=10)
        >>> [(int(p[0]), int(p[-1])) for p in cut[:3]]
        [(0, 694), (710, 844), (860, 999)]
    """
    assert abs(sum(shares) - 1.0) < 1e-9
    assert (np.diff(ts) >= 0).all()
    n = len(ts)
    if n < 3 * MIN_ROWS:
        raise DataError(f"{n} labelled rows are too few to train on, at least {3 * MIN_ROWS}")
    first = int(ts[min(n - 1, int(n * shares[0]))])
    second = int(ts[min(n - 1, int(n * (shares[0] + shares[1])))])
    train = np.flatnonzero((ts < first) & (end_ts < first))
    late = (ts >= first + embargo_ns) & (ts < second)
    validation = np.flatnonzero(late & (end_ts < second))
    test = np.flatnonzero(ts >= second + embargo_ns)
    for name, part in (("train", train), ("validation", validation), ("test", test)):
        if len(part) < MIN_ROWS:
            text = f"the {name} part has {len(part)} rows, at least {MIN_ROWS} are needed"
            raise DataError(f"{text}: give more data or a shorter horizon")
    return Split(train, validation, test, (first, second))
