"""Writes the INTENT record of an order of the ledger, by machine code: layout in journal_layout.py.

What an account's journal must hold before an order's first byte leaves costs as little as a row of
the tape then. A test compares its bytes with those that Journal.append packs. numba's cache sees no
change of a layout in another file, so the places used here are written out and asserted.
"""

import struct
import sys
from typing import Any

import numpy as np
from numba import carray, njit

from engine.events import OrderType
from engine.journal_layout import HEAD, RECORD_BYTES, Kind
from engine.kernel.ledger import LEDGER
from engine.kernel.memory import pointer

LINE_BYTES = LEDGER.itemsize
BYTES_HEADER = sys.getsizeof(b"") - 1
line_head = struct.Struct("<6q").unpack_from  # order id, open, state, intent id, instrument, owner

_ORDER_ID, _INTENT_ID, _SIDE, _TYPE, _QTY, _PRICE, _PURPOSE, _LOW, _HIGH = (
    0, 3, 7, 8, 9, 11, 12, 21, 22,
)  # fmt: skip
_INTENT, _MARKET = 3, 0
_PLACES = {
    "order_id": _ORDER_ID, "intent_id": _INTENT_ID, "side": _SIDE, "order_type": _TYPE,
    "qty_lot": _QTY, "price_tick": _PRICE, "purpose": _PURPOSE, "collar_low": _LOW,
    "collar_high": _HIGH, "instrument": 4, "owner": 5,
}  # fmt: skip
assert all(int(LEDGER.fields[name][1]) == 8 * at for name, at in _PLACES.items())  # type: ignore
assert Kind.INTENT == _INTENT
assert OrderType.MARKET == _MARKET
assert (HEAD.size, RECORD_BYTES) == (56, 128)


def _crc_table() -> np.ndarray:
    """Return the table of CRC-32 (polynomial 0xEDB88320) for eight bytes a step."""
    table = np.zeros((8, 256), np.uint32)
    for byte in range(256):
        value = byte
        for _ in range(8):
            value = value >> 1 ^ (0xEDB88320 if value & 1 else 0)
        table[0, byte] = value
    for k in range(1, 8):
        table[k] = table[0][table[k - 1] & 0xFF] ^ table[k - 1] >> 8
    return table


_CRC = _crc_table()


@njit(cache=True)
def crc32(words, before):  # type: ignore[no-untyped-def]
    """Return zlib.crc32 of uint64[n], little-endian, begun with the crc before."""
    crc = np.uint64(before) ^ np.uint64(0xFFFFFFFF)
    for at in range(len(words)):
        word = words[at] ^ crc
        crc = np.uint64(0)
        for k in range(8):
            crc ^= np.uint64(_CRC[7 - k, (word >> np.uint64(8 * k)) & np.uint64(0xFF)])
    return crc ^ np.uint64(0xFFFFFFFF)


@njit("int64(int64, int64, int64, int64, int64, int64, int64, int64)", cache=True)
def write_intent(record, line, seq, durable, ts, tag, refs, before):  # type: ignore[no-untyped-def]
    """Write one record of 128 bytes.

    Args:
        record: address to write to.
        line: address of the order's LEDGER record.
        seq, durable, ts: of the record's head.
        tag: the run's, its eight bytes as an int64.
        refs: ref | ref2 << 32.
        before: check of the record before.
    Returns:
        The record's check.
    """
    to = carray(pointer(record), (16,), np.uint64)
    order = carray(pointer(line), (23,), np.int64)
    side, kind = order[_SIDE], order[_TYPE]
    low, high = order[_LOW], order[_HIGH]
    tick = order[_PRICE]
    if kind == _MARKET:
        tick = high if side > 0 else low
    to[0] = np.uint64(seq)
    to[1] = np.uint64(durable)
    to[2] = np.uint64(ts)
    to[3] = np.uint64(tag)
    to[4] = np.uint64(order[_ORDER_ID])
    to[5] = np.uint64(refs)
    head = _INTENT | (side & 0xFF) << 8 | (kind & 0xFF) << 16 | (order[_PURPOSE] & 0xFF) << 24
    to[6] = np.uint64(head)
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
    to[6] = np.uint64(head | check << 32)
    return check


def entry_point() -> Any:
    """Return `write_intent` as a bare function of integers."""
    (compiled,) = write_intent.overloads.values()
    return compiled.entry_point
