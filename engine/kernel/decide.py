"""Decisions: when one is due, what stands in its way, and how a model's answer is settled."""

import numpy as np
from numba import njit

from engine.events import HoldReason
from engine.kernel.book import gather_levels
from engine.kernel.chances import BINARY, HOLD, MODEL_NAN, NONE, judge_chances, read_output
from engine.kernel.layout import Cadence, Collected, Reason
from engine.kernel.memory import floats32, words32, words64
from engine.kernel.native import call_part, call_run
from engine.kernel.output_layout import OutputKind
from engine.kernel.places import (
    audit_at,
    batch_at,
    collected_at,
    market_at,
    matching_at,
    model_at,
    slot_at,
)
from engine.kernel.records import push_decision
from engine.kernel.sessions import shut_out
from engine.kernel.touch import touch_ticks
from engine.kernel.window import keeps_window, missing_rows, take_window_row

NOT_WARM = int(HoldReason.NOT_WARM)
FEATURE_ABSENT = int(HoldReason.FEATURE_ABSENT)
FEATURE_NAN = int(HoldReason.FEATURE_NAN)
STALE_DATA, MARKET_CROSSED = int(HoldReason.STALE_DATA), int(HoldReason.MARKET_CROSSED)
GAP = int(HoldReason.GAP)
WINDOW_SHORT = int(HoldReason.WINDOW_SHORT)
HALTED, VENUE_HALTED = int(HoldReason.HALTED), int(HoldReason.VENUE_HALTED)
BY_N = int(Cadence.EVERY_N)
FUSED = int(OutputKind.FUSED)
INFER, SIGNAL = int(Reason.INFER), int(Reason.SIGNAL)
ASK_BATCH, FLUSH = int(Reason.BATCH), int(Reason.FLUSH)
ASK, ANSWER = int(Reason.ASK), int(Reason.ANSWER)
GO_ON = 0
PAST = int(HoldReason.GAP)  # any reason will do: a row of the past decides nothing
MOST_SAID = 255  # missing rows that a record can say
READ, EVERY = int(Collected.READ), int(Collected.EVERY)
HASH_START = 0x2545F491
HASH_STEP = 0x9E3779B97F4A7C15
SAMPLED, FIRST = 255, 64  # the first 64 decisions, then one in 256, are left to Python


@njit(forceinline=True)
def mark_due(root, instrument, cadence):  # type: ignore[no-untyped-def]
    """Mark the slots of an instrument that decide on this kind of event."""
    x = matching_at(root, instrument)
    for at in range(x["slot_from"], x["slot_to"]):
        slot = slot_at(root, at)
        if slot["cadence"] == cadence and slot["due"] == 0:
            slot["due"] = 1
            root["due_count"] += 1


@njit(forceinline=True)
def counted(root, slot, at):  # type: ignore[no-untyped-def]
    """Count a market event for a slot that decides every n of them; True when it is the n-th.

    Counted per model; a strategy without one counts for itself: its index is beyond the table.
    """
    model = model_at(root, slot["model"] if slot["model"] < root["n_models"] else at)
    model["every_n_count"] += 1
    if model["every_n_count"] < slot["cadence_n"]:
        return False
    model["every_n_count"] = 0
    return True


