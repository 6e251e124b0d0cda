"""An intent of one owner through the gate in one call: check, count, record, send.

The same steps as risk/gate.py and engine/fills.py take in Python for orders of several owners; a
test replays with either and wants one digest. Only an order that passed gets a place in the ledger
here, and only a place in the ledger can go to the paper venue.
"""

import numpy as np
from numba import njit

from engine.audit_layout import NO_INDEX, Record, Verdict
from engine.events import Block, HoldReason, OrderState, OrderType, Purpose
from engine.kernel.books import need, promise, relock
from engine.kernel.exact import NO_FIT, notional
from engine.kernel.places import (
    append_audit,
    audit_at,
    book_at,
    desk_of,
    grid_at,
    line_at,
    markets_of,
    matching_at,
    wallet_at,
)
from engine.kernel.placing import free_line, place_order
from engine.kernel.sessions import exits_wait, shut_after
from engine.limits import MAX_ORDERS, MAX_TRIGGERS
from risk.exposure_kernel import gate_of, record_exposure, used_by
from risk.gate_kernel import judge_order
from risk.gate_layout import LARGEST

INTENT, VERDICT, ORDER_RECORD = int(Record.INTENT), int(Record.VERDICT), int(Record.ORDER)
APPROVED, REDUCED, BLOCKED = int(Verdict.APPROVED), int(Verdict.REDUCED), int(Verdict.BLOCKED)
SENT = int(OrderState.SENT)
MARKET, POST_ONLY = int(OrderType.MARKET), int(OrderType.POST_ONLY)
ENTRY = int(Purpose.ENTRY)
LOT, TICK, NUMBER = int(Block.LOT_SIZE), int(Block.TICK_SIZE), int(Block.NUMBER)
CROSSED, OPPOSITE = int(Block.MARKET_CROSSED), int(Block.OPPOSITE_INTENT)
NO_REASON, UNKNOWN_HOURS = int(HoldReason.NONE), int(HoldReason.SESSION_UNKNOWN)
SESSION_CLOSED, SESSION_UNKNOWN = int(Block.SESSION_CLOSED), int(Block.SESSION_UNKNOWN)
BALANCE, STATUS, OPEN_ORDERS = int(Block.BALANCE), int(Block.MODEL_STATUS), int(Block.OPEN_ORDERS)
SIZE_LIMITS = int(
    Block.ORDER_NOTIONAL | Block.POSITION | Block.MODEL_EXPOSURE | Block.GROSS_EXPOSURE
)


@njit
def header_model(owner):  # type: ignore[no-untyped-def]
    """Return what an audit record names as the model of an owner."""
    return owner if owner >= 0 else NO_INDEX


@njit
def push_order(root, order, reason, queue_lot):  # type: ignore[no-untyped-def]
    """Record an order's new state."""
    head = (
        ORDER_RECORD,
        order["order_id"],
        order["state"],
        0,
        order["instrument"],
        header_model(order["owner"]),
    )
    slots = (
        order["intent_id"],
        order["side"],
        order["qty_lot"],
        order["price_tick"],
        order["filled_lot"],
        reason,
        queue_lot,
    )
    append_audit(root, head, slots)


@njit
def push_intent(root, intent_id, want):  # type: ignore[no-untyped-def]
    """Record what a strategy wants."""
    head = (INTENT, intent_id, want["purpose"], 0, want["instrument"], header_model(want["model"]))
    slots = (
        want["signal_id"],
        want["side"],
        want["qty_lot"],
        want["limit_tick"],
        want["order_type"],
        want["stop_tick"],
        want["profit_tick"],
    )
    append_audit(root, head, slots)


@njit
def push_verdict(root, intent_id, want, answer):  # type: ignore[no-untyped-def]
    """Record the gate's answer (code, blocks, notional, used, limit, order id, mid)."""
    code, blocks, amount, used, limit, order_id, mid = answer
    head = (VERDICT, intent_id, code, 0, want["instrument"], header_model(want["model"]))
    qty = want["qty_lot"] if code != BLOCKED else 0
    append_audit(root, head, (blocks, qty, amount, used, limit, order_id, 0))
    audit_at(root, root["audit_count"] - 1)["f6"] = mid


@njit
def worst_price(root, want, mid):  # type: ignore[no-untyped-def]
    """Return the price the exposure is reserved at: the worst one the order may fill at."""
    if want["side"] > 0 and want["order_type"] != MARKET:
        return want["limit_tick"]
    return np.int64(mid + mid * gate_of(root)["max_price_deviation"]) + 1


@njit
def shape_blocks(root, want, worst):  # type: ignore[no-untyped-def]
    """Check what must be whole and positive before anything can be computed."""
    qty, kind = want["qty_lot"], want["order_type"]
    if qty <= 0:
        return LOT
    side = want["side"]
    if qty > LARGEST or (side != 1 and side != -1) or not MARKET <= kind <= POST_ONLY:
        return NUMBER
    if kind != MARKET and not 0 < want["limit_tick"] < LARGEST:
        return TICK
    if worst <= 0:
        return NUMBER
    one = notional(grid_at(root, want["instrument"]), worst, 1)
    return NUMBER if one == NO_FIT or one > LARGEST else 0


