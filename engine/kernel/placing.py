"""Places that are taken and freed: paper orders on their way to the venue, lines of the ledger."""

from numba import njit

from engine.kernel.layout import PaperState
from engine.kernel.places import desk_of, line_at, matching_at, paper_order_at
from engine.limits import MAX_ORDERS

FREE = int(PaperState.FREE)
TRAVELLING, WAITS_FOR_OPEN = int(PaperState.TRAVELLING), int(PaperState.WAITS_FOR_OPEN)


@njit
def free_order(root):  # type: ignore[no-untyped-def]
    """Return the first free place for a paper order, -1 when all are taken."""
    for at in range(root["order_high"]):
        if paper_order_at(root, at)["state"] == FREE:
            return at
    at = root["order_high"]
    if at == MAX_ORDERS:
        return -1
    root["order_high"] = at + 1
    return at


@njit
def place_order(root, order, prices, arrive_ts):  # type: ignore[no-untyped-def]
    """Send a paper order on its way; return its place, or -1 when all places are taken.

    order = (order_id, instrument, side, order_type, qty lots); prices = (price_tick, collar_low,
    collar_high, place in the ledger or -1); arrive_ts = kernel time at which it reaches the venue.
    """
    at = free_order(root)
    if at < 0:
        return -1
    o = paper_order_at(root, at)
    o["order_id"] = order[0]
    o["instrument"] = order[1]
    o["side"] = order[2]
    o["order_type"] = order[3]
    o["qty"] = order[4]
    o["left"] = order[4]
    o["price_tick"] = prices[0]
    o["collar_low"] = prices[1]
    o["collar_high"] = prices[2]
    o["ledger"] = prices[3]
    o["arrive_ts"] = arrive_ts
    o["cancel_ts"] = 0
    o["queue"] = 0.0
    o["rested_ts"] = 0
    root["order_count"] += 1
    if order[3] == 0 and matching_at(root, order[1])["waits_for_open"] == 1:
        o["state"] = WAITS_FOR_OPEN
        root["waiting_open"] += 1
    else:
        o["state"] = TRAVELLING
        root["next_arrival"] = min(root["next_arrival"], arrive_ts)
    return at


@njit
def free_line(root):  # type: ignore[no-untyped-def]
    """Take a free line of the ledger; the gate lets no more orders stand open than it has."""
    desk = desk_of(root)
    desk["ledger_open"] += 1
    if desk["ledger_open"] <= desk["ledger_high"]:  # else every place below is taken
        for at in range(desk["ledger_high"]):
            if line_at(root, at)["open"] == 0:
                return at
    at = desk["ledger_high"]
    desk["ledger_high"] = at + 1
    return at


@njit
def close_line(root, at):  # type: ignore[no-untyped-def]
    """Free a line of the ledger; what it says stays until the line is taken again."""
    desk = desk_of(root)
    line_at(root, at)["open"] = 0
    desk["ledger_open"] -= 1
    while desk["ledger_high"] > 0 and line_at(root, desk["ledger_high"] - 1)["open"] == 0:
        desk["ledger_high"] -= 1
