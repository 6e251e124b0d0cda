"""Merge streams of tape rows by time, stably, in bounded memory."""

from collections.abc import Iterator, Sequence

import numpy as np

from engine.row_arrays import join_rows, take_rows
from engine.rows import ASSUMED, BAR_OPEN, Kind

# Rows of one time stand in this order, whatever files they came from. Trades go before the quotes
# that they caused; of bars, all instruments close before any opens.
_RANKS = {
    Kind.CONNECT: 0,
    Kind.DISCONNECT: 0,
    Kind.GAP: 1,
    Kind.TRADE: 2,
    Kind.QUOTE: 3,
    Kind.DEPTH: 4,
}
_BAR_RANK = 6
_OPEN_RANK = 7
_RANK_OF_KIND = np.full(256, 5, dtype=np.int64)
for _kind, _rank in _RANKS.items():
    _RANK_OF_KIND[_kind] = _rank
_RANK_OF_KIND[Kind.BAR] = _BAR_RANK


def time_key(rows: np.ndarray) -> np.ndarray:
    """Return int64[n]: the time that rows are merged by, receive time where there is one."""
    return np.where(rows["ts_recv"] > 0, rows["ts_recv"], rows["ts_event"])


def rank(rows: np.ndarray) -> np.ndarray:
    """Return int64[n]: the order of rows of the same time, by kind and then by instrument."""
    ranks = _RANK_OF_KIND[rows["kind"]]
    assumed = (rows["kind"] == Kind.QUOTE) & (rows["flags"] & ASSUMED != 0)
    opening = rows["flags"] & BAR_OPEN != 0
    ranks = np.where(assumed, np.where(opening, _OPEN_RANK, _BAR_RANK), ranks)
    return (ranks << 16) | rows["instrument"]


class _Head:
    """One stream with the rows of it that are not merged yet."""

    def __init__(self, stream: Iterator[np.ndarray]) -> None:
        self._stream = stream
        self._latest = 0
        self.rows: np.ndarray | None = None
        self.keys = np.zeros(0, np.int64)
        self.ended = False
        self.extend()

    def extend(self) -> None:
        """Read another batch behind what is there."""
        for rows in self._stream:
            if len(rows):
                keys = np.maximum.accumulate(np.maximum(time_key(rows), self._latest))
                self._latest = int(keys[-1])
                if self.rows is not None and len(self.rows):
                    rows, keys = join_rows([self.rows, rows]), np.concatenate([self.keys, keys])
                self.rows, self.keys = rows, keys
                return
        self.ended = True

    def take(self, count: int) -> tuple[np.ndarray, np.ndarray]:
        """Remove the first rows and return (rows, keys)."""
        assert self.rows is not None
        taken = self.rows[:count], self.keys[:count]
        self.rows, self.keys = self.rows[count:], self.keys[count:]
        return taken


def merge(streams: Sequence[Iterator[np.ndarray]]) -> Iterator[np.ndarray]:
    """Merge streams of ROW batches.

    Within a stream the order is kept; a row whose time runs backwards counts with the latest time
    before it. Rows of the same time are ordered by `rank`, then by the order of the streams. Every
    batch that comes out holds whole packets, if all rows of a packet have one time.
    """
    heads = [_Head(stream) for stream in streams]
    while heads := [
        one for one in heads if one.rows is not None and (len(one.rows) or not one.ended)
    ]:
        for one in heads:
            if not len(one.keys) and not one.ended:
                one.extend()
        heads = [one for one in heads if len(one.keys)]
        growing = [int(one.keys[-1]) for one in heads if not one.ended]
        if growing:
            horizon = min(growing)
            counts = [int(np.searchsorted(one.keys, horizon, side="left")) for one in heads]
        else:
            counts = [len(one.keys) for one in heads]
        if not any(counts):
            for one in heads:
                if not one.ended and int(one.keys[-1]) == horizon:
                    one.extend()
            continue
        parts = [one.take(count) for one, count in zip(heads, counts, strict=True) if count]
        yield _ordered(parts)


def _ordered(parts: list[tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
    """Join parts in the order of (time, rank), stably."""
    rows = join_rows([part for part, _ in parts])
    keys = np.concatenate([part for _, part in parts])
    ranks = rank(rows)
    steps = np.diff(keys)
    if (steps > 0).all() or (
        (steps >= 0).all() and not ((steps == 0) & (np.diff(ranks) < 0)).any()
    ):
        return rows
    return take_rows(rows, np.lexsort((ranks, keys)))