@njit
def lots_that_open(root, want):  # type: ignore[no-untyped-def]
    """Return (lots that open exposure, Block bit or 0); see Gate._split_lots."""
    book = book_at(root, want["model"], want["instrument"])
    side, qty = want["side"], want["qty_lot"]
    held = -side * book["position_lot"]
    if held <= 0:
        return qty, 0
    ahead = book["opening_buy_lot"] if side > 0 else book["opening_sell_lot"]
    opens = max(0, qty - max(0, held - book["closing_lot"] - ahead))
    return opens, OPPOSITE if opens > 0 and book["closing_lot"] > 0 else 0


@njit
def balance_blocks(root, want, closing, worst):  # type: ignore[no-untyped-def]
    """Check that the account holds what the order may need."""
    side, qty = want["side"], want["qty_lot"]
    grid = grid_at(root, want["instrument"])
    base = wallet_at(root, grid["base"])
    lots = np.float64(qty) * np.float64(grid["lot_minor"])
    if lots + abs(np.float64(base["total"])) > LARGEST:
        return NUMBER
    if side < 0 and closing < qty:
        return 0
    wallet = wallet_at(root, grid["quote"] if side > 0 else grid["base"])
    wanted = need(root, want["instrument"], side, (qty, worst))
    short = wanted > wallet["total"] - wallet["locked"]
    return BALANCE if short and not (side > 0 and closing > 0) else 0


@njit
def session_blocks(root, want):  # type: ignore[no-untyped-def]
    """Check the regular hours: nothing opens that would be outside of them when it arrives.

    Where exits wait, nothing else goes either: a stop that is blocked is watched again. Beyond the
    table exits go.
    """
    opens = want["opening"] != 0
    if not opens and not exits_wait(root, want["instrument"]):
        return 0
    shut = shut_after(root, want["instrument"], max(0, desk_of(root)["paper_latency_ns"]))
    if shut == UNKNOWN_HOURS:
        return SESSION_UNKNOWN if opens else 0
    return 0 if shut == NO_REASON else SESSION_CLOSED


@njit
def judge_size(root, want):  # type: ignore[no-untyped-def]
    """Check one size; return (blocks, opening lots, worst price, answer for the audit)."""
    at, model, qty = want["instrument"], want["model"], want["qty_lot"]
    grid = grid_at(root, at)
    mid = markets_of(root)[at]["mid"] / grid["tick"]
    if not 0.0 < mid < 1e15:
        return CROSSED, 0, 0, (0, 0, 0, 0.0)
    worst = worst_price(root, want, mid)
    bad = shape_blocks(root, want, worst)
    if bad != 0:
        return bad, 0, 0, (0, 0, 0, 0.0)
    opens, bad = lots_that_open(root, want)
    closing = qty - opens
    if model >= 0 and desk_of(root)["may_trade"][model] == 0 and want["purpose"] == ENTRY:
        bad |= STATUS
    amount, opening, reference = notional(grid, worst, qty), 0, 0
    if amount == NO_FIT or amount > LARGEST:
        bad |= NUMBER
        amount = opening = reference = LARGEST
    else:
        opening = notional(grid, worst, opens) if opens > 0 else 0
        reference = notional(grid, np.int64(mid), qty)
        bad |= balance_blocks(root, want, closing, worst)
    want["notional"] = amount
    want["opening"] = opening
    want["reference_notional"] = reference
    want["reduce_only"] = 1 if want["purpose"] != ENTRY else 0
    want["shorts"] = 1 if want["side"] < 0 and closing < qty else 0
    want["off_grid"] = bad | session_blocks(root, want)
    used = limit = 0
    if model >= 0:
        used = used_by(gate_of(root), model)
        limit = gate_of(root)["limit"][model]
    blocks = judge_order(gate_of(root), markets_of(root), matching_at(root, at), want, root["now"])
    return blocks, opens, worst, (amount, used, limit, mid)


@njit
def fitting_lots(root, want, worst):  # type: ignore[no-untyped-def]
    """Return the most lots that the size limits leave room for."""
    grid, room = grid_at(root, want["instrument"]), gate_of(root)["room"]
    if worst <= 0:
        return 0
    value = np.float64(room) * np.float64(grid["den"])
    lots = np.int64(min(value / (np.float64(worst) * np.float64(grid["num"])), 9.0e18))
    lots += 2 + lots // 10**14  # the quotient was rounded
    lots = min(lots, want["qty_lot"])
    while lots > 0 and notional(grid, worst, lots) > room:
        lots -= 1
    return lots


