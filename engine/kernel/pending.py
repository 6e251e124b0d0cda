"""Shadows are asked together: their rows wait, and their records are filled in afterwards.

Nothing in the engine waits for what a shadow says. So its decision takes its number and its place
in the audit at once, with all that it saw, and the model's answer is put there before the buffer is
written. The records are the same, at the same places, as if each had been asked by itself.
Compiled once, apart from the loop (app/desk_module.py).
"""

from numba import carray, njit

from engine.kernel.chances import BINARY, HOLD, judge_chances, read_output
from engine.kernel.decide import FLUSH, GO_ON
from engine.kernel.memory import floats32, pointer
from engine.kernel.outputs import fill_output, heard, judge_output, open_output
from engine.kernel.pending_layout import WAITING
from engine.kernel.places import audit_at, pending_at, slot_at
from engine.kernel.records import close_decision, open_decision
from engine.kernel.window import window_address
from engine.limits import PENDING_PLACES, WAITING_ROWS


@njit
def waiting_of(slot):  # type: ignore[no-untyped-def]
    """Return the rows that wait for a slot's model."""
    return carray(pointer(slot["waits"]), (1,), WAITING)[0]


@njit
def let_wait(root, at):  # type: ignore[no-untyped-def]
    """Let the row in a slot's input, or its window, wait; return FLUSH when no place is left."""
    slot = slot_at(root, at)
    waiting, pending = waiting_of(slot), pending_at(root, root["pending_count"])
    count = slot["n_features"]
    pending["slot"] = at
    pending["record"] = root["audit_count"]
    pending["place"] = waiting["count"]
    open_decision(root, slot)
    if slot["output_kind"] > BINARY:
        open_output(root, at)
    where = slot["x"]
    if slot["window"] > 0:  # the ring goes on while it waits
        where, count = window_address(slot), count * slot["window"]
    x = floats32(where, count)
    kept = floats32(waiting["x"] + 4 * count * waiting["count"], count)
    for column in range(count):
        kept[column] = x[column]
    waiting["count"] += 1
    root["pending_count"] += 1
    full = waiting["count"] == WAITING_ROWS or root["pending_count"] == PENDING_PLACES
    return FLUSH if full else GO_ON


@njit
def settle_pending(root):  # type: ignore[no-untyped-def]
    """Fill in the records of the rows that waited, now that their models have answered."""
    now, value, position = root["now"], root["value"], root["position"]
    sell, hold, buy = root["p_sell"], root["p_hold"], root["p_buy"]
    for at in range(root["pending_count"]):
        settle_row(root, pending_at(root, at))
    root["pending_count"] = 0
    root["now"], root["value"], root["position"] = now, value, position
    root["p_sell"], root["p_hold"], root["p_buy"] = sell, hold, buy


@njit
def settle_row(root, pending):  # type: ignore[no-untyped-def]
    """Judge one answer as at the time of its row, and fill in its records."""
    at = pending["slot"]
    slot, record = slot_at(root, at), audit_at(root, pending["record"])
    count, waiting = slot["n_outputs"], waiting_of(slot)
    waiting["count"] = 0
    said = floats32(waiting["y"] + 4 * count * pending["place"], count)
    root["now"] = record["ts"]
    if slot["output_kind"] > BINARY:
        y = floats32(slot["y"], count)
        for column in range(count):
            y[column] = said[column]
        action, reason = judge_output(root, at)
        fill_output(root, at, pending["record"] + 1)
        pending["heard"] = 1 if heard(root, slot, action) else 0
    else:
        read_output(root, slot, said)
        action, reason = judge_chances(root, slot)
        pending["heard"] = 1 if action != HOLD else 0
    close_decision(root, slot, record, (action, reason))
    pending["value"], pending["position"] = root["value"], root["position"]
