"""One row moves one instrument's market: touch, trades, bars, book, and the features on them."""

import numpy as np
from numba import njit

from engine.kernel.bars import add_print, begin_bar, forget_bars, show_peer
from engine.kernel.bars_layout import BarMode
from engine.kernel.book import (
    NO_TICK,
    clear_book,
    gather_levels,
    price_of,
    set_ask,
    set_bid,
    size_at,
)
from engine.kernel.layout import TouchFrom
from engine.kernel.memory import book_floats, book_ticks
from engine.kernel.places import bars_at, market_at, matching_at, slot_at
from engine.kernel.series import WITH_SERIES, forget_series, take_bar_row, take_print
from engine.kernel.touch import market_print, set_touch
from engine.rows import GROWING, HISTORY, LAST, OFF_MARKET, SNAPSHOT_START

BARS_FROM_TRADES = int(BarMode.TRADES)
BARS_FROM_MIDS = int(BarMode.MIDS)
BARS_FROM_ROWS = int(BarMode.ROWS)
TOUCH_FROM_DEPTH = int(TouchFrom.DEPTH)
TOUCH_FROM_TRADES = int(TouchFrom.TRADES)
TOUCH, TRADE, BAR, DEPTH = 1, 2, 4, 8  # what a row changed
STEPS_READ_LEVELS = 2


@njit(forceinline=True)
def event_time(row, now):  # type: ignore[no-untyped-def]
    """Return the row's event time, the kernel's time where it has none."""
    return row["ts_event"] if row["ts_event"] > 0 else now


@njit(forceinline=True)
def past_time(row):  # type: ignore[no-untyped-def]
    """Return the time of a HISTORY row: features see it then, the run's clock stays."""
    return row["ts_recv"] if row["ts_recv"] > 0 else row["ts_event"]


@njit(forceinline=True)
def after_touch(root, fused, instrument, row):  # type: ignore[no-untyped-def]
    """Let bars of mids and features see a new touch."""
    m = market_at(root, instrument)
    b = bars_at(root, instrument)
    if b["mode"] == BARS_FROM_MIDS:
        at = event_time(row, m["ts"])
        root["late_trades"] += add_print(root, b, at, (m["mid"], 1.0, 0.0))
    if WITH_SERIES:
        seen = (event_time(row, m["ts"]), row["flags"], (m["mid"], 1.0, 0.0))
        take_print(root, fused, instrument, BARS_FROM_MIDS, seen)
    if root["follows"] == 0:
        fused.on_quote(fused.features_at(root, instrument), m)


@njit(forceinline=True)
def apply_quote(root, fused, instrument, row):  # type: ignore[no-untyped-def]
    """Apply a QUOTE row."""
    m = market_at(root, instrument)
    quote = (row["f0"], row["f1"], row["f2"], row["f3"])
    if set_touch(root, m, matching_at(root, instrument), quote) == 0:
        return 0
    after_touch(root, fused, instrument, row)
    return TOUCH


@njit(forceinline=True)
def apply_trade(root, fused, instrument, row):  # type: ignore[no-untyped-def]
    """Apply a TRADE row; prints that are not market trades move nothing."""
    m = market_at(root, instrument)
    x = matching_at(root, instrument)
    price, size = row["f0"], row["f1"]
    if row["flags"] & OFF_MARKET != 0 or market_print(root, m, price, size) == 0:
        root["dropped_off_market"] += 1
        return 0
    side = np.float64(row["side"])
    m["trade_price"] = price
    m["trade_size"] = size
    m["trade_side"] = side
    m["trade_ts"] = m["ts"]
    m["trade_count"] += 1
    x["updates"] += 1
    b = bars_at(root, instrument)
    if b["mode"] == BARS_FROM_TRADES:
        at = event_time(row, m["ts"])
        root["late_trades"] += add_print(root, b, at, (price, size, side))
    if root["follows"] == 0:
        fused.on_trade(fused.features_at(root, instrument), m)
    if WITH_SERIES:
        seen = (event_time(row, m["ts"]), row["flags"], (price, size, side))
        take_print(root, fused, instrument, BARS_FROM_TRADES, seen)
    if x["touch_from"] != TOUCH_FROM_TRADES:
        return TRADE
    half = price * x["half_spread"]
    quote = (price - half, price + half, np.nan, np.nan)
    if set_touch(root, m, x, quote) == 1:
        after_touch(root, fused, instrument, row)
        return TRADE | TOUCH
    return TRADE


@njit(forceinline=True)
def apply_depth(root, fused, instrument, row):  # type: ignore[no-untyped-def]
    """Apply a DEPTH row; the last of its packet may set the touch.

    A torn book shows nothing until its next snapshot, a crossed one nothing until it is uncrossed.
    """
    m = market_at(root, instrument)
    x = matching_at(root, instrument)
    if row["flags"] & SNAPSHOT_START != 0:
        clear_book(x, m)
        x["book_ready"] = 1
    if row["i2"] > 0 and row["f1"] >= 0.0 and row["f1"] < np.inf:
        if row["side"] > 0:
            set_bid(x, m, row["i2"], row["f1"])
        else:
            set_ask(x, m, row["i2"], row["f1"])
    if row["flags"] & LAST == 0:
        return 0
    x["updates"] += 1
    changed = DEPTH
    if x["book_ready"] == 0:
        return changed
    crossed = m["best_bid_tick"] >= m["best_ask_tick"] and m["best_ask_tick"] != NO_TICK
    m["depth_count"] = 0 if crossed else m["depth_count"] + 1
    if x["touch_from"] == TOUCH_FROM_DEPTH and touch_from_book(root, instrument) == 1:
        after_touch(root, fused, instrument, row)
        changed |= TOUCH
    if crossed:
        root["dropped_crossed"] += 1 if x["touch_from"] != TOUCH_FROM_DEPTH else 0
    elif root["follows"] == 0:
        if root["needs_levels"] >= STEPS_READ_LEVELS:
            gather_levels(x, m)
        fused.on_depth(fused.features_at(root, instrument), m)
    return changed


