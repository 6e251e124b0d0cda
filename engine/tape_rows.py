"""Finish and publish rows that stand in a mapped segment already: machine code, by address.

A decoder writes a message straight into the segment; `publish_rows` then gives each row its check,
in one store with its kind, and at last moves `head`, the word that readers go by. `push_row` writes
and publishes one row of the engine's own. No call allocates.
"""

from typing import Any

import numpy as np
from llvmlite import ir
from numba import carray, njit, types
from numba.extending import intrinsic

from engine.kernel.memory import pointer
from engine.rows import LAST, ROW_BYTES, Kind
from engine.tape_info import HEADER, HEADER_BYTES

assert HEADER.fields is not None
HEAD_BEFORE_ROWS = HEADER_BYTES - HEADER.fields["head"][1]  # bytes from `head` to the first row
_ROW_BYTES = ROW_BYTES
_WAKE_HEAD = int(Kind.WAKE) << 16 | LAST << 32
_GOLDEN = np.uint64(0x9E37_79B9_7F4A_7C15)
_MIX = np.uint64(0xBF58_476D_1CE4_E5B9)
_ALL_BUT_CHECK = np.uint64(0x0000_FFFF_FFFF_FFFF)


@intrinsic
def store_release(typingctx: Any, address: Any, value: Any) -> Any:
    """Store an int64 at an address, after all stores before it, whatever the processor."""
    signature = types.void(address, value)

    def codegen(context: Any, builder: Any, _sig: Any, args: Any) -> Any:
        at = builder.inttoptr(args[0], ir.IntType(64).as_pointer())
        builder.store_atomic(args[1], at, "release", 8)
        return context.get_dummy_value()

    return signature, codegen


@njit(cache=True, inline="always")
def _check_of(words, at, number):  # type: ignore[no-untyped-def]
    """Return a row's check in the place of its field; see row_checks in rows.py."""
    mixed = (np.uint64(number) + np.uint64(1)) * _GOLDEN
    for k in range(8):
        word = words[at + k]
        if k == 2:
            word &= _ALL_BUT_CHECK
        mixed = (mixed ^ word) * _MIX
        mixed ^= mixed >> np.uint64(29)
    return (mixed >> np.uint64(48)) << np.uint64(48)


@njit("void(int64, int64, int64, int64)", cache=True)
def publish_rows(rows, at, count, first_row):  # type: ignore[no-untyped-def]
    """Publish one packet: rows at .. at + count of the segment at address `rows`.

    Args:
        rows: address of the segment's first row.
        at: index of the packet's first row.
        count: rows in it; all words but the check are written.
        first_row: number of the segment's first row on the tape.
    """
    words = carray(pointer(rows + at * _ROW_BYTES), (count * 8,), np.uint64)
    for k in range(count):
        check = _check_of(words, k * 8, first_row + at + k)
        words[k * 8 + 2] = (words[k * 8 + 2] & _ALL_BUT_CHECK) | check
    store_release(rows - HEAD_BEFORE_ROWS, at + count)


@njit("void(" + "int64, " * 10 + "int64)", cache=True)
def push_row(rows, at, first_row, ts_event, ts_recv, head, i0, i1, i2, i3, i4):  # type: ignore[no-untyped-def]
    """Write and publish one row; `head` holds instrument, kind, side and flags as they lie."""
    words = carray(pointer(rows + at * _ROW_BYTES), (8,), np.uint64)
    words[0] = np.uint64(ts_event)
    words[1] = np.uint64(ts_recv)
    words[3] = np.uint64(i0)
    words[4] = np.uint64(i1)
    words[5] = np.uint64(i2)
    words[6] = np.uint64(i3)
    words[7] = np.uint64(i4)
    words[2] = np.uint64(head) & _ALL_BUT_CHECK
    words[2] |= _check_of(words, 0, first_row + at)
    store_release(rows - HEAD_BEFORE_ROWS, at + 1)


@njit("void(int64, int64, int64, int64)", cache=True)
def push_wake(rows, at, first_row, ts_recv):  # type: ignore[no-untyped-def]
    """Write and publish one WAKE row."""
    push_row(rows, at, first_row, 0, ts_recv, _WAKE_HEAD, 0, 0, 0, 0, 0)


def entry_points() -> tuple[Any, Any, Any]:
    """Return (publish_rows, push_row, push_wake) as bare functions of integers: 90 ns a call."""
    found = []
    for function in (publish_rows, push_row, push_wake):
        (compiled,) = function.overloads.values()
        found.append(compiled.entry_point)
    return found[0], found[1], found[2]
