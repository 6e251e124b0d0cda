"""Requests to models that answer later: asked at one decision, answered at a row or a time.

A session writes each answer onto its tape as a SIGNAL row. Where the tape has none, the kernel
keeps the model's time itself: one request of a model is in service at a time, the others of its
slots wait in turn, and a newer request takes the place of the waiting one of its slot.
"""

from numba import njit

from engine.events import AnswerStatus, HoldReason
from engine.kernel.asked_layout import AskedState
from engine.kernel.chances import BINARY, HOLD, NONE, judge_chances, read_output
from engine.kernel.decide import hold, obstacle, show_touch
from engine.kernel.layout import NEVER
from engine.kernel.memory import floats32
from engine.kernel.outputs import heard, judge_output, push_output
from engine.kernel.places import asked_at, audit_at, market_at, model_at, slot_at
from engine.kernel.records import push_decision
from engine.kernel.sessions import shut_out
from engine.kernel.window import window_address
from engine.limits import ASKED_PLACES

FREE, WAITING = int(AskedState.FREE), int(AskedState.WAITING)
IN_SERVICE, ANSWERED = int(AskedState.IN_SERVICE), int(AskedState.ANSWERED)
RESULT, SUPERSEDED = int(AnswerStatus.RESULT), int(AnswerStatus.SUPERSEDED)
TIMED_OUT, FAILED = int(AnswerStatus.TIMED_OUT), int(AnswerStatus.FAILED)
CLOSED = int(AnswerStatus.CLOSED)
MODEL_SUPERSEDED = int(HoldReason.MODEL_SUPERSEDED)
MODEL_TIMED_OUT = int(HoldReason.MODEL_TIMED_OUT)
MODEL_CLOSED = int(HoldReason.MODEL_CLOSED)
MODEL_FAILED, MODEL_LATE = int(HoldReason.MODEL_FAILED), int(HoldReason.MODEL_LATE)
SETTLED, KNOWN, RUN_MODEL = 0, 1, 2  # what `begin_answer` says


@njit
def place_in(root, at, state):  # type: ignore[no-untyped-def]
    """Return the slot's oldest request in a state, as a place; -1 where there is none."""
    found = -1
    for place in range(at * ASKED_PLACES, (at + 1) * ASKED_PLACES):
        asked = asked_at(root, place)
        if asked["state"] == state:
            if found < 0 or asked["request"] < asked_at(root, found)["request"]:
                found = place
    return found


@njit
def copy_row(root, at, place, into_slot):  # type: ignore[no-untyped-def]
    """Copy the feature row (or window) of a request from the slot's input, or back into it."""
    slot = slot_at(root, at)
    width, count = root["asked_width"], slot["n_features"]
    if slot["window"] > 0:
        count *= slot["window"]
    x = floats32(slot["window_x"] if slot["window"] > 0 else slot["x"], count)
    kept = floats32(root["asked_x"] + 4 * width * place, width)
    for column in range(count):
        if into_slot == 1:
            x[column] = kept[column]
        else:
            kept[column] = x[column]
    if into_slot == 1 and slot["window"] > 0:
        newest = floats32(slot["x"], slot["n_features"])
        for column in range(slot["n_features"]):
            newest[column] = x[count - slot["n_features"] + column]


@njit
def gather_window(slot):  # type: ignore[no-untyped-def]
    """Copy the slot's window to where a model on a thread reads it."""
    count = slot["window"] * slot["n_features"]
    x, rows = floats32(slot["window_x"], count), floats32(window_address(slot), count)
    for at in range(count):
        x[at] = rows[at]


