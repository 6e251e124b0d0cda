"""Paper matching: what a venue would do with our orders, on the market data that there is.

Takers walk the displayed touch, then the known levels behind it; what they took stays taken until
the feed refreshes it. Makers stand behind the size displayed when they came; only trades at their
price, trades through it, or an opposite touch that reaches it fill them, first in line first.
"""

import numpy as np
from numba import njit

from engine.events import Liquidity, OrderType, RejectReason
from engine.kernel.book import size_at
from engine.kernel.fills import (
    FREE,
    MASK,
    NO_REASON,
    RESTING,
    WAITS_FOR_OPEN,
    emit,
    fill,
    release,
    take,
    touch_size,
    whole_lots,
)
from engine.kernel.layout import NEVER, NO_SELL, Out, PaperState
from engine.kernel.memory import book_floats, book_ticks
from engine.kernel.places import market_at, matching_at, paper_order_at
from engine.kernel.touch import touch_ticks
from engine.limits import MAX_OUT
from engine.market import BOOK_SLOTS

TRAVELLING = int(PaperState.TRAVELLING)
MARKET_ORDER = int(OrderType.MARKET)
LIMIT_GTC = int(OrderType.LIMIT_GTC)
POST_ONLY = int(OrderType.POST_ONLY)
OUT_ACK = int(Out.ACK)
OUT_REJECT, OUT_CANCELED = int(Out.REJECT), int(Out.CANCELED)
TAKER, MAKER = int(Liquidity.TAKER), int(Liquidity.MAKER)
WOULD_CROSS = int(RejectReason.POST_ONLY_WOULD_CROSS)
NO_LIQUIDITY = int(RejectReason.NO_LIQUIDITY)
OUTSIDE_COLLAR = int(RejectReason.COLLAR)
BY_REQUEST = int(RejectReason.BY_REQUEST)
MARKET_HALTED = int(RejectReason.MARKET_HALTED)


@njit
def take_touch(root, o, limit_tick):  # type: ignore[no-untyped-def]
    """Fill an arriving order against the touch, as far as its limit allows."""
    x = matching_at(root, o["instrument"])
    m = market_at(root, o["instrument"])
    tick = x["ask_tick"] if o["side"] > 0 else x["bid_tick"]
    if (tick - limit_tick) * o["side"] > 0:
        return
    qty = min(o["left"], whole_lots(m, touch_size(m, x, o["side"])))
    if qty > 0:
        take(m, x, o["side"], qty)
        fill(root, o, qty, tick, TAKER)


@njit
def take_levels(root, o, limit_tick):  # type: ignore[no-untyped-def]
    """Walk the known levels behind the touch, as far as the limit allows."""
    x = matching_at(root, o["instrument"])
    m = market_at(root, o["instrument"])
    buying = o["side"] > 0
    sizes = book_floats(m["ask_book"] if buying else m["bid_book"])
    ticks = book_ticks(x["ask_ticks"] if buying else x["bid_ticks"])
    used = book_floats(x["ask_used"] if buying else x["bid_used"])
    last = min(limit_tick, x["max_book_tick"]) if buying else max(limit_tick, x["min_book_tick"])
    tick = x["ask_tick"] + 1 if buying else x["bid_tick"] - 1
    steps = 0
    room = MAX_OUT - 4  # what is left after so many fills counts as unfilled
    while o["state"] != FREE and (last - tick) * o["side"] >= 0 and steps < BOOK_SLOTS:
        if root["out_count"] >= room:
            return
        size = size_at(sizes, ticks, tick)
        if size > 0.0:
            qty = min(o["left"], whole_lots(m, size - used[tick & MASK]))
            if qty > 0:
                used[tick & MASK] += qty * m["lot"]
                fill(root, o, qty, tick, TAKER)
        tick += o["side"]
        steps += 1


@njit
def queue_ahead(root, o):  # type: ignore[no-untyped-def]
    """Estimate the size ahead of an order that comes to rest: all displayed at its price."""
    x = matching_at(root, o["instrument"])
    m = market_at(root, o["instrument"])
    buying = o["side"] > 0
    touch = x["bid_tick"] if buying else x["ask_tick"]
    better = (o["price_tick"] - touch) * o["side"]
    if better > 0:
        return 0.0
    if better == 0:
        size = m["bid_size"] if buying else m["ask_size"]
        if np.isnan(size):
            size = x["assumed_notional"] / (m["bid"] if buying else m["ask"])
        return size
    farthest = x["min_book_tick"] if buying else x["max_book_tick"]
    known = farthest > 0 and (o["price_tick"] - farthest) * o["side"] >= 0
    if x["book_ready"] == 1 and known:
        sizes = book_floats(m["bid_book"] if buying else m["ask_book"])
        ticks = book_ticks(x["bid_ticks"] if buying else x["ask_ticks"])
        return size_at(sizes, ticks, o["price_tick"])
    return np.inf  # nobody knows: only a trade through the price fills it, until it is the touch


