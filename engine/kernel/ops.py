"""What Python does to the kernel's state between two calls: place, cancel, protect, record."""

from numba import njit

from engine.kernel.fills import FREE, RESTING, WAITS_FOR_OPEN
from engine.kernel.layout import PaperState
from engine.kernel.match import TRAVELLING
from engine.kernel.records import push_record
from engine.kernel.triggers import nearest_triggers
from engine.limits import MAX_ORDERS, MAX_TRIGGERS

STATE_FREE = int(PaperState.FREE)


@njit
def place_order(k, order, prices, arrive_ts):  # type: ignore[no-untyped-def]
    """Send a paper order on its way; return its place, or -1 when all places are taken.

    order = (order_id, instrument, side, order_type, qty lots); prices = (price_tick, collar_low,
    collar_high) in ticks; arrive_ts = kernel time at which it reaches the venue's book.
    """
    for at in range(MAX_ORDERS):
        o = k.orders[at]
        if o["state"] != FREE:
            continue
        o["order_id"] = order[0]
        o["instrument"] = order[1]
        o["side"] = order[2]
        o["order_type"] = order[3]
        o["qty"] = order[4]
        o["left"] = order[4]
        o["price_tick"] = prices[0]
        o["collar_low"] = prices[1]
        o["collar_high"] = prices[2]
        o["arrive_ts"] = arrive_ts
        o["cancel_ts"] = 0
        o["queue"] = 0.0
        o["rested_ts"] = 0
        k.root["order_count"] += 1
        if order[3] == 0 and k.matching[order[1]]["waits_for_open"] == 1:
            o["state"] = WAITS_FOR_OPEN
            k.root["waiting_open"] += 1
        else:
            o["state"] = TRAVELLING
            k.root["next_arrival"] = min(k.root["next_arrival"], arrive_ts)
        return at
    return -1


@njit
def cancel_order(k, order_id, cancel_ts):  # type: ignore[no-untyped-def]
    """Ask for an order's removal at `cancel_ts`; return 1 when the venue still has it."""
    for at in range(MAX_ORDERS):
        o = k.orders[at]
        if o["state"] != FREE and o["order_id"] == order_id:
            o["cancel_ts"] = max(cancel_ts, o["arrive_ts"])
            k.root["next_arrival"] = min(k.root["next_arrival"], o["cancel_ts"])
            return 1
    return 0


@njit
def resting_count(k):  # type: ignore[no-untyped-def]
    """Count the orders that rest in the venue's book."""
    count = 0
    for at in range(MAX_ORDERS):
        if k.orders[at]["state"] == RESTING:
            count += 1
    return count


@njit
def add_trigger(k, trigger_id, place, ticks):  # type: ignore[no-untyped-def]
    """Watch a position: place = (instrument, side), ticks = (stop, profit) or 0; -1 when full."""
    for at in range(MAX_TRIGGERS):
        g = k.triggers[at]
        if g["active"] == 1:
            continue
        g["trigger_id"] = trigger_id
        g["active"] = 1
        g["instrument"] = place[0]
        g["side"] = place[1]
        g["stop_tick"] = ticks[0]
        g["profit_tick"] = ticks[1]
        g["stop_seen"] = 0
        g["profit_seen"] = 0
        k.root["trigger_count"] += 1
        k.matching[place[0]]["triggers"] += 1
        nearest_triggers(k, place[0])
        return at
    return -1


@njit
def remove_trigger(k, trigger_id):  # type: ignore[no-untyped-def]
    """Stop watching; return 1 when it was still active."""
    for at in range(MAX_TRIGGERS):
        g = k.triggers[at]
        if g["active"] == 1 and g["trigger_id"] == trigger_id:
            g["active"] = 0
            k.root["trigger_count"] -= 1
            k.matching[g["instrument"]]["triggers"] -= 1
            nearest_triggers(k, g["instrument"])
            return 1
    return 0


@njit
def record(k, head, slots):  # type: ignore[no-untyped-def]
    """Append an audit record of Python's; see engine/audit_layout.py."""
    push_record(k, head, slots)
    return k.root["audit_count"]