@njit
def ask_model(root, at):  # type: ignore[no-untyped-def]
    """Open a request with the row in the slot's input; return its number.

    -1: the slot has no room for it, which a tape of ours cannot bring about; it is a HOLD then.
    """
    slot = slot_at(root, at)
    row_hash = slot["row_hash"]  # of the row in the input; an end writes its own
    if root["answers_on_tape"] == 0:
        waits = place_in(root, at, WAITING)
        if waits >= 0:
            end_request(root, waits, SUPERSEDED)
    place = place_in(root, at, FREE)
    if place < 0:
        hold(root, slot, MODEL_LATE)
        return -1
    m = market_at(root, slot["instrument"])
    asked = asked_at(root, place)
    asked["state"] = WAITING
    asked["request"] = root["requests"]
    asked["ts"] = root["now"]
    asked["row_hash"] = row_hash
    asked["quote_ts"] = m["quote_ts"]
    asked["bid"] = m["bid"]
    asked["ask"] = m["ask"]
    root["requests"] += 1
    slot["requests"] += 1
    if slot["window"] > 0:
        gather_window(slot)
    copy_row(root, at, place, 0)
    if root["answers_on_tape"] == 0 and model_at(root, slot["model"])["serves"] == 0:
        serve(root, place, root["now"])
    return asked["request"]


