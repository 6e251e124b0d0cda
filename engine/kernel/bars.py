"""Bars from prints: by event time, closed after a grace, two of them growing at once; by count.

Volumes are summed exactly, in whole units and 1e-8 of them, so that a bar's volume does not depend
on how its prints were grouped: bars made of bars equal those made of the prints.
"""

import numpy as np
from numba import njit

from engine.kernel.layout import NEVER
from engine.limits import MAX_FLAT_BARS

UNIT_PARTS = 1e8  # of a unit
EXACT = 9e7  # whole units below which a sum and its parts are one exact float64
MAX_AMOUNT = 9e10  # of one print, towards a bar by count: int64 holds it in parts
BY_TICKS, BY_VOLUME = 1, 2  # BarKind


@njit
def reset_bar(b, at):  # type: ignore[no-untyped-def]
    """Empty one of the growing bars."""
    b["open"][at] = np.nan
    b["high"][at] = np.nan
    b["low"][at] = np.nan
    b["close"][at] = np.nan
    b["volume"][at] = 0.0
    b["volume_part"][at] = 0.0
    b["buy"][at] = 0.0
    b["buy_part"][at] = 0.0
    b["sell"][at] = 0.0
    b["sell_part"][at] = 0.0
    b["prints"][at] = 0


@njit
def forget_bars(b):  # type: ignore[no-untyped-def]
    """Drop what is growing: at a gap, and when a market has been quiet for MAX_FLAT_BARS."""
    reset_bar(b, 0)
    reset_bar(b, 1)
    b["end"] = 0
    b["flat"] = 0


@njit(forceinline=True)
def exact_sum(whole, part):  # type: ignore[no-untyped-def]
    """Return whole units and parts of a unit as one number, correctly rounded below EXACT."""
    if whole < EXACT:
        return (whole * UNIT_PARTS + part) / UNIT_PARTS
    carry = np.floor(part / UNIT_PARTS)
    return (whole + carry) + (part - carry * UNIT_PARTS) / UNIT_PARTS


@njit(forceinline=True)
def grow(b, at, print_):  # type: ignore[no-untyped-def]
    """Add a print (price, size, side) to a growing bar."""
    price, size, side = print_
    if b["prints"][at] == 0:
        b["open"][at] = price
        b["high"][at] = price
        b["low"][at] = price
    elif price > b["high"][at]:
        b["high"][at] = price
    elif price < b["low"][at]:
        b["low"][at] = price
    b["close"][at] = price
    whole = np.floor(size)
    part = np.rint((size - whole) * UNIT_PARTS)
    b["volume"][at] += whole
    b["volume_part"][at] += part
    b["buy"][at] += whole if side > 0.0 else 0.0  # selects: the side is as good as random
    b["buy_part"][at] += part if side > 0.0 else 0.0
    b["sell"][at] += whole if side < 0.0 else 0.0
    b["sell_part"][at] += part if side < 0.0 else 0.0
    b["prints"][at] += 1


@njit(forceinline=True)
def add_print(root, b, ts, print_):  # type: ignore[no-untyped-def]
    """Add a print to the bar of its event time; return 1 for a late one, which no bar takes."""
    interval = b["interval_ns"]
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
        return 1
    grow(b, 0 if ahead < 0 else 1, print_)
    return 0


@njit
def begin_bar(root, b, opens):  # type: ignore[no-untyped-def]
    """Begin the bar that opens at `opens`, known from its first print on."""
    forget_bars(b)
    b["end"] = opens + b["interval_ns"]
    b["in_gap"] = 0
    root["next_timer"] = min(root["next_timer"], next_close(root, b))


@njit
def show_prints(m, b):  # type: ignore[no-untyped-def]
    """Put the prints of the current bar into the market record."""
    m["bar_open"] = b["open"][0]
    m["bar_high"] = b["high"][0]
    m["bar_low"] = b["low"][0]
    m["bar_filled"] = 0
    b["last_close"] = b["close"][0]


@njit
def show_volumes(m, b):  # type: ignore[no-untyped-def]
    """Put close and volumes of the current bar into the market record."""
    m["bar_close"] = b["last_close"]
    m["bar_volume"] = exact_sum(b["volume"][0], b["volume_part"][0])
    m["bar_buy_volume"] = exact_sum(b["buy"][0], b["buy_part"][0])
    m["bar_sell_volume"] = exact_sum(b["sell"][0], b["sell_part"][0])


@njit
def close_bar(m, b):  # type: ignore[no-untyped-def]
    """Close the current bar into the market record; return 1 when features should see it."""
    interval = b["interval_ns"]
    seen = 1
    if b["prints"][0] > 0:
        b["flat"] = 0
        show_prints(m, b)
    else:
        b["flat"] += 1
        if not b["last_close"] > 0.0:
            seen = 0
        m["bar_open"] = b["last_close"]
        m["bar_high"] = b["last_close"]
        m["bar_low"] = b["last_close"]
        m["bar_filled"] = 1
    show_volumes(m, b)
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
def copy_bar(b, source, target):  # type: ignore[no-untyped-def]
    """Copy one growing bar over another."""
    b["open"][target] = b["open"][source]
    b["high"][target] = b["high"][source]
    b["low"][target] = b["low"][source]
    b["close"][target] = b["close"][source]
    b["volume"][target] = b["volume"][source]
    b["volume_part"][target] = b["volume_part"][source]
    b["buy"][target] = b["buy"][source]
    b["buy_part"][target] = b["buy_part"][source]
    b["sell"][target] = b["sell"][source]
    b["sell_part"][target] = b["sell_part"][source]
    b["prints"][target] = b["prints"][source]


@njit
def shift_bars(b, interval):  # type: ignore[no-untyped-def]
    """Make the next bar the current one."""
    copy_bar(b, 1, 0)
    reset_bar(b, 1)
    b["end"] += interval


@njit(forceinline=True)
def next_close(root, b):  # type: ignore[no-untyped-def]
    """Return the time at which the current bar closes, NEVER where none grows or rows close it."""
    if b["end"] == 0 or b["by_rows"] == 1:
        return NEVER
    return b["end"] + root["bar_grace_ns"]


@njit
def show_peer(m, peer):  # type: ignore[no-untyped-def]
    """Show an instrument the closed bar of the one it is paired with."""
    m["peer_bar_ts"] = peer["bar_ts"]
    m["peer_bar_interval_ns"] = peer["bar_interval_ns"]
    m["peer_bar_close"] = peer["bar_close"]
    m["peer_bar_volume"] = peer["bar_volume"]
    m["peer_mid"] = peer["mid"]
    m["peer_gap_count"] = peer["gap_count"]
