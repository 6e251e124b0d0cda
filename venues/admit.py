"""The fast way onto the tape: a quote or trade that simply follows is published by machine code.

Whatever is not so simple (ids that do not rise by one, depth, an instrument that is warming or
stale) is left to venues/intake.py, with nothing changed.
"""

import numpy as np
from numba import carray, njit

from engine.kernel.memory import pointer
from engine.rows import Kind
from engine.tape_rows import publish_rows

# What is known of one instrument, as int64 words that both sides read; STATE is its record.
WORDS = (
    "quote_id",  # last update id, -1 before the first
    "trade_id",
    "quote_repeats",  # ids in a row that did not rise
    "trade_repeats",
    "direct",  # 1: rows go straight onto the tape
    "last_ns",  # receive stamp of the last message
    "skew_ns",  # receive stamp minus the venue's, of the last trade
    "messages",
    "bytes",
    "rows",  # published this way
)
STATE = np.dtype([(name, "i8") for name in WORDS])
_QUOTE, _TRADE = int(Kind.QUOTE), int(Kind.TRADE)


@njit("int64(int64, int64, int64, int64, int64, int64)", cache=True)
def admit(states, rows, at, first_row, ts_recv, size):  # type: ignore[no-untyped-def]
    """Publish the row at `at` if it simply follows; return 1 if it was, 0 to leave it alone.

    Args:
        states: address of STATE[instruments of the tape].
        rows: address of the segment's first row; first_row: its number on the tape.
        ts_recv: receive stamp of the message, ns.  size: its bytes.
    """
    words = carray(pointer(rows + at * 64), (8,), np.int64)
    head = words[2]
    kind = (head >> 16) & 0xFF
    state = carray(pointer(states), (65536,), STATE)[head & 0xFFFF]
    if state["direct"] == 0:
        return 0
    if kind == _QUOTE:
        if words[7] <= state["quote_id"]:
            return 0
        state["quote_id"] = words[7]
        state["quote_repeats"] = 0
    elif kind == _TRADE:
        if words[5] != state["trade_id"] + 1:
            return 0
        state["trade_id"] = words[5]
        state["trade_repeats"] = 0
        state["skew_ns"] = ts_recv - words[0]
    else:
        return 0
    state["last_ns"] = ts_recv
    state["messages"] += 1
    state["bytes"] += size
    state["rows"] += 1
    publish_rows(rows, at, 1, first_row)
    return 1
