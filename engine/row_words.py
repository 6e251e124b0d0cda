"""Single words of a row, for those who write rows without an array: `LiveTape.push` takes them."""

import struct

from engine.rows import LAST


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
