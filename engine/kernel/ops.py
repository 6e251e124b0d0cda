"""What Python does to the kernel's state between two calls: cancel, protect."""

from numba import njit

from engine.kernel.fills import FREE
from engine.kernel.places import matching_at, paper_order_at, trigger_at
from engine.kernel.sessions import OPEN, shut_by
from engine.kernel.triggers import forget_trigger, nearest_triggers
from engine.limits import MAX_TRIGGERS


@njit
def cancel_order(root, order_id, cancel_ts):  # type: ignore[no-untyped-def]
    """Ask for an order's removal at `cancel_ts`; return 1 when the venue still has it.

    Outside the regular hours it takes no time: the venue itself ends an order of the day.
    """
    for at in range(root["order_high"]):
        o = paper_order_at(root, at)
        if o["state"] != FREE and o["order_id"] == order_id:
            shut = shut_by(root, o["instrument"]) != OPEN
            o["cancel_ts"] = max(root["now"] if shut else cancel_ts, o["arrive_ts"])
            root["next_arrival"] = min(root["next_arrival"], o["cancel_ts"])
            return 1
    return 0


@njit
def free_trigger(root):  # type: ignore[no-untyped-def]
    """Return the first free place for a trigger, -1 when all are taken."""
    for at in range(root["trigger_high"]):
        if trigger_at(root, at)["active"] == 0:
            return at
    at = root["trigger_high"]
    if at == MAX_TRIGGERS:
        return -1
    root["trigger_high"] = at + 1
    return at


@njit
def add_trigger(root, trigger_id, place, ticks):  # type: ignore[no-untyped-def]
    """Watch a position: place = (instrument, side), ticks = (stop, profit) or 0; -1 when full."""
    at = free_trigger(root)
    if at < 0:
        return -1
    g = trigger_at(root, at)
    g["trigger_id"] = trigger_id
    g["active"] = 1
    g["instrument"] = place[0]
    g["side"] = place[1]
    g["stop_tick"] = ticks[0]
    g["profit_tick"] = ticks[1]
    g["stop_seen"] = 0
    g["profit_seen"] = 0
    g["lots"] = 0
    root["trigger_count"] += 1
    matching_at(root, place[0])["triggers"] += 1
    nearest_triggers(root, place[0])
    return at


@njit
def remove_trigger(root, trigger_id):  # type: ignore[no-untyped-def]
    """Stop watching; return 1 when it was still active."""
    for at in range(root["trigger_high"]):
        g = trigger_at(root, at)
        if g["active"] == 1 and g["trigger_id"] == trigger_id:
            forget_trigger(root, g)
            nearest_triggers(root, g["instrument"])
            return 1
    return 0
