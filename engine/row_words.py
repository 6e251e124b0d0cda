"""Single rows for those who have no array of them: words for `LiveTape.push`, a row in memory."""

import ctypes
import struct

import numpy as np

from engine.rows import LAST, ROW, ROW_BYTES


def row_head(kind: int, instrument: int = 0, side: int = 0, flags: int = LAST) -> int:
    """Return the third word of a row, without its check, for `LiveTape.push`.

    >>> hex(row_head(2, 7, -1))
    '0x1ff020007'
    """
    return instrument | (kind << 16) | ((side & 0xFF) << 24) | (flags << 32)


def float_word(value: float) -> int:
    """Return the bits of a float64 as int64, for a payload slot.

    >>> hex(float_word(1.0))
    '0x3ff0000000000000'
    """
    return int(struct.unpack("<q", struct.pack("<d", value))[0])


def row_at(rows: int, index: int) -> np.void:
    """Return a row of a mapped segment; valid while the segment is.

    Args:
        rows: address of the segment's first row.
        index: of the row in it.
    """
    address = rows + index * ROW_BYTES
    row: np.void = np.frombuffer((ctypes.c_char * ROW_BYTES).from_address(address), ROW)[0]
    return row
