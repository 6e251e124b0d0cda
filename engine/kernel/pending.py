"""Shadows are asked together: their rows wait, and their records are filled in afterwards.

Nothing in the engine waits for what a shadow says. So its decision takes its number and its place
in the audit at once, with all that it saw, and the model's answer is put there before the buffer is
written. The records are the same, at the same places, as if each had been asked by itself.
Compiled once, apart from the loop (app/desk_module.py).
"""

from numba import njit

from engine.kernel.decide import BINARY, FLUSH, GO_ON, HOLD, judge_chances, read_output
from engine.kernel.memory import floats32
from engine.kernel.outputs import fill_output, heard, judge_output, open_output
from engine.kernel.places import audit_at, pending_at, slot_at
from engine.kernel.records import close_decision, open_decision
from engine.limits import MAX_OUTPUTS, PENDING_PLACES


@njit
def let_wait(root, at):  # type: ignore[no-untyped-def]
    """Let the row in a slot's input wait; return FLUSH when it took the last place."""
    slot, place = slot_at(root, at), root["pending_count"]
    pending = pending_at(root, place)
    pending["slot"] = at
    pending["record"] = root["audit_count"]
    open_decision(root, slot)
    if slot["output_kind"] > BINARY:
        open_output(root, at)
    width = root["pending_width"]
    x = floats32(slot["x"], slot["n_features"])
    kept = floats32(root["pending_x"] + 4 * width * place, width)
    for column in range(slot["n_features"]):
        kept[column] = x[column]
    root["pending_count"] = place + 1
    return FLUSH if place + 1 == PENDING_PLACES else GO_ON


@njit
def settle_pending(root):  # type: ignore[no-untyped-def]
    """Fill in the records of the rows that waited; their outputs stand at `pending_y`."""
    now, value, position = root["now"], root["value"], root["position"]
    sell, hold, buy = root["p_sell"], root["p_hold"], root["p_buy"]
    for place in range(root["pending_count"]):
        settle_place(root, place)
    root["now"], root["value"], root["position"] = now, value, position
    root["p_sell"], root["p_hold"], root["p_buy"] = sell, hold, buy


@njit
def settle_place(root, place):  # type: ignore[no-untyped-def]
    """Judge one answer as at the time of its row, and fill in its records."""
    pending = pending_at(root, place)
    at = pending["slot"]
    slot, record = slot_at(root, at), audit_at(root, pending["record"])
    said = floats32(root["pending_y"] + 4 * MAX_OUTPUTS * place, slot["n_outputs"])
    root["now"] = record["ts"]
    if slot["output_kind"] > BINARY:
        y = floats32(slot["y"], slot["n_outputs"])
        for column in range(slot["n_outputs"]):
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
