"""Regular hours: whether an instrument's exchange is open at the kernel's time, and its close.

The table is engine/session_table.py's, by address; an instrument without a calendar is always open,
and a run without any leaves `root["sessions"]` at 0. Sessions are half open: [open, close).
"""

import numpy as np
from numba import carray, njit

from engine.audit_layout import NO_INDEX
from engine.events import Action, HoldReason
from engine.kernel.layout import NEVER
from engine.kernel.memory import pointer
from engine.kernel.places import book_at, session_at
from engine.limits import MAX_MODELS

BUY = int(Action.BUY)
OPEN = int(HoldReason.NONE)
SESSION_CLOSED = int(HoldReason.SESSION_CLOSED)
SESSION_UNKNOWN = int(HoldReason.SESSION_UNKNOWN)


@njit
def table_of(s):  # type: ignore[no-untyped-def]
    """View an instrument's sessions, int64[count, 2] ns."""
    return carray(pointer(s["table"]), (s["count"], 2), np.int64)


@njit
def opened_by(s, ts):  # type: ignore[no-untyped-def]
    """Count the sessions that opened at or before a time."""
    table = table_of(s)
    low, high = 0, s["count"]
    while low < high:
        middle = (low + high) // 2
        if table[middle, 0] <= ts:
            low = middle + 1
        else:
            high = middle
    return low


@njit
def find_session(s, ts):  # type: ignore[no-untyped-def]
    """Find what holds at a time, and from when to when; beyond the table nothing is known."""
    table, at = table_of(s), opened_by(s, ts)
    s["begins"], s["ends"], s["shut"] = -NEVER, NEVER, SESSION_UNKNOWN
    if at > 0 and ts < table[at - 1, 1]:
        s["begins"], s["ends"], s["shut"] = table[at - 1, 0], table[at - 1, 1], OPEN
    elif at > 0 and at < s["count"]:
        s["begins"], s["ends"], s["shut"] = table[at - 1, 1], table[at, 0], SESSION_CLOSED
    elif at == 0:
        s["ends"] = table[0, 0]
    else:
        s["begins"] = table[at - 1, 1]


@njit
def shut_by(root, instrument):  # type: ignore[no-untyped-def]
    """Return why nothing may be opened in an instrument now, a HoldReason; OPEN where it may."""
    if root["sessions"] == 0:
        return OPEN
    s = session_at(root, instrument)
    if s["table"] == 0:
        return OPEN
    if not s["begins"] <= root["now"] < s["ends"]:
        find_session(s, root["now"])
    return s["shut"]


@njit
def shut_after(root, instrument, latency_ns):  # type: ignore[no-untyped-def]
    """Return why nothing may be opened by what takes so long to its venue; OPEN where it may."""
    shut = shut_by(root, instrument)
    if shut != OPEN or root["sessions"] == 0 or session_at(root, instrument)["table"] == 0:
        return shut
    arrives = root["now"] + latency_ns
    return SESSION_CLOSED if arrives >= session_at(root, instrument)["ends"] else OPEN


@njit
def exits_wait(root, instrument):  # type: ignore[no-untyped-def]
    """Return True for an instrument whose exits and stops wait for a session, too."""
    return root["sessions"] != 0 and session_at(root, instrument)["exits_wait"] == 1


@njit
def exits_shut(root, instrument):  # type: ignore[no-untyped-def]
    """Return True where exits and stops wait for a session now.

    Beyond the table they go: what is held must not stay for want of a table.
    """
    return exits_wait(root, instrument) and shut_by(root, instrument) == SESSION_CLOSED


@njit
def held_lots(root, slot):  # type: ignore[no-untyped-def]
    """Return the signed lots that a slot's model holds; 0 in a kernel without an account.

    A strategy without a model may close what anybody holds: the lots of all, without a sign.
    """
    if root["books_of"] == 0:
        return 0
    if slot["model"] != NO_INDEX:
        return book_at(root, slot["model"], slot["instrument"])["position_lot"]
    held = 0
    for owner in range(-1, MAX_MODELS):
        held += abs(book_at(root, owner, slot["instrument"])["position_lot"])
    return held


@njit
def shut_out(root, slot):  # type: ignore[no-untyped-def]
    """Return the HoldReason of a decision that could only open, outside the session, else OPEN."""
    reason = shut_by(root, slot["instrument"])
    if reason == OPEN or root["ahead"] == 1:
        return OPEN
    waits = exits_shut(root, slot["instrument"])
    return reason if waits or held_lots(root, slot) == 0 else OPEN


@njit
def shut_for(root, slot, action):  # type: ignore[no-untyped-def]
    """Return the HoldReason of advice that would add to what is held, outside the session."""
    reason = shut_by(root, slot["instrument"])
    if reason == OPEN:
        return OPEN
    held = held_lots(root, slot)
    reduces = held < 0 if action == BUY else held > 0
    return OPEN if reduces else reason


@njit
def next_close(s, ts):  # type: ignore[no-untyped-def]
    """Return the first close after a time, NEVER beyond the table."""
    table, at = table_of(s), opened_by(s, ts)
    if at > 0 and ts < table[at - 1, 1]:
        return table[at - 1, 1]
    return table[at, 1] if at < s["count"] else NEVER


@njit
def arm_sessions(root, ts):  # type: ignore[no-untyped-def]
    """Note when the session in progress, or the next one, closes, for each instrument."""
    for at in range(root["n_instruments"]):
        s = session_at(root, at)
        s["closes"] = next_close(s, ts) if s["table"] != 0 and root["ahead"] == 0 else NEVER


@njit
def close_sessions(root, ts):  # type: ignore[no-untyped-def]
    """Note which sessions are over at a time: Python looks at what still rests there."""
    for at in range(root["n_instruments"]):
        s = session_at(root, at)
        if s["closes"] <= ts:
            s["closes"] = next_close(s, ts)
            s["over"] = 1
            root["sessions_over"] += 1


@njit
def nearest_close(root):  # type: ignore[no-untyped-def]
    """Return when the next session of any instrument is over."""
    nearest = NEVER
    if root["sessions"] != 0:
        for at in range(root["n_instruments"]):
            nearest = min(nearest, session_at(root, at)["closes"])
    return nearest