@njit
def serve(root, place, ts):  # type: ignore[no-untyped-def]
    """Let a request's model begin with it at `ts`."""
    slot = slot_at(root, place // ASKED_PLACES)
    asked = asked_at(root, place)
    asked["state"] = IN_SERVICE
    asked["due_ts"] = ts + slot["service_ns"]
    model_at(root, slot["model"])["serves"] = place + 1
    root["next_answer"] = min(root["next_answer"], asked["due_ts"])
    root["next_timer"] = min(root["next_timer"], root["next_answer"])


@njit
def serve_next(root, model, ts):  # type: ignore[no-untyped-def]
    """Let a model whose request has ended begin with the oldest one that waits for it."""
    model_at(root, model)["serves"] = 0
    chosen = -1
    for at in range(root["n_slots"]):
        if slot_at(root, at)["model"] == model:
            place = place_in(root, at, WAITING)
            if place >= 0:
                oldest = chosen < 0 or (
                    asked_at(root, place)["request"] < asked_at(root, chosen)["request"]
                )
                chosen = place if oldest else chosen
    if chosen >= 0:
        serve(root, chosen, ts)


@njit
def answers_due(root, ts):  # type: ignore[no-untyped-def]
    """Let the models answer whose time is over at `ts`, and go on with what waits."""
    while root["next_answer"] <= ts:
        due = root["next_answer"]
        root["next_answer"] = NEVER
        for at in range(root["n_slots"]):
            place = place_in(root, at, IN_SERVICE)
            if place < 0:
                continue
            slot = slot_at(root, at)
            asked = asked_at(root, place)
            if asked["due_ts"] <= due:
                end_request(root, place, slot["service_status"])
                serve_next(root, slot["model"], due)
            else:
                root["next_answer"] = min(root["next_answer"], asked["due_ts"])


@njit
def end_request(root, place, status):  # type: ignore[no-untyped-def]
    """Take the end of a request: a result waits for a wake, all else is a HOLD at once."""
    at = place // ASKED_PLACES
    slot, asked = slot_at(root, at), asked_at(root, place)
    slot["answers"][status] += 1
    if status == RESULT:
        asked["state"] = ANSWERED
        slot["answered"] += 1
        root["due_count"] += 1
        return
    reason = MODEL_CLOSED
    if status == SUPERSEDED:
        reason = MODEL_SUPERSEDED
    elif status == TIMED_OUT:
        reason = MODEL_TIMED_OUT
    elif status == FAILED:
        reason = MODEL_FAILED
    hold_asked(root, place, reason)


@njit
def close_requests(root, at):  # type: ignore[no-untyped-def]
    """End what is open of a slot, because its model goes; return how many there were."""
    count = 0
    slot = slot_at(root, at)
    for place in range(at * ASKED_PLACES, (at + 1) * ASKED_PLACES):
        state = asked_at(root, place)["state"]
        if state == FREE:
            continue
        count += 1
        if state == ANSWERED:
            slot["answered"] -= 1
            root["due_count"] -= 1
        elif state == IN_SERVICE:  # the next one waits for the new model
            model_at(root, slot["model"])["serves"] = 0
        if state != ANSWERED:
            slot["answers"][CLOSED] += 1
        hold_asked(root, place, MODEL_CLOSED)
    return count


@njit
def give_answer(root, request, ts, answer):  # type: ignore[no-untyped-def]
    """Take a SIGNAL row, answer = (status, p_sell, p_hold, p_buy).

    `ts` is when the model was asked, as the row says it.

    Returns:
        the request's place plus 1; 0 when no such request is open.
    """
    for place in range(root["n_slots"] * ASKED_PLACES):
        asked = asked_at(root, place)
        if asked["state"] == WAITING and asked["request"] == request and asked["ts"] == ts:
            asked["p_sell"] = answer[1]
            asked["p_hold"] = answer[2]
            asked["p_buy"] = answer[3]
            end_request(root, place, answer[0])
            return place + 1
    return 0


@njit
def record_asked(root, place, action, reason):  # type: ignore[no-untyped-def]
    """Record a decision on what its model was asked with, and free the place."""
    slot, asked = slot_at(root, place // ASKED_PLACES), asked_at(root, place)
    slot["row_hash"] = asked["row_hash"]
    push_decision(root, slot, action, reason)
    record = audit_at(root, root["audit_count"] - 1)
    record["f4"] = asked["bid"]
    record["f5"] = asked["ask"]
    record["i6"] = root["now"] - asked["quote_ts"]
    root["signal_ts"] = slot["said_ts"] = asked["ts"]
    asked["state"] = FREE


@njit
def hold_asked(root, place, reason):  # type: ignore[no-untyped-def]
    """Record a request that came to nothing."""
    root["p_sell"], root["p_hold"], root["p_buy"] = 0.0, 0.0, 0.0
    record_asked(root, place, HOLD, reason)


@njit
def begin_answer(root, at):  # type: ignore[no-untyped-def]
    """Take up the slot's oldest result; its feature row comes back into the slot's input.

    Returns:
        SETTLED for a HOLD that needs no probabilities, KNOWN when the tape has brought them,
        RUN_MODEL when the model must be run on the slot's input now.
    """
    slot = slot_at(root, at)
    place = place_in(root, at, ANSWERED)
    assert place >= 0, "no answer waits"
    asked = asked_at(root, place)
    slot["answered"] -= 1
    root["due_count"] -= 1
    root["instrument"] = slot["instrument"]
    root["asked_at"] = place
    copy_row(root, at, place, 1)
    reason = obstacle(root, slot)
    if reason == NONE and root["now"] - asked["ts"] > root["max_answer_age_ns"]:
        reason = MODEL_LATE
    if reason == NONE:
        reason = shut_out(root, slot)
    if reason != NONE:
        hold_asked(root, place, reason)
        return SETTLED
    return KNOWN if root["answers_on_tape"] == 1 else RUN_MODEL


@njit
def end_answer(root, at, failed):  # type: ignore[no-untyped-def]
    """Record what the answer means; return 1 when a strategy wants to hear of it."""
    slot, place = slot_at(root, at), root["asked_at"]
    asked = asked_at(root, place)
    if failed == 1:
        hold_asked(root, place, MODEL_FAILED)
        return 0
    if slot["output_kind"] > BINARY:
        action, reason = judge_output(root, at)
        record_asked(root, place, action, reason)
        push_output(root, at)
        if not heard(root, slot, action):
            return 0
        show_touch(root, slot["instrument"])
        return 1
    if root["answers_on_tape"] == 1:
        root["p_sell"], root["p_hold"] = asked["p_sell"], asked["p_hold"]
        root["p_buy"] = asked["p_buy"]
    else:
        read_output(root, slot, floats32(slot["y"], slot["n_outputs"]))
    action, reason = judge_chances(root, slot)
    record_asked(root, place, action, reason)
    if action == HOLD and slot["wants_holds"] == 0:
        return 0
    show_touch(root, slot["instrument"])
    return 1
