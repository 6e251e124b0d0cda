"""The level-two book of one instrument: sizes by price tick, in a ring of BOOK_SLOTS a side.

A level's slot is its price tick modulo the ring; the slot knows which tick it holds, so that two
prices a whole ring apart cannot be mistaken for each other: the one nearer to the touch stays.
"""

import numpy as np
from numba import njit

from engine.kernel.memory import book_floats, book_ticks
from engine.market import BOOK_SLOTS, TOP_LEVELS

MASK = BOOK_SLOTS - 1
NO_TICK = 0  # "no best price": price ticks of a book are positive


@njit(forceinline=True)
def price_of(x, m, tick):  # type: ignore[no-untyped-def]
    """Return the price of a tick, equal to the float64 that its decimal text parses to."""
    if x["tick_divisor"] > 0.0:
        return tick / x["tick_divisor"]
    return tick * m["tick"]


@njit(forceinline=True)
def tick_of(m, price):  # type: ignore[no-untyped-def]
    """Return the nearest price tick of a price."""
    return np.int64(np.floor(price / m["tick"] + 0.5))


@njit(forceinline=True)
def size_at(sizes, ticks, tick):  # type: ignore[no-untyped-def]
    """Return the displayed size at a tick, 0.0 where there is none."""
    at = tick & MASK
    if ticks[at] == tick:
        return sizes[at]
    return 0.0


@njit
def clear_book(x, m):  # type: ignore[no-untyped-def]
    """Empty both sides, before a snapshot."""
    for address in (m["bid_book"], m["ask_book"], x["bid_used"], x["ask_used"]):
        book_floats(address)[:] = 0.0
    book_ticks(x["bid_ticks"])[:] = 0
    book_ticks(x["ask_ticks"])[:] = 0
    m["best_bid_tick"] = NO_TICK
    m["best_ask_tick"] = NO_TICK
    x["min_book_tick"] = 0
    x["max_book_tick"] = 0


@njit(forceinline=True)
def store_level(sizes, ticks, used, tick, best):  # type: ignore[no-untyped-def]
    """Find the slot of a tick, taken over from a farther price; -1 when a nearer one keeps it."""
    at = tick & MASK
    if ticks[at] != tick:
        if sizes[at] > 0.0 and best != NO_TICK:
            if abs(ticks[at] - best) <= abs(tick - best):
                return -1
        ticks[at] = tick
    used[at] = 0.0
    return at


@njit(forceinline=True)
def set_bid(x, m, tick, size):  # type: ignore[no-untyped-def]
    """Set the absolute size of a bid level; 0 removes it."""
    sizes = book_floats(m["bid_book"])
    ticks = book_ticks(x["bid_ticks"])
    best = m["best_bid_tick"]
    if size <= 0.0 and ticks[tick & MASK] != tick:
        return
    at = store_level(sizes, ticks, book_floats(x["bid_used"]), tick, best)
    if at < 0:
        return
    sizes[at] = size
    if size > 0.0:
        if best == NO_TICK or tick > best:
            m["best_bid_tick"] = tick
        if x["min_book_tick"] == 0 or tick < x["min_book_tick"]:
            x["min_book_tick"] = tick
    elif tick == best:
        lowest = max(x["min_book_tick"], tick - MASK)
        tick -= 1
        while tick >= lowest and size_at(sizes, ticks, tick) <= 0.0:
            tick -= 1
        m["best_bid_tick"] = tick if tick >= lowest else NO_TICK


@njit(forceinline=True)
def set_ask(x, m, tick, size):  # type: ignore[no-untyped-def]
    """Set the absolute size of an ask level; 0 removes it."""
    sizes = book_floats(m["ask_book"])
    ticks = book_ticks(x["ask_ticks"])
    best = m["best_ask_tick"]
    if size <= 0.0 and ticks[tick & MASK] != tick:
        return
    at = store_level(sizes, ticks, book_floats(x["ask_used"]), tick, best)
    if at < 0:
        return
    sizes[at] = size
    if size > 0.0:
        if best == NO_TICK or tick < best:
            m["best_ask_tick"] = tick
        if tick > x["max_book_tick"]:
            x["max_book_tick"] = tick
    elif tick == best:
        highest = min(x["max_book_tick"], tick + MASK)
        tick += 1
        while tick <= highest and size_at(sizes, ticks, tick) <= 0.0:
            tick += 1
        m["best_ask_tick"] = tick if tick <= highest else NO_TICK


@njit
def gather_levels(x, m):  # type: ignore[no-untyped-def]
    """Copy the best TOP_LEVELS of both sides into the market record, best first; 0 sizes beyond."""
    thinner = TOP_LEVELS
    for side in range(2):
        sizes = book_floats(m["bid_book"] if side == 0 else m["ask_book"])
        ticks = book_ticks(x["bid_ticks"] if side == 0 else x["ask_ticks"])
        tick = m["best_bid_tick"] if side == 0 else m["best_ask_tick"]
        step = -1 if side == 0 else 1
        last = x["min_book_tick"] if side == 0 else x["max_book_tick"]
        prices_out = m["bid_prices"] if side == 0 else m["ask_prices"]
        sizes_out = m["bid_sizes"] if side == 0 else m["ask_sizes"]
        found = 0
        steps = 0
        while tick != NO_TICK and found < TOP_LEVELS and steps < BOOK_SLOTS:
            size = size_at(sizes, ticks, tick)
            if size > 0.0:
                prices_out[found] = price_of(x, m, tick)
                sizes_out[found] = size
                found += 1
            if tick == last:
                break
            tick += step
            steps += 1
        thinner = min(thinner, found)
        for k in range(found, TOP_LEVELS):
            prices_out[k] = np.nan
            sizes_out[k] = 0.0
    m["levels"] = thinner
