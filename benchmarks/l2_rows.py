"""A seeded book of one instrument as level-two rows and trades: the load of the depth benchmark.

Needs NumPy and numba only, so that the peer's own environment can make the very same rows. Tick
0.1, 40 levels a side at the start, about 14 % trade rows, a millisecond between events, feed
latency of 2 ms with jitter. All rows of one local time form one packet (one wake-up).
"""

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

SEED = 20240607
TICK = 0.1
LOT = 0.001
MID_TICK = 600_000
OPENING_LEVELS = 40
REACH = 20_000  # ticks on either side of the start that the generator may use
START_NS = 1_700_000_000_000_000_000
LATENCY_NS = 2_000_000
DEPTH, TRADE = 0, 1
BID, ASK = 1, -1


class L2Rows(NamedTuple):
    """Columns of the load, one entry a row."""

    exch_ns: NDArray[np.int64]
    local_ns: NDArray[np.int64]
    kind: NDArray[np.int8]  # DEPTH or TRADE
    side: NDArray[np.int8]  # depth: the side of the book; trade: +1 buyer was the aggressor
    price_tick: NDArray[np.int64]
    size: NDArray[np.float64]  # depth: absolute, 0 removes the level

    @property
    def price(self) -> NDArray[np.float64]:
        """Prices as float64, each the product of its tick number and TICK."""
        return self.price_tick * TICK


@njit
def _put(rows, i, stamp, kind, side, index, size):
    """Write row i and return the next free one."""
    exch, local, kinds, sides, ticks, sizes = rows
    exch[i] = stamp[0]
    local[i] = stamp[1]
    kinds[i] = kind
    sides[i] = side
    ticks[i] = MID_TICK - REACH + index
    sizes[i] = size
    return i + 1


@njit
def _trade(rows, i, stamp, book, touch, buy):
    """Take from the touch: a trade row, then the level's new size; an empty touch moves."""
    index = touch[1] if buy else touch[0]
    size = min(book[index], 0.01 + 0.4 * np.random.random())
    i = _put(rows, i, stamp, TRADE, BID if buy else ASK, index, size)
    if i >= len(rows[0]):
        return i
    book[index] -= size
    if book[index] < LOT:
        book[index] = 0.0
    i = _put(rows, i, stamp, DEPTH, ASK if buy else BID, index, book[index])
    if buy:
        while book[touch[1]] == 0.0 and touch[1] < 2 * REACH:
            touch[1] += 1
    else:
        while book[touch[0]] == 0.0 and touch[0] > 0:
            touch[0] -= 1
    return i


@njit
def _improve(rows, i, stamp, book, touch, buy):
    """Place a new best price inside the spread, away from the edges of the array."""
    index = touch[0]
    if buy and touch[1] <= 2 * REACH - 2 * OPENING_LEVELS:
        touch[0] += 1
        index = touch[0]
    elif not buy and touch[0] >= 2 * OPENING_LEVELS:
        touch[1] -= 1
        index = touch[1]
    book[index] = 0.2 + 2.0 * np.random.random()
    side = BID if buy or index == touch[0] else ASK
    return _put(rows, i, stamp, DEPTH, side, index, book[index])


@njit
def _update(rows, i, stamp, book, touch):
    """Set the size of some level, most of them near the touch; sometimes take one away."""
    away = min(OPENING_LEVELS - 1, int(np.random.exponential(6.0)))
    on_bid = np.random.random() < 0.5
    index = touch[0] - away if on_bid else touch[1] + away
    index = max(0, min(2 * REACH, index))
    size = 0.2 + 2.0 * np.random.random()
    if away > 2 and np.random.random() < 0.2:
        size = 0.0
    book[index] = size
    return _put(rows, i, stamp, DEPTH, BID if on_bid else ASK, index, size)


@njit
def _fill(rows):
    """Write all rows: an opening book, then events until the arrays are full."""
    np.random.seed(SEED)
    n = len(rows[0])
    book = np.zeros(2 * REACH + 1)
    touch = np.array([REACH, REACH + 1])
    stamp = np.array([START_NS, START_NS + LATENCY_NS])
    i = 0
    for k in range(OPENING_LEVELS):
        for side in (BID, ASK):
            index = touch[0] - k if side == BID else touch[1] + k
            book[index] = 0.2 + 2.0 * np.random.random()
            i = _put(rows, i, stamp, DEPTH, side, index, book[index])
    drift = 0.0
    while i < n:
        stamp[0] += np.int64(1 + np.random.exponential(1_000_000.0))
        late = np.int64(LATENCY_NS + np.random.exponential(300_000.0))
        stamp[1] = max(stamp[0] + late, stamp[1])
        drift = 0.999 * drift + 0.02 * (np.random.random() - 0.5)
        buy = np.random.random() < 0.5 + drift
        draw = np.random.random()
        if draw < 0.17:
            i = _trade(rows, i, stamp, book, touch, buy)
        elif draw < 0.27 and touch[1] - touch[0] > 1:
            i = _improve(rows, i, stamp, book, touch, buy)
        else:
            i = _update(rows, i, stamp, book, touch)


def generate(n: int) -> L2Rows:
    """Make `n` rows, at least the 80 of the opening book; the same rows for the same n."""
    assert n > 2 * OPENING_LEVELS, "fewer rows than the opening book has"
    rows = L2Rows(
        np.zeros(n, np.int64),
        np.zeros(n, np.int64),
        np.zeros(n, np.int8),
        np.zeros(n, np.int8),
        np.zeros(n, np.int64),
        np.zeros(n, np.float64),
    )
    _fill(tuple(rows))
    assert np.all(np.diff(rows.exch_ns) >= 0) and np.all(np.diff(rows.local_ns) >= 0)
    assert np.all(rows.local_ns > rows.exch_ns)
    return rows


def last_of_packet(rows: L2Rows) -> NDArray[np.bool_]:
    """Return which rows end a packet: the next row has another local time."""
    return np.append(rows.local_ns[1:] != rows.local_ns[:-1], True)
