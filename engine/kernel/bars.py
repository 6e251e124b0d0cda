"""Time bars from prints: by event time, closed after a grace, two of them growing at once."""

import numpy as np
from numba import njit

from engine.kernel.layout import NEVER
from engine.limits import MAX_FLAT_BARS


@njit
def reset_bar(b, at):  # type: ignore[no-untyped-def]
    """Empty one of the two growing bars."""
    b["open"][at] = np.nan
    b["high"][at] = np.nan
    b["low"][at] = np.nan
    b["close"][at] = np.nan
    b["volume"][at] = 0.0
    b["buy"][at] = 0.0
    b["sell"][at] = 0.0
    b["prints"][at] = 0


@njit
def forget_bars(b):  # type: ignore[no-untyped-def]
    """Drop what is growing: at a gap, and when a market has been quiet for MAX_FLAT_BARS."""
    reset_bar(b, 0)
    reset_bar(b, 1)
    b["end"] = 0
    b["flat"] = 0


@njit(forceinline=True)
def add_print(root, b, ts, print_):  # type: ignore[no-untyped-def]
    """Add a print (price, size, side) to the bar of its event time; late ones are only counted."""
    price, size, side = print_
    interval = root["bar_interval_ns"]
    if b["end"] == 0:
        b["end"] = (ts // interval + 1) * interval
        close_ts = b["end"] + root["bar_grace_ns"]
        if close_ts < root["next_timer"]:
            root["next_timer"] = close_ts
        # A bar that the data enters in its middle is no whole bar: it closes unseen.
        since = max(root["first_ts"], b["whole_from"])
        b["in_gap"] = 1 if b["end"] - interval < since - 1_000_000_000 else 0
    ahead = ts - b["end"]
    if ahead < -interval or ahead >= interval:
        root["late_trades"] += 1
        return
    at = 0 if ahead < 0 else 1
    if b["prints"][at] == 0:
        b["open"][at] = price
        b["high"][at] = price
        b["low"][at] = price
    elif price > b["high"][at]:
        b["high"][at] = price
    elif price < b["low"][at]:
        b["low"][at] = price
    b["close"][at] = price
    b["volume"][at] += size
    b["buy"][at] += size if side > 0.0 else 0.0  # selects: the side is as good as random
    b["sell"][at] += size if side < 0.0 else 0.0
    b["prints"][at] += 1


@njit
def begin_bar(root, b, opens):  # type: ignore[no-untyped-def]
    """Begin the bar that opens at `opens`, known from its first print on."""
    forget_bars(b)
    b["end"] = opens + root["bar_interval_ns"]
    b["in_gap"] = 0
    root["next_timer"] = min(root["next_timer"], next_close(root, b))


@njit
def close_bar(root, m, b):  # type: ignore[no-untyped-def]
    """Close the current bar into the market record; return 1 when features should see it."""
    interval = root["bar_interval_ns"]
    seen = 1
    if b["prints"][0] > 0:
        b["flat"] = 0
        b["last_close"] = b["close"][0]
        m["bar_open"] = b["open"][0]
        m["bar_high"] = b["high"][0]
        m["bar_low"] = b["low"][0]
        m["bar_filled"] = 0
    else:
        b["flat"] += 1
        if not b["last_close"] > 0.0:
            seen = 0
        m["bar_open"] = b["last_close"]
        m["bar_high"] = b["last_close"]
        m["bar_low"] = b["last_close"]
        m["bar_filled"] = 1
    m["bar_close"] = b["last_close"]
    m["bar_volume"] = b["volume"][0]
    m["bar_buy_volume"] = b["buy"][0]
    m["bar_sell_volume"] = b["sell"][0]
    m["bar_ts"] = b["end"] - interval
    m["bar_interval_ns"] = interval
    if b["in_gap"] == 1:
        seen = 0
        b["in_gap"] = 0
    shift_bars(b, interval)
    if b["flat"] >= MAX_FLAT_BARS:
        forget_bars(b)
    if seen == 1:
        m["bar_count"] += 1
    return seen


@njit
def shift_bars(b, interval):  # type: ignore[no-untyped-def]
    """Make the next bar the current one."""
    b["open"][0] = b["open"][1]
    b["high"][0] = b["high"][1]
    b["low"][0] = b["low"][1]
    b["close"][0] = b["close"][1]
    b["volume"][0] = b["volume"][1]
    b["buy"][0] = b["buy"][1]
    b["sell"][0] = b["sell"][1]
    b["prints"][0] = b["prints"][1]
    reset_bar(b, 1)
    b["end"] += interval


@njit(forceinline=True)
def next_close(root, b):  # type: ignore[no-untyped-def]
    """Return the time at which the current bar closes, NEVER where none grows."""
    if b["end"] == 0:
        return NEVER
    return b["end"] + root["bar_grace_ns"]
