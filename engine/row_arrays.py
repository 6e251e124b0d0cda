"""Copy, join and select ROW arrays as plain 64-byte items.

NumPy treats a dtype with overlapping fields field by field: a copy costs 70 ns a row instead of 1,
and np.concatenate even repacks it and loses bytes.
"""

from collections.abc import Sequence

import numpy as np

from engine.rows import ROW, ROW_BYTES

_ITEM = np.dtype(f"V{ROW_BYTES}")


def copy_rows(rows: np.ndarray) -> np.ndarray:
    """Return a writable copy of ROW[n]."""
    return rows.view(_ITEM).copy().view(ROW)


def take_rows(rows: np.ndarray, which: np.ndarray | slice) -> np.ndarray:
    """Return the rows of ROW[n] at int64[m] places, where bool[n] is true, or of a slice."""
    return rows.view(_ITEM)[which].view(ROW)


def join_rows(parts: Sequence[np.ndarray]) -> np.ndarray:
    """Return ROW arrays one behind the other; a single one is returned as it is.

    >>> join_rows([np.zeros(2, ROW), np.zeros(3, ROW)]).shape
    (5,)
    """
    if len(parts) == 1:
        return parts[0]
    return np.concatenate([part.view(_ITEM) for part in parts]).view(ROW)