@njit
def rest(root, o):  # type: ignore[no-untyped-def]
    """Lay what is left of an order into the book, behind what stands there."""
    x = matching_at(root, o["instrument"])
    o["state"] = RESTING
    o["queue"] = queue_ahead(root, o)
    o["rested_ts"] = root["now"]
    x["resting"] += 1
    if o["side"] > 0:
        x["best_buy"] = max(x["best_buy"], o["price_tick"])
    else:
        x["best_sell"] = min(x["best_sell"], o["price_tick"])
    emit(root, o, OUT_ACK, (o["left"], o["price_tick"], MAKER, NO_REASON))


@njit
def outside_collar(x, o):  # type: ignore[no-untyped-def]
    """Return True when the touch has left the band in which the order was approved."""
    tick = x["ask_tick"] if o["side"] > 0 else x["bid_tick"]
    return tick > o["collar_high"] or tick < o["collar_low"]


@njit
def arrive(root, o):  # type: ignore[no-untyped-def]
    """Let an order reach the venue's book: take what it may, rest or cancel what is left."""
    x = matching_at(root, o["instrument"])
    m = market_at(root, o["instrument"])
    touch_ticks(m, x)
    if x["halted"] == 1:
        emit(root, o, OUT_REJECT, (o["left"], 0, TAKER, MARKET_HALTED))
        release(root, o)
        return
    opposite = x["ask_tick"] if o["side"] > 0 else x["bid_tick"]
    crosses = o["order_type"] == MARKET_ORDER or (o["price_tick"] - opposite) * o["side"] >= 0
    if o["order_type"] == POST_ONLY:
        if crosses:
            emit(root, o, OUT_REJECT, (o["left"], 0, MAKER, WOULD_CROSS))
            release(root, o)
        else:
            rest(root, o)
        return
    if crosses and outside_collar(x, o):
        emit(root, o, OUT_CANCELED, (o["left"], 0, TAKER, OUTSIDE_COLLAR))
        release(root, o)
        return
    if crosses:
        edge = o["collar_high"] if o["side"] > 0 else o["collar_low"]
        limit = edge if o["order_type"] == MARKET_ORDER else o["price_tick"]
        take_touch(root, o, limit)
        if o["state"] != FREE and x["book_ready"] == 1:
            take_levels(root, o, limit)
    if o["state"] == FREE:
        return
    if o["order_type"] == LIMIT_GTC:
        rest(root, o)
    else:
        emit(root, o, OUT_CANCELED, (o["left"], 0, TAKER, NO_LIQUIDITY))
        release(root, o)


@njit
def next_due(root):  # type: ignore[no-untyped-def]
    """Find the earliest arrival or cancel under way: (time, place of the order, 1: cancel)."""
    best_ts, best_at, best_cancel, best_id = NEVER, -1, 0, NEVER
    for at in range(root["order_high"]):
        o = paper_order_at(root, at)
        if o["state"] == FREE:
            continue
        if o["state"] == TRAVELLING:
            ts = o["arrive_ts"]
            if ts < best_ts or (ts == best_ts and o["order_id"] < best_id):
                best_ts, best_at, best_cancel, best_id = ts, at, 0, o["order_id"]
        ts = o["cancel_ts"]
        if ts > 0 and o["state"] != TRAVELLING:
            if ts < best_ts or (ts == best_ts and o["order_id"] < best_id):
                best_ts, best_at, best_cancel, best_id = ts, at, 1, o["order_id"]
    return best_ts, best_at, best_cancel


@njit
def process_arrivals(root, ts):  # type: ignore[no-untyped-def]
    """Carry out every arrival and cancel that is due by `ts`, earliest first."""
    while True:
        due, at, cancel = next_due(root)
        root["next_arrival"] = due
        if due > ts or at < 0 or root["out_count"] > 0:
            return
        o = paper_order_at(root, at)
        if due > root["now"]:
            root["now"] = due
        if cancel == 1:
            emit(root, o, OUT_CANCELED, (o["left"], 0, MAKER, BY_REQUEST))
            release(root, o)
        elif matching_at(root, o["instrument"])["trusted"] == 0:
            # No price can be trusted: the order stands at the venue's door until one can.
            o["arrive_ts"] = ts + 1
        else:
            arrive(root, o)


@njit
def match_open(root, instrument):  # type: ignore[no-untyped-def]
    """Fill the orders that waited for a bar's open."""
    for at in range(root["order_high"]):
        o = paper_order_at(root, at)
        if o["state"] == WAITS_FOR_OPEN and o["instrument"] == instrument:
            root["waiting_open"] -= 1
            o["state"] = TRAVELLING
            arrive(root, o)


