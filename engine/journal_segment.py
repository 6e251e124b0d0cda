"""Segment files of the account journal: allocated ahead, mapped, scanned for what is whole."""

import errno
import mmap
import os
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from engine.errors import DataError, JournalError
from engine.journal_layout import (
    RECORD_BYTES,
    FileHeader,
    Record,
    pack_header,
    record_check,
    stored_check,
    unpack,
    unpack_header,
)

SUFFIX = ".journal"
AHEAD = "ahead.allocated"  # the next segment, waiting without a header
_ZEROS = bytes(RECORD_BYTES)
_BLOCK = 1 << 16


def segment_path(folder: Path, number: int) -> Path:
    """Return a segment's file."""
    return folder / f"{number:06d}{SUFFIX}"


def segment_paths(folder: Path) -> list[Path]:
    """Return the segment files of a journal in order.

    Raises:
        DataError: one is missing in the row.
    """
    paths = sorted(folder.glob(f"*{SUFFIX}"))
    for number, path in enumerate(paths):
        if path != segment_path(folder, number):
            raise DataError(
                f"{segment_path(folder, number)} is missing: restore it from a copy; "
                "without it the account's orders and fills are not known"
            )
    return paths


def allocate(path: Path, size: int) -> int:
    """Create a file of `size` bytes with all its blocks, mode 0600; return its descriptor.

    No record is ever written by `write`: there is no short write, and no page of a mapped file is
    without its block, which would kill the process on a full disk.

    Raises:
        JournalError: no space, or the folder cannot be written; no file is left.
    """
    descriptor = -1
    try:
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
        descriptor = os.open(path, flags, 0o600)
        os.posix_fallocate(descriptor, 0, size)
    except OSError as error:
        if descriptor >= 0:
            os.close(descriptor)
            path.unlink(missing_ok=True)
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        reason = "no space left" if full else error.strerror
        raise JournalError(
            f"{path}: cannot allocate {size / 1e6:.1f} MB for the account's journal ({reason}); "
            "no order leaves without it"
        ) from None
    return descriptor


class MappedSegment:
    """A segment that is being written."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self.path = path
        self.descriptor = descriptor
        self.size = os.fstat(descriptor).st_size
        self.map = mmap.mmap(descriptor, self.size)
        self._view = np.frombuffer(self.map, np.uint8)
        self.address = int(self._view.ctypes.data)  # of the header
        self.capacity = self.size // RECORD_BYTES - 1

    def write_header(self, header: FileHeader) -> None:
        """Store the header."""
        self.map[:RECORD_BYTES] = pack_header(header)

    def put(self, at: int, record: bytes | bytearray) -> None:
        """Store record number `at` of this segment."""
        start = (at + 1) * RECORD_BYTES
        self.map[start : start + RECORD_BYTES] = record

    def touch(self, at: int, count: int) -> None:
        """Store to the pages of records [at, at + count) what stands there."""
        start = (at + 1) * RECORD_BYTES
        pages = self._view[start : min(start + count * RECORD_BYTES, self.size) : mmap.PAGESIZE]
        pages |= np.uint8(0)

    def clear_from(self, at: int) -> None:
        """Put zeros from record `at` to the end."""
        for start in range((at + 1) * RECORD_BYTES, self.size, _BLOCK):
            stop = min(start + _BLOCK, self.size)
            if any(self.map[start:stop]):
                self.map[start:stop] = bytes(stop - start)

    def in_place(self) -> bool:
        """Return True while the path still leads to this file, with its size."""
        try:
            there = os.stat(self.path, follow_symlinks=False)
        except OSError:
            return False
        ours = os.fstat(self.descriptor)
        same = (there.st_dev, there.st_ino) == (ours.st_dev, ours.st_ino)
        return same and there.st_size == self.size

    def close(self) -> None:
        """Unmap and close; what was stored stays."""
        self._view = np.zeros(0, np.uint8)  # a map that is looked into cannot be closed
        self.map.close()
        os.close(self.descriptor)


def sync_folder(folder: Path) -> None:
    """Make new names in a folder survive a power loss."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class Scan(NamedTuple):
    """What a segment was found to hold."""

    header: FileHeader
    whole: int  # records
    check: int  # of the last one
    cut: int  # bytes of a torn tail behind them that must be cleared


def scan_segment(path: Path, last: bool, visit: Callable[[Record, bytes], None]) -> Scan:
    """Read a segment, give every whole record to `visit`, and judge what follows them.

    Raises:
        DataError: damage that is no torn tail, with the offset and what to do.
    """
    with open(path, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        header = unpack_header(file.read(RECORD_BYTES))
        if isinstance(header, str):
            raise DataError(f"{path}: {header}; restore the file from a copy")
        if size > (header.capacity + 1) * RECORD_BYTES:
            raise DataError(f"{path}: it grew outside the engine; restore the file from a copy")
        with mmap.mmap(file.fileno(), size, prot=mmap.PROT_READ) as data:
            whole, check, durable = _whole_records(data, header, visit)
            rest = bytes(data[(whole + 1) * RECORD_BYTES :])
    used = len(rest.rstrip(b"\0"))
    if not last and whole < header.capacity:
        raise DataError(_advice(path, whole, "a record is damaged or missing"))
    if used > RECORD_BYTES and not _never_promised(rest, header.first_seq + whole, durable):
        raise DataError(_advice(path, whole, "a record in the middle is damaged"))
    return Scan(header, whole, check, used)


def _whole_records(
    data: mmap.mmap, header: FileHeader, visit: Callable[[Record, bytes], None]
) -> tuple[int, int, int]:
    """Visit records up to the first that is not whole: (count, last check, last durable)."""
    check, durable = header.check_before, 0
    for at in range(header.capacity):
        start = (at + 1) * RECORD_BYTES
        raw = data[start : start + RECORD_BYTES]
        if len(raw) < RECORD_BYTES or stored_check(raw) != record_check(raw, check):
            return at, check, durable
        record = unpack(raw)
        if record.seq != header.first_seq + at:
            return at, check, durable
        check = record.check
        durable = record.durable
        visit(record, raw)
    return header.capacity, check, durable


def _never_promised(rest: bytes, first_seq: int, durable: int) -> bool:
    """Return True when no record behind the damage was ever promised to be on the disk.

    Power loss may keep a later page and lose an earlier one. Under `synced` each record says how
    many were promised when it was written; if that lies before the damage in the last whole record
    and in every later one that can still be read, nothing was sent on the strength of what is lost.
    Under `written` nothing is cut but one record.
    """
    promised = durable
    for start in range(RECORD_BYTES, len(rest), RECORD_BYTES):
        raw = rest[start : start + RECORD_BYTES].ljust(RECORD_BYTES, b"\0")
        before = stored_check(rest[start - RECORD_BYTES : start])
        if raw != _ZEROS and stored_check(raw) == record_check(raw, before):
            promised = max(promised, unpack(raw).durable)
    return promised <= first_seq


def _advice(path: Path, whole: int, what: str) -> str:
    """Say where a journal is damaged and what can be done."""
    offset = (whole + 1) * RECORD_BYTES
    return (
        f"{path}: {what} at offset {offset}; nothing was changed: restore the file from a copy, or "
        "move the account's folder away and start anew after checking orders and balances at the "
        "venue"
    )