@njit(forceinline=True)
def hash_row(address, count):  # type: ignore[no-untyped-def]
    """Hash the bits of a float32 row to 63 bits, two values a step, the last of an odd row alone.

    h = HASH_START; each word w: h = (h ^ w) * HASH_STEP mod 2**64, h ^= h >> 32; at last h >> 1.
    """
    h = np.uint64(HASH_START)
    pairs = words64(address, count // 2)
    for at in range(count // 2):
        h = (h ^ pairs[at]) * np.uint64(HASH_STEP)
        h ^= h >> np.uint64(32)
    if count % 2 == 1:
        h = (h ^ np.uint64(words32(address, count)[count - 1])) * np.uint64(HASH_STEP)
        h ^= h >> np.uint64(32)
    return np.int64(h >> np.uint64(1))


@njit(forceinline=True)
def obstacle(root, slot):  # type: ignore[no-untyped-def]
    """Return the HoldReason that stands before any model is asked, NONE when there is none."""
    m = market_at(root, slot["instrument"])
    if root["halted"] == 1:
        return HALTED
    if slot["status"] != NONE:
        return slot["status"]
    if slot["absent"] == 1:
        return FEATURE_ABSENT
    if matching_at(root, slot["instrument"])["halted"] == 1:
        return VENUE_HALTED
    if m["stale"] == 1:
        return GAP
    if m["quote_count"] == 0:
        return NOT_WARM
    if matching_at(root, slot["instrument"])["trusted"] == 0:
        return MARKET_CROSSED
    if root["now"] - m["quote_ts"] > root["max_data_age_ns"]:
        return STALE_DATA
    return NONE


@njit(forceinline=True)
def read_row(root, fused, slot):  # type: ignore[no-untyped-def]
    """Write the slot's feature row to its model's input; return a HoldReason if it is not whole."""
    instrument = slot["instrument"]
    m = market_at(root, instrument)
    m["now"] = root["now"] if root["past_ts"] == 0 else root["past_ts"]
    if root["needs_levels"] != 0:
        gather_levels(matching_at(root, instrument), m)
    if slot["own"] != 0:
        call_part(root["rare_own"], root["state"], root["due_slot"])
        m["own"] = slot["own"]
    x = floats32(slot["x"], slot["n_features"])
    whole = fused.read(slot["spec"], fused.features_at(root, instrument), m, x)
    if root["ahead"] == 0 or root["ahead_all"] == EVERY:  # rows for training need none
        slot["row_hash"] = hash_row(slot["x"], slot["n_features"])
    if slot["window"] > 0:
        take_window_row(slot, m, whole)
    if whole == 1:
        slot["was_valid"] = 1
        return NONE if missing_rows(slot) <= 0 else WINDOW_SHORT
    return FEATURE_NAN if slot["was_valid"] == 1 else NOT_WARM


@njit(forceinline=True)
def read_fused(root, slot, y):  # type: ignore[no-untyped-def]
    """Read what was made of other models' signals; its input row is hashed as it was read."""
    slot["row_hash"] = hash_row(slot["x"], slot["n_features"])
    root["p_sell"], root["p_hold"], root["p_buy"] = 0.0, 0.0, 0.0
    root["value"] = root["position"] = np.nan
    if not y[0] + y[1] + y[2] + y[3] + y[4] >= 0.0:
        return HOLD, MODEL_NAN
    root["p_sell"], root["p_hold"] = np.float64(y[0]), np.float64(y[1])
    root["p_buy"] = np.float64(y[2])
    return np.int64(y[3]), np.int64(y[4])


@njit(forceinline=True)
def settle(root, slot, y):  # type: ignore[no-untyped-def]
    """Record what a model's output means; return 1 when a strategy wants to hear of it."""
    if slot["output_kind"] > BINARY:
        if slot["output_kind"] != FUSED:
            return call_part(root["rare_output"], root["state"], root["slot"])
        action, reason = read_fused(root, slot, y)
    else:
        read_output(root, slot, y)
        action, reason = judge_chances(root, slot)
    push_decision(root, slot, action, reason)
    if action == HOLD and slot["wants_holds"] == 0:
        return 0
    show_touch(root, slot["instrument"])
    return 1


@njit(forceinline=True)
def show_touch(root, instrument):  # type: ignore[no-untyped-def]
    """Put the touch in ticks where Python reads it."""
    x = matching_at(root, instrument)
    touch_ticks(market_at(root, instrument), x)
    root["touch_bid_tick"] = x["bid_tick"]
    root["touch_ask_tick"] = x["ask_tick"]


@njit(forceinline=True)
def hold(root, slot, reason):  # type: ignore[no-untyped-def]
    """Record a decision that no model was asked for; return 1 when somebody wants to hear of it."""
    root["p_sell"], root["p_hold"], root["p_buy"] = 0.0, 0.0, 0.0
    push_decision(root, slot, HOLD, reason)
    if reason == WINDOW_SHORT:
        record = audit_at(root, root["audit_count"] - 1)
        record["aux"] = reason | min(missing_rows(slot), MOST_SAID) << 8
    if slot["wants_holds"] < 2:
        return 0
    root["value"] = root["position"] = np.nan
    show_touch(root, slot["instrument"])
    return 1


@njit(forceinline=True)
def name_unknown(root, slot):  # type: ignore[no-untyped-def]
    """Put the first column that is not finite, from 1 and at most 255, into the HOLD's record."""
    x = floats32(slot["x"], slot["n_features"])
    at = 0
    while at < min(slot["n_features"], 254) and abs(x[at]) < np.inf:
        at += 1
    audit_at(root, root["audit_count"] - 1)["aux"] |= (at + 1) << 8


@njit(forceinline=True)
def collect(root, slot, reason):  # type: ignore[no-untyped-def]
    """Keep the feature row of a decision for training or for a batch ahead."""
    m = market_at(root, slot["instrument"])
    row = collected_at(root, root["collect_count"])
    root["collect_count"] += 1
    row["ts"] = root["now"]
    row["row"] = root["row"]
    row["slot"] = root["due_slot"]
    row["instrument"] = slot["instrument"]
    row["valid"] = 1 if reason == NONE else 0
    row["reason"] = reason
    row["row_hash"] = slot["row_hash"]  # 0 unless another state follows
    row["bid"] = m["bid"]
    row["ask"] = m["ask"]
    row["bar_open"] = m["bar_open"]
    row["bar_high"] = m["bar_high"]
    row["bar_low"] = m["bar_low"]
    row["bar_close"] = m["bar_close"]
    row["bar_volume"] = m["bar_volume"]
    width = root["collect_width"]
    x = floats32(slot["x"], slot["n_features"])
    kept = floats32(root["collect_x"] + 4 * width * (root["collect_count"] - 1), width)
    for at in range(slot["n_features"]):
        kept[at] = x[at]


@njit
def take_output(slot, ready):  # type: ignore[no-untyped-def]
    """Copy an output that was evaluated ahead to where the model itself would have left it."""
    y = floats32(slot["y"], slot["n_outputs"])
    for column in range(slot["n_outputs"]):
        y[column] = ready["y"][column]


@njit(forceinline=True)
def take_evaluated(root, slot, reason):  # type: ignore[no-untyped-def]
    """Settle a decision whose features and output a state that ran ahead has left in the ring.

    Both states see the same rows, so that every decision has its place there, in order; what stands
    in its way here (the kill switch) is judged here.
    """
    at = slot["batch_from"]
    if at == slot["batch_to"]:
        return ASK_BATCH
    ready = batch_at(root, slot["batch_at"] + at)
    assert ready["row"] == root["row"], "the state that ran ahead has decided elsewhere"
    slot["batch_from"] = at + 1
    if reason == NONE:
        slot["row_hash"] = ready["row_hash"]
        reason = ready["reason"]
    if reason == NONE:
        reason = shut_out(root, slot)
    if reason != NONE:
        return SIGNAL if hold(root, slot, reason) == 1 else GO_ON
    if slot["threaded"] == 0:
        if slot["output_kind"] > BINARY:
            take_output(slot, ready)
        if settle(root, slot, ready["y"]) == 0:
            return GO_ON
    x = floats32(slot["x"], slot["n_features"])
    seen = floats32(ready["x"], slot["n_features"])
    for column in range(slot["n_features"]):
        x[column] = seen[column]
    return ASK if slot["threaded"] == 1 else SIGNAL


@njit(forceinline=True)
def evaluate(root, fused, slot):  # type: ignore[no-untyped-def]
    """Go one step with a due slot: hold, take what was evaluated ahead, or ask for its model."""
    root["instrument"] = slot["instrument"]
    past = root["past_ts"] != 0
    reason = PAST if past else obstacle(root, slot)
    if slot["output_kind"] == FUSED:
        if reason != NONE:
            return SIGNAL if hold(root, slot, reason) == 1 else GO_ON
        root["waiting"] = 1
        return INFER
    if root["follows"] == 1:
        return take_evaluated(root, slot, reason)
    blocked = reason != NONE
    if not blocked or keeps_window(slot):
        found = read_row(root, fused, slot)
        reason = reason if blocked else found
    if past:
        return GO_ON
    if root["ahead"] == 1:
        which = root["ahead_all"]
        if reason == NONE or which == EVERY or (which == READ and not blocked):
            collect(root, slot, reason)
        return GO_ON
    if reason == NONE:
        reason = shut_out(root, slot)
    if reason != NONE:
        wanted = hold(root, slot, reason)
        if slot["own"] != 0 and not blocked:
            name_unknown(root, slot)
        return SIGNAL if wanted == 1 else GO_ON
    if slot["threaded"] == 1:
        return ASK
    if slot["waits"] != 0:
        return call_part(root["rare_pend"], root["state"], root["slot"])
    # Some are left to Python, which times them; both calls give the same bits.
    if slot["run"] != 0 and root["decisions"] & SAMPLED != 0 and root["decisions"] >= FIRST:
        if call_run(slot["run"], slot["run_arguments"]) == 0:
            y = floats32(slot["y"], slot["n_outputs"])
            return SIGNAL if settle(root, slot, y) == 1 else GO_ON
    root["waiting"] = 1
    return INFER


@njit(forceinline=True)
def decide_due(root, fused):  # type: ignore[no-untyped-def]
    """Look at every due slot, in order; return the reason for which Python must act, or 0."""
    past = root["past_ts"] != 0
    while root["due_slot"] < root["n_slots"]:
        at = root["due_slot"]
        slot = slot_at(root, at)
        if past and slot["past"] == 0:
            root["due_slot"] += 1
            continue
        if root["waiting"] == 1:
            root["waiting"] = 0
            root["slot"] = at
            root["instrument"] = slot["instrument"]
            wanted = settle(root, slot, floats32(slot["y"], slot["n_outputs"]))
            root["due_slot"] += 1
            if wanted == 1:
                return SIGNAL
            continue
        if past or slot["due"] == 1 or slot["answered"] > 0:
            if not past:
                if root["audit_count"] >= root["audit_high"]:
                    return FLUSH
                if slot["answered"] > 0:  # Python settles it, and this slot is looked at again
                    root["slot"] = at
                    return ANSWER
                if root["ahead"] == 1 and root["collect_count"] >= root["collect_capacity"]:
                    return ASK_BATCH
                root["slot"] = at
            reason = evaluate(root, fused, slot)
            if past:
                slot["past"] = 0
                root["due_slot"] += 1
                continue
            if reason == ASK_BATCH:
                return ASK_BATCH
            slot["due"] = 0
            slot["seen_updates"] = matching_at(root, slot["instrument"])["updates"]
            root["due_count"] -= 1
            if reason == INFER:
                return INFER
            root["due_slot"] += 1
            if reason != GO_ON:
                return reason
            continue
        root["due_slot"] += 1
    root["deciding"] = 1 if past and root["due_after"] == 1 and root["due_count"] > 0 else 0
    root["due_slot"] = 0
    root["past_ts"] = 0
    return GO_ON
