"""Map one segment of a tape for reading, and look for rows that are not whole."""

import mmap
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from engine.errors import DataError
from engine.rows import ROW, ROW_BYTES, Kind, row_checks
from engine.tape_info import BLOCK_ROWS, HEADER_BYTES, WAKES, checked_header


class Segment:
    """A mapped segment. `rows` is valid as long as the segment lives."""

    def __init__(self, path: Path) -> None:
        """Map a file.

        Raises:
            DataError: unreadable, foreign, or cut off inside its header.
        """
        self.path = path
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise DataError(f"{path}: cannot be read ({error.strerror})") from None
        try:
            header = checked_header(os.pread(descriptor, HEADER_BYTES, 0), path)
            size = os.fstat(descriptor).st_size
            self._map = mmap.mmap(descriptor, size, prot=mmap.PROT_READ)
        finally:
            os.close(descriptor)
        self.first_row = int(header["first_row"])
        self.head = int(header["head"])  # rows that the writer published
        self.wakes = WAKES[int(header["wakes"]) % len(WAKES)]
        there = min(self.head, (size - HEADER_BYTES) // ROW_BYTES)
        self.rows: np.ndarray = np.frombuffer(self._map, ROW, count=there, offset=HEADER_BYTES)
        self.address: int = self.rows.ctypes.data  # of rows[0]
        self._released = 0

    @property
    def stop_row(self) -> int:
        """Number of the row after the last one here."""
        return self.first_row + len(self.rows)

    def release(self, row: int) -> None:
        """Let go of the pages before row number `row`; reading them again maps them again."""
        behind = HEADER_BYTES + min(max(row - self.first_row, 0), len(self.rows)) * ROW_BYTES
        behind -= behind % mmap.PAGESIZE
        if behind > self._released:
            self._map.madvise(mmap.MADV_DONTNEED, self._released, behind - self._released)
            self._released = behind

    def strides(self) -> Iterator[tuple[int, np.ndarray]]:
        """Yield (row number, ROW[<= 65,536]) over the segment, letting go of what lies behind."""
        self._released = 0
        for start in range(0, len(self.rows), BLOCK_ROWS):
            yield self.first_row + start, self.rows[start : start + BLOCK_ROWS]
            self.release(self.first_row + start + BLOCK_ROWS)
        self._released = 0


def whole_rows(rows: np.ndarray, first_row: int) -> np.ndarray:
    """Return bool[n]: which rows have a kind and the right check for their place."""
    return (rows["kind"] != Kind.EMPTY) & (rows["check"] == row_checks(rows, first_row))
