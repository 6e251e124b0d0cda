"""Run to the next decision: rows in, reasons out. The loop that live, paper and replay share.

`fused` stands for the generated feature functions, and for what the gate does with the venue's
answers. app/kernel.py writes one module that holds the
text of this file, of apply.py and of decide.py with `fused.on_quote(...)` and its like bound to the
functions of the run's own features: numba can keep such a module on disk, but none that is handed
functions as arguments.
"""

import numpy as np
from numba import njit

from engine.kernel.apply import (
    BAR,
    DEPTH,
    TOUCH,
    TRADE,
    apply_bar,
    apply_depth,
    apply_gap,
    apply_quote,
    apply_trade,
    past_time,
    show_bar,
)
from engine.kernel.bars import close_bar, next_close
from engine.kernel.decide import BY_N, GO_ON, counted, decide_due, mark_due
from engine.kernel.follow import CHANGED_SHIFT, FLAGS_SHIFT
from engine.kernel.layout import Cadence, Reason
from engine.kernel.native import call_part
from engine.kernel.places import bars_at, market_at, matching_at, slot_at
from engine.kernel.series import WITH_SERIES, close_due, next_of_series
from engine.kernel.sessions import arm_sessions, close_sessions, nearest_close
from engine.rows import HISTORY, LAST, Kind

QUOTE_ROW, TRADE_ROW, DEPTH_ROW, BAR_ROW = (
    int(Kind.QUOTE),
    int(Kind.TRADE),
    int(Kind.DEPTH),
    int(Kind.BAR),
)
GAP_ROW, DISCONNECT_ROW, STATUS_ROW = int(Kind.GAP), int(Kind.DISCONNECT), int(Kind.STATUS)
WAKE_ROW, EMPTY_ROW, FILTERS_ROW = int(Kind.WAKE), int(Kind.EMPTY), int(Kind.FILTERS)
OPENING_ROW = int(Kind.OPENING)
ON_QUOTE, ON_TRADE, ON_BAR = int(Cadence.QUOTE), int(Cadence.TRADE), int(Cadence.BAR)
ON_SERIES = int(Cadence.SERIES)
ON_NS, ON_PACKET = int(Cadence.EVERY_NS), int(Cadence.PACKET)
VENUE, CONTROL, FLUSH = int(Reason.VENUE), int(Reason.CONTROL), int(Reason.FLUSH)
SAMPLE, BLOCK, HEAD = int(Reason.SAMPLE), int(Reason.BLOCK), int(Reason.HEAD)
SESSION, SIGNAL = int(Reason.SESSION), int(Reason.SIGNAL)
BOOK_GAP = 1  # reason slot of a GAP row: only the book is torn


@njit
def reset_timer(root):  # type: ignore[no-untyped-def]
    """Find the next time at which a bar or a session closes or a slot's timer is due."""
    nearest = nearest_close(root)
    for at in range(root["n_instruments"]):
        nearest = min(nearest, next_close(root, bars_at(root, at)))
        if WITH_SERIES:
            nearest = next_of_series(root, at, nearest)
    for at in range(root["n_slots"]):
        slot = slot_at(root, at)
        if slot["cadence"] == ON_NS:
            nearest = min(nearest, slot["next_ts"])
    root["next_timer"] = min(nearest, root["next_answer"])


