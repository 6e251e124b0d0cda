"""Writes the INTENT record of an order of the ledger, by machine code: layout in journal_layout.py.

What an account's journal must hold before an order's first byte leaves costs as little as a row of
the tape then: one call, which reads and moves the journal's own words. A test compares its bytes
with those that Journal.append packs. numba's cache sees no change of a layout in another file, so
the places used here are written out and asserted.
"""

import sys
from enum import IntEnum
from typing import Any

import numpy as np
from numba import carray, njit

from engine.events import OrderType
from engine.journal_layout import AT_ONCE, HEAD, RECORD_BYTES, Kind
from engine.kernel.ledger import LEDGER
from engine.kernel.memory import pointer

BYTES_HEADER = sys.getsizeof(b"") - 1
HASHED_AT_ONCE = (
    8  # divides 64; below 2 KiB hashlib keeps the interpreter's lock: no thread slips in
)


class Word(IntEnum):
    """What machine code must know of a journal, as int64 words."""

    SEGMENT = 0  # address of the open segment
    AT = 1  # records in it
    SURE = 2  # before this place there is room; 0: no intent may be stored
    HEAD = 3  # records stored; the number of the next one
    CHECK = 4  # of the last record
    SYNCED = 5  # records known to be on the disk
    PROMISES_DISK = 6  # 1 under the policy `synced`
    TAG = 7  # of the run, its eight bytes
    LAST = 8  # highest order number stored


_ORDER_ID, _INTENT_ID, _SIDE, _TYPE, _QTY, _PRICE, _PURPOSE, _LOW, _HIGH = (
    0, 3, 7, 8, 9, 11, 12, 21, 22,
)  # fmt: skip
_INTENT, _MARKET, _INSTRUMENT, _OWNER = 3, 0, 4, 5
_EVERY = HASHED_AT_ONCE
_PLACES = {
    "order_id": _ORDER_ID, "intent_id": _INTENT_ID, "side": _SIDE, "order_type": _TYPE,
    "qty_lot": _QTY, "price_tick": _PRICE, "purpose": _PURPOSE, "collar_low": _LOW,
    "collar_high": _HIGH, "instrument": 4, "owner": 5,
}  # fmt: skip
assert all(int(LEDGER.fields[name][1]) == 8 * at for name, at in _PLACES.items())  # type: ignore
assert Kind.INTENT == _INTENT
assert OrderType.MARKET == _MARKET
assert (HEAD.size, RECORD_BYTES, AT_ONCE) == (56, 128, 2**64 - 1)
assert list(Word) == list(range(9))


def _crc_table() -> np.ndarray:
    """Return the table of CRC-32 (polynomial 0xEDB88320) for sixteen half bytes a step.

    1 KiB: between two orders all of it has left the nearest cache; whole bytes would take 8 KiB.
    """
    table = np.zeros((16, 16), np.uint32)
    for half in range(16):
        value = half
        for _ in range(4):
            value = value >> 1 ^ (0xEDB88320 if value & 1 else 0)
        table[0, half] = value
    for k in range(1, 16):
        table[k] = table[0][table[k - 1] & 0xF] ^ table[k - 1] >> 4
    return table


_CRC = _crc_table()


@njit(cache=True)
def crc32(words, before):  # type: ignore[no-untyped-def]
    """Return zlib.crc32 of uint64[n], little-endian, begun with the crc before."""
    crc = np.uint64(before) ^ np.uint64(0xFFFFFFFF)
    for at in range(len(words)):
        word = words[at] ^ crc
        crc = np.uint64(0)
        for k in range(16):
            crc ^= np.uint64(_CRC[15 - k, (word >> np.uint64(4 * k)) & np.uint64(0xF)])
    return crc ^ np.uint64(0xFFFFFFFF)


@njit("int64(int64, int64, int64, int64, int64, int64)", cache=True)
def write_intent(journal, refs, models, line, ts, ready):  # type: ignore[no-untyped-def]
    """Store one order as the journal's next record.

    Args:
        journal: address of the journal's words, see `Word`.
        refs: address of int64[instruments], the NAME records of the markets.
        models: address of int64[owners], the numbers of the models behind orders.
        line: address of the order's LEDGER record.
        ts: wall clock, ns UTC.
        ready: 1 when Journal.make_ready has seen to room and hashes just now.
    Returns:
        1; 0 and nothing stored where Python must make the journal ready first.
    """
    words = carray(pointer(journal), (9,), np.int64)
    segment, at, sure, head, before, synced, on_disk, tag, last = words
    order = carray(pointer(line), (23,), np.int64)
    if ready == 0 and (at >= sure or head % _EVERY == 0):
        return 0
    if order[_ORDER_ID] <= last:
        return 0
    to = carray(pointer(segment + 128 * (at + 1)), (16,), np.uint64)
    side, kind = order[_SIDE], order[_TYPE]
    low, high = order[_LOW], order[_HIGH]
    tick = order[_PRICE]
    if kind == _MARKET:
        tick = high if side > 0 else low
    ref = carray(pointer(refs), (1 << 16,), np.int64)[order[_INSTRUMENT]]
    model = np.int64(0)
    if order[_OWNER] >= 0:
        model = carray(pointer(models), (1 << 16,), np.int64)[order[_OWNER]]
    to[0] = np.uint64(head)
    to[1] = np.uint64(synced if on_disk == 1 else -1)
    to[2] = np.uint64(ts)
    to[3] = np.uint64(tag)
    to[4] = np.uint64(order[_ORDER_ID])
    to[5] = np.uint64(ref | model << 32)
    what = _INTENT | (side & 0xFF) << 8 | (kind & 0xFF) << 16 | (order[_PURPOSE] & 0xFF) << 24
    to[6] = np.uint64(what)
    to[7] = np.uint64(order[_QTY])
    to[8] = np.uint64(order[_PRICE])
    to[9] = np.uint64(tick)
    to[10] = np.uint64(low)
    to[11] = np.uint64(high)
    to[12] = np.uint64(order[_INTENT_ID])
    to[13] = np.uint64(0)
    to[14] = np.uint64(0)
    to[15] = np.uint64(0)
    crc = np.int64(crc32(to, before))
    check = crc if crc != 0 else np.int64(1)
    to[6] = np.uint64(what | check << 32)
    words[1] = at + 1
    words[3] = head + 1
    words[4] = check
    words[8] = order[_ORDER_ID]
    return 1


def entry_point() -> Any:
    """Return `write_intent` as a bare function of integers."""
    (compiled,) = write_intent.overloads.values()
    return compiled.entry_point