@njit
def next_in_line(root, instrument, side, last):  # type: ignore[no-untyped-def]
    """Return the place of the resting order that stands behind `last` on a side, -1 if none does.

    Better prices stand first, then who came first: last = (price times side, rested_ts, id).
    """
    value, rested, number = last
    found = -1
    for at in range(root["order_high"]):
        o = paper_order_at(root, at)
        if o["state"] != RESTING or o["instrument"] != instrument or o["side"] != side:
            continue
        mine = o["price_tick"] * side
        behind = mine < value or (
            mine == value
            and (o["rested_ts"] > rested or (o["rested_ts"] == rested and o["order_id"] > number))
        )
        if not behind:
            continue
        if found >= 0:
            f = paper_order_at(root, found)
            if mine < f["price_tick"] * side:
                continue
            if mine == f["price_tick"] * side and (
                o["rested_ts"] > f["rested_ts"]
                or (o["rested_ts"] == f["rested_ts"] and o["order_id"] > f["order_id"])
            ):
                continue
        found = at
    return found


@njit
def match_touch(root, instrument):  # type: ignore[no-untyped-def]
    """Fill resting orders that the opposite touch reached; shrink queues to what is displayed."""
    x = matching_at(root, instrument)
    m = market_at(root, instrument)
    touch_ticks(m, x)
    if x["ask_tick"] <= x["best_buy"]:
        fill_reached(root, instrument, 1)
    if x["bid_tick"] >= x["best_sell"]:
        fill_reached(root, instrument, -1)
    if x["bid_tick"] > x["best_buy"] and x["ask_tick"] < x["best_sell"]:
        return
    for at in range(root["order_high"]):
        o = paper_order_at(root, at)
        if o["state"] != RESTING or o["instrument"] != instrument:
            continue
        if o["price_tick"] == (x["bid_tick"] if o["side"] > 0 else x["ask_tick"]):
            size = m["bid_size"] if o["side"] > 0 else m["ask_size"]
            if size < o["queue"]:
                o["queue"] = size


@njit
def fill_reached(root, instrument, side):  # type: ignore[no-untyped-def]
    """Fill a side's resting orders, first in line first, from the touch that reached them."""
    x = matching_at(root, instrument)
    m = market_at(root, instrument)
    touch = x["ask_tick"] if side > 0 else x["bid_tick"]
    last = (NO_SELL, np.int64(0), np.int64(0))
    while True:
        at = next_in_line(root, instrument, side, last)
        if at < 0:
            return
        o = paper_order_at(root, at)
        last = (o["price_tick"] * side, o["rested_ts"], o["order_id"])
        qty = min(o["left"], whole_lots(m, touch_size(m, x, side)))
        if (o["price_tick"] - touch) * side < 0 or qty <= 0:
            return
        take(m, x, side, qty)
        fill(root, o, qty, o["price_tick"], MAKER)


@njit
def match_trade(root, instrument):  # type: ignore[no-untyped-def]
    """Let a market trade eat the queues in front of our resting orders, and then fill them."""
    x = matching_at(root, instrument)
    m = market_at(root, instrument)
    tick = np.int64(np.floor(m["trade_price"] / m["tick"] + 0.5))
    if m["trade_side"] <= 0.0 and tick <= x["best_buy"]:  # else its aggressor was on our side
        fill_traded(root, instrument, 1, tick)
    if m["trade_side"] >= 0.0 and tick >= x["best_sell"]:
        fill_traded(root, instrument, -1, tick)


@njit
def fill_traded(root, instrument, side, tick):  # type: ignore[no-untyped-def]
    """Fill a side's resting orders, first in line first, that a trade went through or reached."""
    m = market_at(root, instrument)
    left = m["trade_size"]
    last = (NO_SELL, np.int64(0), np.int64(0))
    while True:
        at = next_in_line(root, instrument, side, last)
        if at < 0:
            return
        o = paper_order_at(root, at)
        last = (o["price_tick"] * side, o["rested_ts"], o["order_id"])
        through = (o["price_tick"] - tick) * side
        if through < 0:
            return
        if through > 0:
            fill(root, o, o["left"], o["price_tick"], MAKER)
            continue
        o["queue"] -= left
        if o["queue"] < 0.0:
            qty = min(o["left"], whole_lots(m, -o["queue"]))
            o["queue"] = 0.0
            if qty > 0:
                left -= qty * m["lot"]
                fill(root, o, qty, o["price_tick"], MAKER)


@njit
def match_bar(root, instrument):  # type: ignore[no-untyped-def]
    """Fill resting orders whose price a bar traded through (a touch of the extreme does not)."""
    m = market_at(root, instrument)
    low = np.int64(np.floor(m["bar_low"] / m["tick"] + 0.5))
    high = np.int64(np.floor(m["bar_high"] / m["tick"] + 0.5))
    for at in range(root["order_high"]):
        o = paper_order_at(root, at)
        if o["state"] != RESTING or o["instrument"] != instrument:
            continue
        if (o["side"] > 0 and low < o["price_tick"]) or (o["side"] < 0 and high > o["price_tick"]):
            fill(root, o, o["left"], o["price_tick"], MAKER)