@njit
def show_bar(root, fused, instrument):  # type: ignore[no-untyped-def]
    """Let features see an instrument's new bar, then those of the instruments paired with it."""
    if root["follows"] != 0:
        return
    fused.on_bar(fused.features_at(root, instrument), market_at(root, instrument))
    if root["paired"] == 1:
        peer = market_at(root, instrument)
        for at in range(root["n_instruments"]):
            m = market_at(root, at)
            if m["peer"] == instrument + 1:
                show_peer(m, peer)
                fused.on_peer_bar(fused.features_at(root, at), m)


@njit(forceinline=True)
def touch_from_book(root, instrument):  # type: ignore[no-untyped-def]
    """Set the touch from the best levels when they changed; return 1 when it moved."""
    m = market_at(root, instrument)
    x = matching_at(root, instrument)
    best_bid, best_ask = m["best_bid_tick"], m["best_ask_tick"]
    if best_bid == NO_TICK or best_ask == NO_TICK:
        x["trusted"] = 0
        return 0
    bid_size = size_at(book_floats(m["bid_book"]), book_ticks(x["bid_ticks"]), best_bid)
    ask_size = size_at(book_floats(m["ask_book"]), book_ticks(x["ask_ticks"]), best_ask)
    bid, ask = price_of(x, m, best_bid), price_of(x, m, best_ask)
    same = bid == m["bid"] and ask == m["ask"]
    if same and bid_size == m["bid_size"] and ask_size == m["ask_size"] and x["trusted"] == 1:
        m["quote_ts"] = m["ts"]
        return 0
    return set_touch(root, m, x, (bid, ask, bid_size, ask_size))


@njit(forceinline=True)
def apply_bar(root, fused, instrument, row):  # type: ignore[no-untyped-def]
    """Apply a BAR row of the engine's own interval; others move nothing."""
    m = market_at(root, instrument)
    b = bars_at(root, instrument)
    open_, high, low, close = row["f0"], row["f1"], row["f2"], row["f3"]
    if b["row_interval_ns"] != root["bar_interval_ns"]:
        return 0
    if not (0.0 < low <= min(open_, close)) or not (max(open_, close) <= high < np.inf):
        root["dropped_insane"] += 1
        return 0
    if row["flags"] & HISTORY != 0 and past_bar(root, b, row) == 1:
        if WITH_SERIES:
            take_bar_row(root, fused, instrument, row)
        return 0
    m["bar_open"] = open_
    m["bar_high"] = high
    m["bar_low"] = low
    m["bar_close"] = close
    m["bar_volume"] = row["f4"]
    m["bar_buy_volume"] = np.nan
    m["bar_sell_volume"] = np.nan
    m["bar_ts"] = row["ts_event"]
    m["bar_interval_ns"] = b["row_interval_ns"]
    m["bar_filled"] = 0
    m["bar_count"] += 1
    matching_at(root, instrument)["updates"] += 1
    show_bar(root, fused, instrument)
    if WITH_SERIES:
        take_bar_row(root, fused, instrument, row)
    return BAR


@njit
def past_bar(root, b, row):  # type: ignore[no-untyped-def]
    """Fit a HISTORY bar to the bars made here; return 1 when it only opens the one in progress."""
    if b["mode"] != BARS_FROM_ROWS:
        end = row["ts_event"] + b["interval_ns"]
        if row["flags"] & GROWING != 0:
            begin_bar(root, b, row["ts_event"])
        elif b["end"] <= end:
            forget_bars(b)  # what grew of this bar: the row is all of it
        b["last_close"] = row["f3"]
    return 1 if row["flags"] & GROWING != 0 else 0


@njit
def apply_gap(root, fused, instrument, book_only):  # type: ignore[no-untyped-def]
    """Distrust what a gap has torn: the book alone, or the touch, the bars and all features."""
    m = market_at(root, instrument)
    x = matching_at(root, instrument)
    x["book_ready"] = 0
    m["depth_count"] = 0
    if book_only == 1 and x["touch_from"] != TOUCH_FROM_DEPTH:
        return
    m["gap_count"] += 1
    m["stale"] = 1
    x["trusted"] = 0
    if book_only == 1:
        return
    m["trade_count"] = 0
    forget_bars(bars_at(root, instrument))
    bars_at(root, instrument)["last_close"] = np.nan
    bars_at(root, instrument)["whole_from"] = root["now"]
    if WITH_SERIES:
        forget_series(root, instrument)
    fused.init(fused.features_at(root, instrument))
    for at in range(x["slot_from"], x["slot_to"]):
        slot_at(root, at)["was_valid"] = 0
