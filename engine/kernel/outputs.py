"""What an output means that is more than probabilities: a return, quantiles, a size, an action.

Compiled once, apart from the loop (app/desk_module.py). Each kind sets the probabilities, the value
and the position of the root record and returns an action; ml/outputs.py says the same in Python,
and a test compares both bit for bit.
"""

import math

import numpy as np
from numba import carray, njit

from engine.audit_layout import Record
from engine.kernel.chances import (
    BELOW_THRESHOLD,
    BUY,
    HOLD,
    MODEL_NAN,
    MODEL_SAYS_HOLD,
    NONE,
    SELL,
    SUM_TOLERANCE,
)
from engine.kernel.decide import show_touch
from engine.kernel.memory import floats32, pointer
from engine.kernel.output_layout import FORM, OUTPUT_COLUMNS, OutputKind
from engine.kernel.places import audit_at, next_audit, slot_at
from engine.kernel.records import push_decision
from engine.kernel.sessions import shut_for

OUTPUT, SHADOW_OUTPUT = int(Record.OUTPUT), int(Record.SHADOW_OUTPUT)
REGRESSOR, QUANTILES = int(OutputKind.REGRESSOR), int(OutputKind.QUANTILES)
SIZE, ACTION = int(OutputKind.SIZE), int(OutputKind.ACTION)
CLOSES = 7  # place of CLOSE among the eight actions
UNKNOWN = math.nan


@njit
def form_of(slot):  # type: ignore[no-untyped-def]
    """Return the FORM of a slot's model."""
    return carray(pointer(slot["form"]), (1,), FORM)[0]


@njit
def set_chances(root, sell, hold, buy):  # type: ignore[no-untyped-def]
    """Set the three probabilities."""
    root["p_sell"], root["p_hold"], root["p_buy"] = sell, hold, buy


@njit
def clamped(value, low, high):  # type: ignore[no-untyped-def]
    """Return the nearest value of the range."""
    return min(max(value, low), high)


@njit
def lean(root, strength):  # type: ignore[no-untyped-def]
    """Turn a strength of -1..1 into probabilities: its size is the confidence."""
    up, down = max(strength, 0.0), max(-strength, 0.0)
    if up == down:
        set_chances(root, 0.0, 1.0, 0.0)
        return HOLD
    set_chances(root, down, 1.0 - abs(strength), up)
    return BUY if up > 0.0 else SELL


@njit
def read_return(root, form, y):  # type: ignore[no-untyped-def]
    """Read an expected return: inside the dead band HOLD, `scale` is full confidence."""
    value = np.float64(y[0])
    root["value"] = value
    if abs(value) <= form["dead_band"]:
        return lean(root, 0.0)
    return lean(root, clamped(value / form["scale"], -1.0, 1.0))


@njit
def read_size(root, y):  # type: ignore[no-untyped-def]
    """Read a long position of 0..1: what is not held is HOLD's."""
    size = clamped(np.float64(y[0]), 0.0, 1.0)
    root["value"] = root["position"] = size
    return lean(root, size)


@njit
def read_action(root, form, y):  # type: ignore[no-untyped-def]
    """Read a continuous action of -1..1: the position that an agent wants."""
    wanted = clamped(np.float64(y[0]), -1.0, 1.0)
    root["value"] = wanted
    if abs(wanted) <= form["dead_band"]:
        root["position"] = 0.0
        return lean(root, 0.0)
    root["position"] = wanted
    return lean(root, wanted)


@njit
def share_below(points, form, limit):  # type: ignore[no-untyped-def]
    """Return the probability of less than `limit` under the quantiles."""
    count, levels = form["n_levels"], form["levels"]
    if limit <= points[0]:
        return 0.0 if limit < points[0] else levels[0]
    if limit > points[count - 1]:
        return 1.0
    for k in range(1, count):
        if limit <= points[k]:
            width = points[k] - points[k - 1]
            share = (limit - points[k - 1]) / width if width > 0.0 else 1.0
            return levels[k - 1] + share * (levels[k] - levels[k - 1])
    return 1.0


@njit
def in_order(points):  # type: ignore[no-untyped-def]
    """Put the few numbers of an array in order."""
    for k in range(1, len(points)):
        moved, at = points[k], k
        while at > 0 and points[at - 1] > moved:
            points[at] = points[at - 1]
            at -= 1
        points[at] = moved


@njit
def read_quantiles(root, form, y):  # type: ignore[no-untyped-def]
    """Read how much of the horizon that decides lies beyond the dead band."""
    count, first = form["n_levels"], form["first"]
    points = form["points"][:count]
    for k in range(count):
        points[k] = y[first + k]
    in_order(points)
    root["value"] = points[form["median"]]
    below = share_below(points, form, -form["dead_band"])
    above = 1.0 - share_below(points, form, form["dead_band"])
    hold = max(0.0, 1.0 - below - above)
    set_chances(root, below, hold, above)
    if hold >= max(below, hold, above) or below == above:
        return HOLD
    return BUY if above > below else SELL


