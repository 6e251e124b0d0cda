"""The tape's row: one 64-byte record for all that reaches the engine, and what its slots mean.

A row is one cache line. Five 8-byte payload slots stand at offset 24; each can be read as float64
(`f0`..`f4`) or as int64 (`i0`..`i4`): the two names share the bytes. What a slot holds depends on
`kind`; the table below is the only place where that is written down. Kinds are append-only.

| kind       | side | f0/i0        | f1/i1        | f2/i2          | f3/i3         | f4/i4        |
|------------|------|--------------|--------------|----------------|---------------|--------------|
| QUOTE      |      | f bid        | f ask        | f bid_size     | f ask_size    | i update_id  |
| TRADE      | +-1  | f price      | f size       | i trade_id     |               |              |
| DEPTH      | +-1  | f price      | f size       | i price_tick   | i last_id     | i first_id   |
| BAR        |      | f open       | f high       | f low          | f close       | f volume     |
| GAP        |      | i ts_from    | i ts_to      | i reason       |               |              |
| CONNECT    |      | i stream     |              |                |               |              |
| DISCONNECT |      | i stream     | i reason     |                |               |              |
| STATUS     |      | i status     |              |                |               |              |
| FILTERS    |      | f tick       | f lot        | f min_notional |               |              |
| WAKE       |      |              |              |                |               |              |
| OPENING    | +-1  | i asset      | i amount     | i owner        | i capital     | i cost       |
| ACK        |      | i order      | i venue_id   |                |               |              |
| REJECT     |      | i order      | i reason     |                |               |              |
| CANCELED   |      | i order      | i reason     |                |               |              |
| NOT_SENT   |      | i order      | i reason     |                |               |              |
| FILL       | +-1  | i order      | i price_tick | i qty_lot      | i trade_id    | i liquidity  |
| FILL_FEE   |      | i order      | i trade_id   | i fee_minor    | i fee_asset   |              |
| SIGNAL     |      | i request    | f p_sell     | f p_hold       | f p_buy       | i status     |
| SCALAR     |      | i scalar     | f value      |                |               |              |
| CONTROL    |      | i command    | i reference  | i argument     | i line_hash   |              |
| UNKNOWN    |      | i order      | i reason     |                |               |              |
| OUTPUT     |      | i request    | eight float32 of a model's output in the other four slots  |

`ts_event` is the venue's stamp, `ts_recv` ours, both int64 nanoseconds since the epoch, UTC; 0 is
"not known". On BAR rows `ts_event` is the OPEN time, `ts_recv` the close time (when the bar became
known), and the high byte of `flags` an index into `BAR_INTERVALS_NS`. On HISTORY rows `ts_recv` is
when they would have been known; they never move the time back. An absent size is NaN. DEPTH
sizes are absolute, 0 removes the level; the rows of one message form a packet whose last row
carries `LAST`. OPENING rows add to the books: `amount` minor units of wallet `asset`, counted as
what the run starts with where `capital` is 1; with `asset` -1 so many lots of the instrument that
`owner` (a model's index, or -1) has for `cost` minor units. SIGNAL rows answer the requests to
models on threads, one each; `ts_event` is when the model was asked. Where the answer is more than
probabilities (its three slots are 0 then), OUTPUT rows stand before it with all its columns, in
order, eight in each. Of CONTROL with DEMOTE `line_hash` is the first word of the model's sha256 and
i4 the figure in millionths. Sides: trades +1 buyer was the
aggressor, -1 seller; depth +1 bid, -1 ask.
"""

from enum import IntEnum

import numpy as np

ROW_BYTES = 64
TAPE_VERSION = 1
NS_PER_S = 1_000_000_000

