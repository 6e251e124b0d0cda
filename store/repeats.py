"""Remove rows that stand twice in overlapping files: trades by id, bars by open time."""

from collections import Counter
from collections.abc import Iterator

import numpy as np

from engine.row_arrays import take_rows
from engine.rows import ASSUMED, BAR_OPEN, Kind

REMEMBERED = 65_536  # trade ids kept while looking for repeats
REPEATED_TRADE = "trade that stands twice"
REPEATED_BAR = "bar that stands twice"


def without_repeats(batches: Iterator[np.ndarray], dropped: Counter[str]) -> Iterator[np.ndarray]:
    """Yield batches of trades, or of bar rows, without repeats; the first one stays."""
    recent: dict[int, np.ndarray] = {}
    latest: dict[int, int] = {}
    for rows in batches:
        keep = np.ones(len(rows), dtype=bool)
        for number in np.unique(rows["instrument"]).tolist():
            places = np.flatnonzero(rows["instrument"] == number)
            some = take_rows(rows, places)
            if some["kind"][0] == Kind.TRADE:
                good = _new_ids(some["i2"], number, recent)
                dropped[REPEATED_TRADE] += int(np.count_nonzero(~good))
            else:
                good = _later_bars(some, number, latest)
                dropped[REPEATED_BAR] += int(np.count_nonzero(~good & _is_bar(some)))
            keep[places] = good
        if keep.any():
            yield take_rows(rows, keep) if not keep.all() else rows
    for reason in (REPEATED_TRADE, REPEATED_BAR):
        if not dropped[reason]:
            del dropped[reason]


def _new_ids(ids: np.ndarray, number: int, recent: dict[int, np.ndarray]) -> np.ndarray:
    """Return bool[n]: ids that were not there before (0 is no id)."""
    before = recent.get(number, np.zeros(0, np.int64))
    first = np.zeros(len(ids), dtype=bool)
    first[np.unique(ids, return_index=True)[1]] = True
    good = (first & ~np.isin(ids, before)) | (ids == 0)
    recent[number] = np.concatenate([before, ids[good]])[-REMEMBERED:]
    return good


def _is_bar(rows: np.ndarray) -> np.ndarray:
    """Return bool[n]: bars, and not the quotes made from them."""
    return rows["kind"] == Kind.BAR


def _later_bars(rows: np.ndarray, number: int, latest: dict[int, int]) -> np.ndarray:
    """Return bool[n]: rows of bars that open after all bars before."""
    opening = rows["flags"] & (ASSUMED | BAR_OPEN) == ASSUMED | BAR_OPEN
    stamps = np.where(opening, rows["ts_event"], rows["ts_recv"])
    before = np.maximum.accumulate(np.concatenate([[latest.get(number, 0)], stamps]))
    latest[number] = int(before[-1])
    good = stamps > before[:-1]
    good[1:] |= good[:-1] & (rows["kind"][1:] == Kind.BAR) & (stamps[1:] == stamps[:-1])
    return good