@njit
def read_discrete(root, form, y):  # type: ignore[no-untyped-def]
    """Read eight actions by score: probabilities, or any numbers, which a softmax makes some."""
    shares = form["points"]
    total, least, top = 0.0, np.inf, -np.inf
    for k in range(8):
        shares[k] = y[form["actions"][k]]
        total += shares[k]
        least, top = min(least, shares[k]), max(top, shares[k])
    if least < 0.0 or abs(total - 1.0) > SUM_TOLERANCE:
        total = 0.0
        for k in range(8):
            shares[k] = math.exp(shares[k] - top)
            total += shares[k]
        for k in range(8):
            shares[k] /= total
    buy = shares[1] + shares[2] + shares[3]
    sell = shares[4] + shares[5] + shares[6]
    set_chances(root, sell, max(0.0, 1.0 - sell - buy), buy)
    chosen = 0
    for k in range(1, 8):
        if shares[k] > shares[chosen]:
            chosen = k
    root["value"] = shares[chosen]
    if chosen == 0 or chosen == CLOSES:
        root["position"] = 0.0 if chosen == CLOSES else UNKNOWN
        return HOLD
    size = form["sizes"][(chosen - 1) % 3]
    root["position"] = size if chosen <= 3 else -size
    return BUY if chosen <= 3 else SELL


@njit
def judge_output(root, at):  # type: ignore[no-untyped-def]
    """Turn the output of a slot's model into an action and a reason; see ml/outputs.py."""
    slot = slot_at(root, at)
    form, y = form_of(slot), floats32(slot["y"], slot["n_outputs"])
    root["value"] = root["position"] = UNKNOWN
    for k in range(len(y)):
        if not math.isfinite(y[k]):
            set_chances(root, 0.0, 0.0, 0.0)
            return HOLD, MODEL_NAN
    kind = slot["output_kind"]
    if kind == REGRESSOR:
        action = read_return(root, form, y)
    elif kind == QUANTILES:
        action = read_quantiles(root, form, y)
    elif kind == SIZE:
        action = read_size(root, y)
    elif kind == ACTION:
        action = read_action(root, form, y)
    else:
        action = read_discrete(root, form, y)
    if action == HOLD:
        return HOLD, MODEL_SAYS_HOLD
    confidence = root["p_buy"] if action == BUY else root["p_sell"]
    if confidence < slot["threshold"]:
        return HOLD, BELOW_THRESHOLD
    shut = shut_for(root, slot, action)
    return (action, NONE) if shut == NONE else (HOLD, shut)


@njit
def push_output(root, at):  # type: ignore[no-untyped-def]
    """Record what the model said behind the decision that was made of it."""
    open_output(root, at)
    fill_output(root, at, root["audit_count"] - record_count(slot_at(root, at)))


@njit
def record_count(slot):  # type: ignore[no-untyped-def]
    """Return how many records the output of a slot's model takes."""
    return (slot["n_outputs"] + OUTPUT_COLUMNS - 1) // OUTPUT_COLUMNS


@njit
def open_output(root, at):  # type: ignore[no-untyped-def]
    """Take the records of an output, behind that of its decision."""
    slot = slot_at(root, at)
    for k in range(record_count(slot)):
        record = next_audit(root)
        record["id"] = root["signal_id"]
        record["kind"] = SHADOW_OUTPUT if slot["shadow"] == 1 else OUTPUT
        record["code"] = slot["output_kind"]
        record["aux"] = k * OUTPUT_COLUMNS
        record["instrument"] = slot["instrument"]
        record["model"] = slot["model"]


@njit
def fill_output(root, at, place):  # type: ignore[no-untyped-def]
    """Put what stands in the slot's output into its records, from a place of the buffer on."""
    slot = slot_at(root, at)
    y = floats32(slot["y"], slot["n_outputs"])
    for k in range(record_count(slot)):
        record, first = audit_at(root, place + k), k * OUTPUT_COLUMNS
        record["f0"], record["f1"] = root["value"], root["position"]
        record["f2"] = column_of(y, first)
        record["f3"] = column_of(y, first + 1)
        record["f4"] = column_of(y, first + 2)
        record["f5"] = column_of(y, first + 3)
        record["f6"] = column_of(y, first + 4)


@njit
def column_of(y, at):  # type: ignore[no-untyped-def]
    """Return a column; the one NaN of the audit where there is no number."""
    if at >= len(y) or math.isnan(y[at]):
        return UNKNOWN
    return np.float64(y[at])


@njit
def heard(root, slot, action):  # type: ignore[no-untyped-def]
    """Say whether a strategy wants to hear of it: advice, or the wish to hold nothing."""
    return action != HOLD or slot["wants_holds"] != 0 or root["position"] == 0.0


@njit
def settle_output(root, at):  # type: ignore[no-untyped-def]
    """Record what a model's output means; return 1 when a strategy wants to hear of it."""
    slot = slot_at(root, at)
    action, reason = judge_output(root, at)
    push_decision(root, slot, action, reason)
    push_output(root, at)
    if not heard(root, slot, action):
        return 0
    show_touch(root, slot["instrument"])
    return 1
