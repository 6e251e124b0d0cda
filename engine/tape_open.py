"""One segment of a tape that is being written: a mapped file whose blocks are allocated."""

import contextlib
import errno
import fcntl
import mmap
import os
from pathlib import Path

import numpy as np

from engine.errors import RunError
from engine.rows import ROW, ROW_BYTES, TAPE_VERSION
from engine.tape_info import HEADER, HEADER_BYTES, MAGIC, WAKES, TapeInfo, is_tape, write_info

WORDS = ROW_BYTES // 8
TOUCH_PAGES = 1024  # pages touched at one go


class OpenSegment:
    """A mapped file. Without `begin` it has no header: readers and repairs pass over it."""

    def __init__(self, path: Path, capacity: int) -> None:
        """Create the file with all its blocks, mode 0600.

        Raises:
            RunError: no space, or it cannot be created.
        """
        size = HEADER_BYTES + capacity * ROW_BYTES
        self.path = path
        self.capacity = capacity
        self.first_row = 0
        self.head = 0  # rows stored; set by put, or by who writes rows itself
        self.finished = False
        self._descriptor = allocated(path, size)
        try:
            self._map = mmap.mmap(self._descriptor, size)
        except (OSError, ValueError) as error:
            os.close(self._descriptor)
            path.unlink()
            raise RunError(f"{path}: cannot be mapped ({error})") from None
        self._header = np.frombuffer(self._map, HEADER, count=1)
        self.rows = np.frombuffer(self._map, ROW, count=capacity, offset=HEADER_BYTES)
        self._words = self.rows.view(np.uint64).reshape(-1, WORDS)
        self.address = int(self.rows.ctypes.data)  # of the first row, HEADER_BYTES after the header

    def touch(self) -> None:
        """Store to every page once, so that no later store waits for one. Only before `begin`."""
        words = np.frombuffer(self._map, np.uint64)
        page = mmap.PAGESIZE // 8
        for start in range(0, len(words), TOUCH_PAGES * page):
            words[start : start + TOUCH_PAGES * page : page] = 0

    def begin(self, first_row: int, wakes: str) -> None:
        """Write the header: from now on the segment is part of the tape."""
        self.first_row = first_row
        header = self._header[0]
        header["version"] = TAPE_VERSION
        header["row_bytes"] = ROW_BYTES
        header["first_row"] = first_row
        header["capacity"] = self.capacity
        header["wakes"] = WAKES.index(wakes)
        header["magic"] = MAGIC

    @property
    def memory(self) -> memoryview:
        """The rows as writable bytes."""
        return memoryview(self.rows.view(np.uint8))

    @property
    def room(self) -> int:
        """Rows that still fit."""
        return self.capacity - self.head

    def put(self, rows: np.ndarray) -> None:
        """Store rows, each one's `kind` after the rest of it. Changes `rows`."""
        stop = self.head + len(rows)
        assert stop <= self.capacity
        kinds = rows["kind"].copy()
        rows["kind"] = 0
        self._words[self.head : stop] = rows.view(np.uint64).reshape(-1, WORDS)
        self.rows["kind"][self.head : stop] = kinds
        rows["kind"] = kinds
        self.head = stop

    def publish(self) -> None:
        """Tell the readers of all rows stored so far."""
        self._header["head"][0] = self.head

    def finish(self, *, sync: bool) -> None:
        """Cut the file to the rows it holds. Rows up to `head` may still be read."""
        self.publish()
        self.finished = True
        self._header["capacity"][0] = self.head
        os.ftruncate(self._descriptor, HEADER_BYTES + self.head * ROW_BYTES)
        if sync:
            os.fsync(self._descriptor)

    def discard(self) -> None:
        """Remove the file of a segment that was never begun."""
        self.path.unlink(missing_ok=True)
        self.close()

    def close(self) -> None:
        """Let go of the file. The mapping ends with the last view of the rows."""
        del self._header, self.rows, self._words
        with contextlib.suppress(BufferError):  # a decoder still holds the buffer: it ends later
            self._map.close()
        os.close(self._descriptor)


def begin_folder(folder: Path, info: TapeInfo) -> int:
    """Create a tape's folder (0700) with `tape.json`; return the lock on it, a descriptor.

    The lock is held while the writer lives: repairs refuse a tape that is being written.

    Raises:
        RunError: the folder cannot be written.
    """
    assert not is_tape(folder), f"{folder} holds a tape"
    lock = -1
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        write_info(folder, info)
    except OSError as error:
        if lock >= 0:
            os.close(lock)
        raise RunError(f"{folder}: cannot write a tape here ({error.strerror})") from None
    return lock


def allocated(path: Path, size: int) -> int:
    """Create a file of `size` bytes with all its blocks, mode 0600; return its descriptor.

    A file that is only truncated to size kills its writer with SIGBUS on a full disk.
    """
    descriptor = -1
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        os.posix_fallocate(descriptor, 0, size)
    except OSError as error:
        if descriptor >= 0:
            os.close(descriptor)
            path.unlink()
        reason = "no space left" if error.errno == errno.ENOSPC else error.strerror
        raise RunError(
            f"{path}: cannot allocate {size / 1e6:.0f} MB for the tape ({reason})"
        ) from None
    return descriptor
