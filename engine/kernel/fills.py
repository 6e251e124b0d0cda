"""What every fill of a paper order goes through: events, places, and what is left to take."""

import numpy as np
from numba import njit

from engine.events import RejectReason
from engine.kernel.layout import NO_BUY, NO_SELL, Out, PaperState, TouchFrom
from engine.kernel.memory import book_floats, book_ticks
from engine.kernel.places import answer_at, matching_at, paper_order_at
from engine.market import BOOK_SLOTS

FREE = int(PaperState.FREE)
WAITS_FOR_OPEN = int(PaperState.WAITS_FOR_OPEN)
RESTING = int(PaperState.RESTING)
OUT_FILL = int(Out.FILL)
NO_REASON = int(RejectReason.NONE)
TOUCH_FROM_DEPTH = int(TouchFrom.DEPTH)
MASK = BOOK_SLOTS - 1
ROUNDING = 1e-9  # of a lot: sizes are floats, lots are not


@njit
def emit(root, o, kind, detail):  # type: ignore[no-untyped-def]
    """Append a venue event about an order; detail = (qty, price_tick, liquidity, reason)."""
    event = answer_at(root, root["out_count"])
    event["kind"] = kind
    event["order_id"] = o["order_id"]
    event["qty"] = detail[0]
    event["price_tick"] = detail[1]
    event["liquidity"] = detail[2]
    event["reason"] = detail[3]
    event["ts"] = root["now"]
    event["queue"] = o["queue"]
    event["ledger"] = o["ledger"]
    event["done"] = 0
    root["out_count"] += 1


@njit
def release(root, o):  # type: ignore[no-untyped-def]
    """Free an order's place; keep the instrument's nearest resting prices right."""
    x = matching_at(root, o["instrument"])
    was_resting = o["state"] == RESTING
    if o["state"] == WAITS_FOR_OPEN:
        root["waiting_open"] -= 1
    o["state"] = FREE
    root["order_count"] -= 1
    while root["order_high"] > 0 and paper_order_at(root, root["order_high"] - 1)["state"] == FREE:
        root["order_high"] -= 1
    if was_resting:
        x["resting"] -= 1
        nearest_resting(root, o["instrument"])


@njit
def nearest_resting(root, instrument):  # type: ignore[no-untyped-def]
    """Recompute an instrument's highest resting buy and lowest resting sell."""
    x = matching_at(root, instrument)
    x["best_buy"] = NO_BUY
    x["best_sell"] = NO_SELL
    if x["resting"] == 0:
        return
    for at in range(root["order_high"]):
        o = paper_order_at(root, at)
        if o["state"] == RESTING and o["instrument"] == instrument:
            if o["side"] > 0:
                x["best_buy"] = max(x["best_buy"], o["price_tick"])
            else:
                x["best_sell"] = min(x["best_sell"], o["price_tick"])


@njit
def fill(root, o, qty, price_tick, liquidity):  # type: ignore[no-untyped-def]
    """Fill part of an order; frees it when nothing is left."""
    o["left"] -= qty
    emit(root, o, OUT_FILL, (qty, price_tick, liquidity, NO_REASON))
    if o["left"] == 0:
        release(root, o)


@njit
def whole_lots(m, size):  # type: ignore[no-untyped-def]
    """Count the whole lots in a size; 0 for what is not a number."""
    if not size > 0.0:
        return np.int64(0)
    return np.int64(np.floor(min(size / m["lot"] + ROUNDING, 9.0e18)))


@njit
def touch_size(m, x, side):  # type: ignore[no-untyped-def]
    """Return what a taker of `side` finds displayed at the touch and not yet taken by us."""
    if side > 0:
        size, price, used, tick = m["ask_size"], m["ask"], x["used_ask"], x["ask_tick"]
    else:
        size, price, used, tick = m["bid_size"], m["bid"], x["used_bid"], x["bid_tick"]
    if np.isnan(size):
        size = x["assumed_notional"] / price
    if x["touch_from"] == TOUCH_FROM_DEPTH:
        used = book_floats(x["ask_used"] if side > 0 else x["bid_used"])[tick & MASK]
    return size - used


@njit
def take(m, x, side, qty):  # type: ignore[no-untyped-def]
    """Count what we took from the displayed touch, and from its level where the book is known.

    The level remembers it when the touch moves away and the level stands behind another.
    """
    size = qty * m["lot"]
    x["taken"] = 1
    if side > 0:
        x["used_ask"] += size
    else:
        x["used_bid"] += size
    if x["book_ready"] == 1:
        buying = side > 0
        tick = x["ask_tick"] if buying else x["bid_tick"]
        if book_ticks(x["ask_ticks"] if buying else x["bid_ticks"])[tick & MASK] == tick:
            book_floats(x["ask_used"] if buying else x["bid_used"])[tick & MASK] += size