_SCALARS = (
    ("ts_event", "i8", 0),
    ("ts_recv", "i8", 8),
    ("instrument", "u2", 16),
    ("kind", "u1", 18),
    ("side", "i1", 19),
    ("flags", "u2", 20),
    ("check", "u2", 22),
)
_PAYLOAD = tuple((f"{t}{k}", f"{t}8", 24 + 8 * k) for t in "fi" for k in range(5))
ROW = np.dtype(
    {
        "names": [name for name, _, _ in _SCALARS + _PAYLOAD],
        "formats": [code for _, code, _ in _SCALARS + _PAYLOAD],
        "offsets": [offset for _, _, offset in _SCALARS + _PAYLOAD],
        "itemsize": ROW_BYTES,
    }
)


class Kind(IntEnum):
    """What a row is. Values are part of the tape format: never renumber, only append."""

    EMPTY = 0
    QUOTE = 1
    TRADE = 2
    DEPTH = 3
    BAR = 4
    GAP = 5
    CONNECT = 6
    DISCONNECT = 7
    STATUS = 8
    FILTERS = 9
    WAKE = 10
    OPENING = 11
    ACK = 12
    REJECT = 13
    CANCELED = 14
    NOT_SENT = 15
    FILL = 16
    FILL_FEE = 17
    SIGNAL = 18
    SCALAR = 19
    CONTROL = 20
    UNKNOWN = 21
    OUTPUT = 22


# Flags. The low byte is shared by all kinds, the high byte belongs to the kind.
LAST = 1  # last row of a packet (the rows of one message); with implied wakes its end is a wake
SNAPSHOT = 2  # DEPTH: part of a full book; the first row of a snapshot carries SNAPSHOT_START too
SNAPSHOT_START = 4  # DEPTH: empty both sides of the book before applying this row
OFF_MARKET = 8  # TRADE: no market print (insurance fund, block, auction): moves nothing
HISTORY = 16  # backfilled: moves features, never decides
ASSUMED = 32  # QUOTE made from a bar and an assumed spread and size
BAR_OPEN = 64  # QUOTE made from a bar's open: market orders of bar-only instruments fill here
GROWING = 128  # BAR with HISTORY: no bar yet; the one that opens at ts_event is whole from here on
BAR_INTERVAL_SHIFT = 8  # BAR: index into BAR_INTERVALS_NS in the high byte

BAR_INTERVALS_NS = tuple(
    s * NS_PER_S for s in (1, 5, 10, 15, 30, 60, 180, 300, 900, 1800, 3600, 14400, 86400)
)


def bar_flags(interval_ns: int) -> int:
    """Return the flag bits that name a bar interval.

    Raises:
        ValueError: the interval is none of BAR_INTERVALS_NS.
    Example:
        >>> bar_flags(60 * NS_PER_S) >> BAR_INTERVAL_SHIFT
        5
    """
    return BAR_INTERVALS_NS.index(interval_ns) << BAR_INTERVAL_SHIFT


def row_checks(rows: np.ndarray, first_row: int) -> np.ndarray:
    """Compute the 16-bit check of each row, keyed by its row number.

    The check folds all eight words of the row (its own field taken as 0) with its number, so that
    a torn row, a row at the wrong place and a flipped bit are all seen (1 in 65,536 goes unseen).

    Args:
        rows: ROW[n], contiguous.
        first_row: number of rows[0] on its tape, from 0.
    Returns:
        uint16[n].
    """
    words = np.ascontiguousarray(rows).view(np.uint64).reshape(-1, 8).copy()
    words[:, 2] &= np.uint64(0x0000_FFFF_FFFF_FFFF)
    number = np.arange(first_row, first_row + len(rows), dtype=np.uint64)
    mixed = (number + np.uint64(1)) * np.uint64(0x9E37_79B9_7F4A_7C15)
    for k in range(8):
        mixed = (mixed ^ words[:, k]) * np.uint64(0xBF58_476D_1CE4_E5B9)
        mixed ^= mixed >> np.uint64(29)
    return (mixed >> np.uint64(48)).astype(np.uint16)
