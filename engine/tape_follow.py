"""Read a tape while another process writes it: the same pages, a cursor of one's own."""

import fcntl
import mmap
import os
from pathlib import Path

import numpy as np

from engine.errors import DataError
from engine.rows import ROW, ROW_BYTES
from engine.tape_info import HEADER, HEADER_BYTES, MAGIC, checked_header, segment_path


class TapeFollower:
    """Hands out rows as they are published. Rows behind the cursor are unmapped segment by segment.

    It never waits and never writes; how often to look is the caller's business.
    """

    def __init__(self, folder: Path) -> None:
        """Begin with row 0 of a tape that exists.

        Raises:
            DataError: the folder holds no segment.
        """
        self.folder = folder
        self.cursor = 0  # number of the next row to be handed out
        self._number = 0
        self._segment = _map(segment_path(folder, 0))
        if self._segment is None:
            raise DataError(f"{folder}: no tape is written here")

    def read(self, max_rows: int = 65_536) -> np.ndarray:
        """Return the next published rows, ROW[0..max_rows], read-only and in whole packets' order.

        The array is a view of the mapping, valid as long as it is kept. Empty when there is nothing
        new now.
        """
        assert self._segment is not None
        rows = self._rows_ahead(max_rows)
        if len(rows) == 0:
            following = _map(segment_path(self.folder, self._number + 1))
            if following is None:
                return rows
            rows = self._rows_ahead(max_rows)  # published before the next segment began
            if len(rows) == 0:
                self._segment = following
                self._number += 1
                rows = self._rows_ahead(max_rows)
        self.cursor += len(rows)
        return rows

    def _rows_ahead(self, max_rows: int) -> np.ndarray:
        assert self._segment is not None
        header, rows = self._segment
        start = self.cursor - int(header["first_row"])
        head = int(header["head"])
        return rows[start : min(head, start + max_rows)]


def is_being_written(folder: Path) -> bool:
    """Say whether a living process writes this tape: it holds a lock on the folder."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(descriptor)
    return False


def _mapped(descriptor: int) -> mmap.mmap:
    """Map a whole segment; its writer may cut it to size between two looks, once."""
    try:
        return mmap.mmap(descriptor, os.fstat(descriptor).st_size, prot=mmap.PROT_READ)
    except ValueError:
        return mmap.mmap(descriptor, os.fstat(descriptor).st_size, prot=mmap.PROT_READ)


def _map(path: Path) -> tuple[np.void, np.ndarray] | None:
    """Map a segment for reading; None where there is none, or its header is not written yet."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        page = os.pread(descriptor, HEADER_BYTES, 0)
        if page[: len(MAGIC)] != MAGIC:
            return None
        checked_header(page, path)
        mapped = _mapped(descriptor)
    finally:
        os.close(descriptor)
    header = np.frombuffer(mapped, HEADER, count=1)[0]
    count = (len(mapped) - HEADER_BYTES) // ROW_BYTES
    return header, np.frombuffer(mapped, ROW, count=count, offset=HEADER_BYTES)
