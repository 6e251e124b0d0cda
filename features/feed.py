"""Rows of one instrument (and of the one it is paired with) through kernel and features alone.

The parts are the engine's own (engine/kernel): what is a good quote, how bars close and what a gap
means is decided there, so that a notebook sees what a run sees. `fused` stands for the generated
feature functions: features/feed_module.py embeds this text, with that of engine/kernel/apply.py,
beside them.
"""

from typing import Any

from numba import njit

from engine.kernel.apply import (
    apply_bar,
    apply_depth,
    apply_gap,
    apply_quote,
    apply_trade,
    past_time,
    show_bar,
)
from engine.kernel.bars import close_bar, next_close
from engine.kernel.layout import NEVER
from engine.kernel.places import bars_at, market_at
from engine.kernel.series import WITH_SERIES, close_due, next_of_series
from engine.rows import HISTORY, LAST, Kind

QUOTE_ROW, TRADE_ROW, DEPTH_ROW = int(Kind.QUOTE), int(Kind.TRADE), int(Kind.DEPTH)
BAR_ROW, GAP_ROW, DISCONNECT_ROW = int(Kind.BAR), int(Kind.GAP), int(Kind.DISCONNECT)
FILTERS_ROW = int(Kind.FILTERS)
BOOK_GAP = 1
SERIES_SHIFT = 8  # further bars are the bits from here on
BAR_CLOSED, PACKET_ENDED = 4, 16  # bits of what a row changed, with those of engine/kernel/apply.py


@njit(forceinline=True)
def begin_row(root: Any, row: Any) -> int:
    """Return the kernel time of a row, the running maximum; the first one starts the clock."""
    stamp = row["ts_recv"] if row["ts_recv"] > 0 else row["ts_event"]
    ts = max(stamp, root["now"])
    if root["first_ts"] == 0:
        root["first_ts"] = ts
        root["now"] = ts
    return ts


@njit(forceinline=True)
def close_one(root: Any, fused: Any) -> int:
    """Close the bars that are due next; return BAR_CLOSED when the instrument's own was seen."""
    due = root["next_timer"]
    root["now"] = max(root["now"], due)
    root["next_timer"] = NEVER
    changed = 0
    for at in range(root["n_instruments"]):
        b = bars_at(root, at)
        if next_close(root, b) <= due:
            m = market_at(root, at)
            m["ts"] = root["now"]
            if close_bar(m, b) == 1:
                show_bar(root, fused, at)
                changed |= BAR_CLOSED if at == 0 else 0
        root["next_timer"] = min(root["next_timer"], next_close(root, b))
        if WITH_SERIES:
            market_at(root, at)["ts"] = root["now"]
            close_due(root, fused, at, due)
            root["next_timer"] = next_of_series(root, at, root["next_timer"])
            changed |= series_bits(root, at)
    return changed


@njit(forceinline=True)
def series_bits(root: Any, instrument: int) -> int:
    """Return the bits of the further bars that have just closed, of the instrument itself."""
    closed = root["closed_series"]
    root["closed_series"] = 0
    return closed << SERIES_SHIFT if instrument == 0 else 0


@njit(forceinline=True)
def apply_one(root: Any, fused: Any, row: Any, ts: int) -> int:
    """Apply one row of any kind at kernel time ts; return what changed."""
    at = fused.instrument_of(row)
    m = market_at(root, at)
    root["now"] = ts
    m["ts"] = past_time(row) if row["flags"] & HISTORY != 0 else ts
    m["ts_event"] = row["ts_event"]
    kind = row["kind"]
    changed = 0
    if kind == QUOTE_ROW:
        changed = apply_quote(root, fused, at, row)
    elif kind == TRADE_ROW:
        changed = apply_trade(root, fused, at, row)
    elif kind == DEPTH_ROW:
        changed = apply_depth(root, fused, at, row)
    elif kind == BAR_ROW:
        changed = apply_bar(root, fused, at, row)
    elif kind == GAP_ROW:
        apply_gap(root, fused, at, 1 if row["i2"] == BOOK_GAP else 0)
    elif kind == DISCONNECT_ROW:
        for each in range(root["n_instruments"]):
            apply_gap(root, fused, each, 0)
    elif kind == FILTERS_ROW:
        m["tick"] = row["f0"]
        m["lot"] = row["f1"]
    if WITH_SERIES:
        changed |= series_bits(root, at)
    if at != 0:
        return 0
    return changed | PACKET_ENDED if row["flags"] & LAST != 0 else changed