@njit
def run_timers(root, fused, ts, until):  # type: ignore[no-untyped-def]
    """Do what is due at `ts`: bars close, models answer, timers fire, what was missed once.

    No row stands before `until`: a timer whose instrument has not moved since its last decision has
    nothing to say before then, and goes on after it.
    """
    if ts > root["now"]:
        root["now"] = ts
    for at in range(root["n_instruments"]):
        b = bars_at(root, at)
        while next_close(root, b) <= ts:
            m = market_at(root, at)
            m["ts"] = root["now"]
            if close_bar(m, b) == 1:
                show_bar(root, fused, at)
                mark_due(root, at, ON_BAR)
        if WITH_SERIES:
            market_at(root, at)["ts"] = root["now"]
            close_due(root, fused, at, ts)
            mark_series(root, at)
    if root["next_answer"] <= ts:
        call_part(root["rare_answers"], root["state"], ts)
    if root["sessions"] != 0:
        close_sessions(root, ts)
    for at in range(root["n_slots"]):
        slot = slot_at(root, at)
        if slot["cadence"] != ON_NS or slot["next_ts"] > ts:
            continue
        every = slot["cadence_n"]
        slot["next_ts"] = (ts // every + 1) * every
        if matching_at(root, slot["instrument"])["updates"] == slot["seen_updates"]:
            slot["next_ts"] = (until // every + 1) * every
        elif slot["due"] == 0:
            slot["due"] = 1
            root["due_count"] += 1
    reset_timer(root)


@njit
def mark_series(root, instrument):  # type: ignore[no-untyped-def]
    """Mark the decisions on further bars that have just closed."""
    closed = root["closed_series"]
    root["closed_series"] = 0
    x = matching_at(root, instrument)
    for at in range(x["slot_from"], x["slot_to"]):
        slot = slot_at(root, at)
        if slot["cadence"] == ON_SERIES and (closed >> slot["cadence_n"]) & 1 != 0:
            if slot["due"] == 0:
                slot["due"] = 1
                root["due_count"] += 1


@njit
def mark_past(root, instrument, changed, row):  # type: ignore[no-untyped-def]
    """Mark the windows that take a row at a bar of the past, as they would have at its close."""
    closed = root["closed_series"]
    root["closed_series"] = 0
    x = matching_at(root, instrument)
    for at in range(x["slot_from"], x["slot_to"]):
        slot = slot_at(root, at)
        if slot["window"] > 0 and (
            (slot["cadence"] == ON_BAR and changed & BAR != 0)
            or (slot["cadence"] == ON_SERIES and (closed >> slot["cadence_n"]) & 1 != 0)
        ):
            slot["past"] = 1
            root["past_ts"] = past_time(row)


@njit
def begin(root, ts):  # type: ignore[no-untyped-def]
    """Set the clocks by the first row."""
    root["first_ts"] = ts
    root["now"] = ts
    for at in range(root["n_slots"]):
        slot = slot_at(root, at)
        if slot["cadence"] == ON_NS:
            slot["next_ts"] = (ts // slot["cadence_n"] + 1) * slot["cadence_n"]
    root["next_sample"] = (ts // root["sample_ns"] + 1) * root["sample_ns"]
    if root["sessions"] != 0:
        arm_sessions(root, ts)
    reset_timer(root)


@njit(forceinline=True)
def mark_market(root, instrument, changed, last):  # type: ignore[no-untyped-def]
    """Mark the decisions that a market row makes due, in one look at the instrument's slots."""
    x = matching_at(root, instrument)
    for at in range(x["slot_from"], x["slot_to"]):
        slot = slot_at(root, at)
        cadence = slot["cadence"]
        if (
            (cadence == ON_QUOTE and changed & TOUCH != 0)
            or (cadence == ON_TRADE and changed & TRADE != 0)
            or (cadence == ON_BAR and changed & BAR != 0)
            or (cadence == ON_PACKET and last)
            or (cadence == BY_N and last and counted(root, slot, at))
        ) and slot["due"] == 0:
            slot["due"] = 1
            root["due_count"] += 1


@njit(forceinline=True)
def happened(instrument, changed, row):  # type: ignore[no-untyped-def]
    """Put into one word what a market row did; see engine/kernel/follow.py."""
    flags = np.int64(row["flags"])
    return np.int64(instrument) | (changed << CHANGED_SHIFT) | (flags << FLAGS_SHIFT)


@njit(forceinline=True)
def apply_market(root, fused, row):  # type: ignore[no-untyped-def]
    """Apply a row that belongs to an instrument's market."""
    instrument = np_index(row)
    kind = row["kind"]
    m = market_at(root, instrument)
    past = row["flags"] & HISTORY != 0
    m["ts"] = past_time(row) if past else root["now"]
    m["ts_event"] = row["ts_event"]
    if kind == QUOTE_ROW:
        changed = apply_quote(root, fused, instrument, row)
    elif kind == TRADE_ROW:
        changed = apply_trade(root, fused, instrument, row)
    elif kind == DEPTH_ROW:
        changed = apply_depth(root, fused, instrument, row)
    else:
        changed = apply_bar(root, fused, instrument, row)
    if past:
        mark_past(root, instrument, changed, row)
        return
    if WITH_SERIES and root["closed_series"] != 0:
        mark_series(root, instrument)
    x = matching_at(root, instrument)
    if x["slot_from"] < x["slot_to"]:
        mark_market(root, instrument, changed, kind != DEPTH_ROW or row["flags"] & LAST != 0)
    if root["ahead"] == 0 and changed & ~DEPTH != 0 and x["resting"] + x["triggers"] > 0:
        call_part(root["rare_follow"], root["state"], happened(instrument, changed, row))
    elif root["waiting_open"] > 0 and changed & TOUCH != 0:
        call_part(root["rare_follow"], root["state"], happened(instrument, changed, row))


@njit(forceinline=True)
def np_index(row):  # type: ignore[no-untyped-def]
    """Return the row's instrument as a signed index."""
    return row["instrument"] + 0


@njit
def apply_status(root, fused, row):  # type: ignore[no-untyped-def]
    """Apply a row on the state of feed or instrument; return 1 if Python must act too."""
    kind = row["kind"]
    instrument = np_index(row)
    if kind == GAP_ROW:
        apply_gap(root, fused, instrument, 1 if row["i2"] == BOOK_GAP else 0)
    elif kind == DISCONNECT_ROW:
        for at in range(root["n_instruments"]):
            apply_gap(root, fused, at, 0)
    elif kind == STATUS_ROW:
        matching_at(root, instrument)["halted"] = 1 if row["i0"] != 0 else 0
        return 1 if row["i0"] != 0 and root["ahead"] == 0 else 0
    elif kind == FILTERS_ROW:
        market_at(root, instrument)["tick"] = row["f0"]
        market_at(root, instrument)["lot"] = row["f1"]
    elif kind > OPENING_ROW or kind == OPENING_ROW:
        return 1
    return 0


@njit(forceinline=True)
def settles(root):  # type: ignore[no-untyped-def]
    """Work through the venue's answers; True when Python must go on with one of them."""
    return call_part(root["rare_settle"], root["state"], 0) == 1


@njit(forceinline=True)
def before_row(root, fused, ts):  # type: ignore[no-untyped-def]
    """Do what time brings before a row of time `ts` is applied; return a reason to stop, or 0."""
    while root["next_arrival"] <= ts:
        call_part(root["rare_arrivals"], root["state"], ts)
        if root["out_count"] > 0 and settles(root):
            return VENUE
    if root["implied_wakes"] == 1 and root["next_timer"] <= ts:
        run_timers(root, fused, root["next_timer"], ts)
        if root["due_count"] > 0:
            root["deciding"] = 1
            root["due_slot"] = 0
        return sessions_over(root)
    return GO_ON


@njit(forceinline=True)
def sessions_over(root):  # type: ignore[no-untyped-def]
    """Return SESSION once after a session has closed, else GO_ON."""
    if root["sessions_over"] == 0:
        return GO_ON
    root["sessions_over"] = 0
    return SESSION


@njit(forceinline=True)
def take_row(root, fused, row, number):  # type: ignore[no-untyped-def]
    """Apply one row; return a reason to stop, or 0."""
    kind = row["kind"]
    root["row"] = number
    root["events"] += 1
    stop = GO_ON
    if QUOTE_ROW <= kind <= BAR_ROW:
        apply_market(root, fused, row)
    elif kind == WAKE_ROW:
        if root["implied_wakes"] == 0:
            while root["next_timer"] <= root["now"]:
                run_timers(root, fused, root["now"], root["now"])
            stop = sessions_over(root)
    elif kind != EMPTY_ROW and apply_status(root, fused, row) == 1:
        stop = CONTROL
    wake = row["flags"] & LAST != 0 if root["implied_wakes"] == 1 else kind == WAKE_ROW
    if (wake and root["due_count"] > 0) or root["past_ts"] != 0:
        root["deciding"] = 1
        root["due_slot"] = 0
        root["due_after"] = 1 if wake else 0
    if root["out_count"] > 0 and settles(root):
        stop |= VENUE
    if root["now"] >= root["next_sample"]:
        root["next_sample"] = (root["now"] // root["sample_ns"] + 1) * root["sample_ns"]
        stop |= SAMPLE
    return stop


@njit(forceinline=True)
def row_time(root, row):  # type: ignore[no-untyped-def]
    """Return the kernel time of a row: the running maximum of receive times."""
    ts = row["ts_recv"] if row["ts_recv"] > 0 else row["ts_event"]
    return ts if ts > root["now"] else root["now"]


@njit(forceinline=True)
def is_last(root, head):  # type: ignore[no-untyped-def]
    """Return True, the decisions over, where a signal is the last thing of all rows up to `head`.

    Python is then spared a call that would find nothing.
    """
    if root["cursor"] < head or root["due_count"] > 0 or root["past_ts"] != 0:
        return False
    for at in range(root["due_slot"], root["n_slots"]):
        if slot_at(root, at)["answered"] > 0:
            return False
    root["deciding"] = 0
    root["due_slot"] = 0
    return True


@njit(forceinline=True)
def run(root, fused, rows, first_row, head):  # type: ignore[no-untyped-def]
    """Advance from the cursor over rows [cursor, head) until Python must act; return the reasons.

    Args:
        root: the state's root record.  fused: see above.
        rows: ROW[n] of one segment.  first_row: number of rows[0].
        head: number of the row after the last one that may be applied now.
    """
    root["calls"] += 1
    while True:
        while root["deciding"] == 1:
            reason = decide_due(root, fused)
            if reason != GO_ON:
                return reason | HEAD if reason == SIGNAL and is_last(root, head) else reason
        if root["audit_count"] >= root["audit_high"]:
            return FLUSH
        cursor = root["cursor"]
        if cursor >= head:
            return HEAD
        row = rows[cursor - first_row]
        ts = row_time(root, row)
        if root["first_ts"] == 0:
            begin(root, ts)
        if ts >= root["next_arrival"] or ts >= root["next_timer"]:
            reason = before_row(root, fused, ts)
            if reason != GO_ON:
                return reason
            if root["deciding"] == 1 or due_before(root, ts):
                continue
        root["now"] = ts
        root["cursor"] = cursor + 1
        reason = take_row(root, fused, row, cursor)
        if reason != GO_ON:
            return reason


@njit(forceinline=True)
def due_before(root, ts):  # type: ignore[no-untyped-def]
    """Return True while something else must still happen before a row of time `ts`."""
    if root["next_arrival"] <= ts:
        return True
    return root["implied_wakes"] == 1 and root["next_timer"] <= ts
