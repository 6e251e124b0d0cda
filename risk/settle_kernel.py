"""What the paper venue answers to orders of one owner: states, books, gate and audit in one call.

The same steps as engine/fills.py takes in Python; where protective legs hang on an order, or
somebody listens to fills, the kernel stops after the step so that Python can do the rest.
"""

import numpy as np
from numba import njit

from engine.audit_layout import Record
from engine.events import OrderState
from engine.kernel.books import apply_fill, promise, relock, reserve_of
from engine.kernel.layout import Out
from engine.kernel.places import answer_at, append_audit, book_at, desk_of, line_at, market_at
from engine.kernel.placing import close_line
from risk.exposure_kernel import book_fill, end_order, gate_of, record_exposure, to_resting
from risk.order_kernel import header_model, push_order

FILL_RECORD, ORDER_RECORD = int(Record.FILL), int(Record.ORDER)
ACK, FILL, REJECT, CANCELED = int(Out.ACK), int(Out.FILL), int(Out.REJECT), int(Out.CANCELED)
S_ACKED, S_PARTIAL, S_FILLED = (
    int(OrderState.ACKED),
    int(OrderState.PARTIAL),
    int(OrderState.FILLED),
)
S_CANCELED, S_REJECTED = int(OrderState.CANCELED), int(OrderState.REJECTED)
S_PENDING_CANCEL = int(OrderState.PENDING_CANCEL)
LARGEST_QUEUE = 1e18
SETTLED, CARE = 1, 2  # `done` of an answer, 0 before: whole, or Python has a part in it


@njit
def settle_out(root):  # type: ignore[no-untyped-def]
    """Work through the venue's answers; return 1 when Python must go on with one of them."""
    if root["desk"] == 0:  # a kernel without an account: whoever drives it reads the answers
        return 1
    at = root["out_done"]
    while at < root["out_count"]:
        event = answer_at(root, at)
        if desk_of(root)["fast"] == 0 or event["kind"] > CANCELED or event["ledger"] < 0:
            root["out_done"] = at
            return 1
        settle_answer(root, event)
        if event["done"] == CARE:
            root["out_done"] = at
            return 1
        at += 1
    root["out_done"] = 0
    root["out_count"] = 0
    return 0


@njit
def settle_answer(root, event):  # type: ignore[no-untyped-def]
    """Carry out one answer about an order of the ledger; `done` tells what is left to do."""
    event["done"] = SETTLED
    order = line_at(root, event["ledger"])
    kind = event["kind"]
    if kind == FILL:
        settle_fill(root, event, order)
    elif kind == ACK:
        if order["state"] != S_PENDING_CANCEL:
            order["state"] = S_PARTIAL if order["filled_lot"] > 0 else S_ACKED
        order["rests"] = 1
        to_resting(gate_of(root), order["owner"], reserve_of(root, order, order["opening_lot"]))
        lots = event["queue"] / market_at(root, order["instrument"])["lot"]
        push_order(root, order, 0, np.int64(lots + 0.5) if lots < LARGEST_QUEUE else -1)
        expose(root, order, ORDER_RECORD)
    else:
        order["state"] = S_REJECTED if kind == REJECT else S_CANCELED
        if kind == REJECT:
            desk_of(root)["rejects"] += 1
        push_order(root, order, event["reason"], 0)
        finish(root, event["ledger"], order)
        expose(root, order, ORDER_RECORD)


@njit
def expose(root, order, cause):  # type: ignore[no-untyped-def]
    """Record the exposure of an order's owner."""
    record_exposure(root, order["owner"], (cause, order["order_id"], order["instrument"]))


@njit
def settle_fill(root, event, order):  # type: ignore[no-untyped-def]
    """Book an execution."""
    qty, instrument = event["qty"], order["instrument"]
    fill_id = desk_of(root)["fills"]
    desk_of(root)["fills"] += 1
    fill = (qty, event["price_tick"], event["liquidity"])
    opened, closed, gain, paid = apply_fill(root, order, fill)
    order["filled_lot"] += qty
    done = order["filled_lot"] == order["qty_lot"]
    order["state"] = S_FILLED if done else S_PARTIAL
    closing = min(qty, order["closing_lot"])
    opening = qty - closing
    left = reserve_of(root, order, order["opening_lot"] - opening)
    released = reserve_of(root, order, order["opening_lot"]) - left
    promise(root, order, -closing, -opening)
    order["closing_lot"] -= closing
    order["opening_lot"] -= opening
    owner = (instrument, order["owner"], order["rests"])
    book_fill(gate_of(root), owner, (order["side"] * qty, opened, closed, gain - paid, released))
    relock(root, order, order["qty_lot"] - order["filled_lot"])
    head = (
        FILL_RECORD,
        fill_id,
        event["liquidity"],
        0,
        instrument,
        header_model(order["owner"]),
    )
    told = (order["order_id"], order["side"], qty, event["price_tick"], paid, gain)
    append_audit(root, head, (*told, order["purpose"]))
    push_order(root, order, 0, 0)
    if done:
        finish(root, event["ledger"], order)
    expose(root, order, FILL_RECORD)
    event["fill_id"] = fill_id
    event["opened"] = opened
    event["closed"] = closed
    if needs_care(root, order, opened, closed):
        event["done"] = CARE


@njit
def needs_care(root, order, opened, closed):  # type: ignore[no-untyped-def]
    """Tell whether Python has something to do after a fill: legs to lay or trim, ears to tell."""
    if desk_of(root)["tell"] == 1:
        return True
    if opened > 0 and (order["stop_tick"] != 0 or order["profit_tick"] != 0):
        return True
    book = book_at(root, order["owner"], order["instrument"])
    return closed > 0 and book["legs"] > 0


@njit
def finish(root, at, order):  # type: ignore[no-untyped-def]
    """Free what an order that is over had reserved, locked and promised."""
    amount = reserve_of(root, order, order["opening_lot"])
    promise(root, order, -order["closing_lot"], -order["opening_lot"])
    owner = (order["instrument"], order["owner"], order["rests"], 1)
    end_order(gate_of(root), owner, amount)
    order["opening_lot"] = 0
    order["closing_lot"] = 0
    relock(root, order, 0)
    if order["stop_tick"] != 0 or order["profit_tick"] != 0:
        desk_of(root)["legs_promised"] -= 1
    close_line(root, at)


@njit
def end_by_request(root, at, kind_reason):  # type: ignore[no-untyped-def]
    """End an order of the ledger as cancelled or rejected, outside the venue's answers."""
    kind, reason = kind_reason
    order = line_at(root, at)
    order["state"] = S_REJECTED if kind == REJECT else S_CANCELED
    push_order(root, order, reason, 0)
    finish(root, at, order)
    expose(root, order, ORDER_RECORD)


@njit
def ask_cancel(root, at):  # type: ignore[no-untyped-def]
    """Note that an order's removal was asked for."""
    order = line_at(root, at)
    order["state"] = S_PENDING_CANCEL
    push_order(root, order, 0, 0)