@njit
def sided(root, want):  # type: ignore[no-untyped-def]
    """Return True when this wake went the other way in the instrument already."""
    x = matching_at(root, want["instrument"])
    if x["sided_now"] != root["now"] or x["sided_row"] != root["row"]:
        x["sided_now"] = root["now"]
        x["sided_row"] = root["row"]
        x["sided"] = want["side"]
    return x["sided"] != want["side"]


@njit
def is_full(root, want):  # type: ignore[no-untyped-def]
    """Tell whether no place is left for the order, or for the stop it would bring."""
    desk = desk_of(root)
    if gate_of(root)["open_orders"] >= MAX_ORDERS:
        return True
    if want["stop_tick"] == 0 and want["profit_tick"] == 0:
        return False
    return desk["legs_standing"] + desk["legs_promised"] + 1 > MAX_TRIGGERS


@njit
def send_order(root, want):  # type: ignore[no-untyped-def]
    """Take one intent (a REQUEST) to its end; return its place in the ledger, or -1."""
    desk = desk_of(root)
    intent_id = desk["intents"]
    desk["intents"] += 1
    push_intent(root, intent_id, want)
    early = OPPOSITE if sided(root, want) else OPEN_ORDERS if is_full(root, want) else 0
    if early != 0:
        return refuse(root, intent_id, want, early, (0, 0, 0, 0.0))
    blocks, opens, worst, told = judge_size(root, want)
    code, reasons = APPROVED, 0
    if blocks != 0 and gate_of(root)["reduce_to_fit"] == 1 and blocks & ~SIZE_LIMITS == 0:
        asked = want["qty_lot"]
        fitting = fitting_lots(root, want, worst) if want["purpose"] == ENTRY else 0
        if 0 < fitting < asked:
            want["qty_lot"] = fitting
            again, fewer, edge, smaller = judge_size(root, want)
            if again == 0:
                code, reasons, blocks, opens, worst, told = REDUCED, blocks, 0, fewer, edge, smaller
            else:
                want["qty_lot"] = asked
    if blocks != 0:
        return refuse(root, intent_id, want, blocks, told)
    at = free_line(root)
    order_id = desk["next_order"]
    desk["next_order"] += 1
    amount, used, limit, mid = told
    push_verdict(root, intent_id, want, (code, reasons, amount, used, limit, order_id, mid))
    desk["approved"] += 1
    desk["orders"] += 1
    if code == REDUCED:
        desk["reduced"] += 1
    enter(root, at, (order_id, intent_id), want, (opens, worst, mid))
    order = line_at(root, at)
    push_order(root, order, 0, 0)
    record_exposure(root, order["owner"], (ORDER_RECORD, order_id, order["instrument"]))
    if desk["paper_latency_ns"] >= 0:
        place_order(
            root,
            (order_id, order["instrument"], order["side"], order["order_type"], order["qty_lot"]),
            (order["price_tick"], order["collar_low"], order["collar_high"], at),
            root["now"] + desk["paper_latency_ns"],
        )
    return at


@njit
def refuse(root, intent_id, want, blocks, told):  # type: ignore[no-untyped-def]
    """Record and count a blocked intent."""
    amount, used, limit, mid = told
    push_verdict(root, intent_id, want, (BLOCKED, blocks, amount, used, limit, -1, mid))
    for bit in range(len(desk_of(root)["blocked"])):
        if (blocks >> bit) & 1 == 1:
            desk_of(root)["blocked"][bit] += 1
    return -1


@njit
def enter(root, at, ids, want, sizes):  # type: ignore[no-untyped-def]
    """Write an approved order into the ledger: sizes and worst price are frozen here."""
    opens, worst, mid = sizes
    order = line_at(root, at)
    order["open"] = 1
    order["order_id"], order["intent_id"] = ids
    order["state"] = SENT
    order["instrument"] = want["instrument"]
    order["owner"] = want["model"]
    order["strategy"] = want["strategy"]
    order["side"] = want["side"]
    order["order_type"] = want["order_type"]
    order["qty_lot"] = want["qty_lot"]
    order["filled_lot"] = 0
    order["price_tick"] = want["limit_tick"]
    order["purpose"] = want["purpose"]
    order["signal_id"] = want["signal_id"]
    order["opening_lot"] = opens
    order["closing_lot"] = want["qty_lot"] - opens
    order["worst_tick"] = worst
    order["locked"] = 0
    order["rests"] = 0
    order["stop_tick"] = want["stop_tick"]
    order["profit_tick"] = want["profit_tick"]
    width = mid * gate_of(root)["max_price_deviation"]
    order["collar_low"] = max(1, np.int64(mid - width))
    order["collar_high"] = np.int64(mid + width) + 1
    if order["stop_tick"] != 0 or order["profit_tick"] != 0:
        desk_of(root)["legs_promised"] += 1
    relock(root, order, order["qty_lot"])
    promise(root, order, order["closing_lot"], opens)
