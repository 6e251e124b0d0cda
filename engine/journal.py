"""The account's journal: every intent, answer, fill and latch, before and after the venue knows.

One engine at a time holds an account (a lock on its folder). A record is packed, checked and copied
into a mapped, preallocated file: it survives the process from then on (`written`); `durable` of
engine/journal_sync.py waits until it survives a power loss (`synced`). See journal_layout.py.
"""

import hashlib
import os
import threading
from array import array
from collections.abc import Callable, Sequence
from pathlib import Path

from engine.account_lock import AccountLock
from engine.errors import DataError, JournalError
from engine.journal_intent import HASHED_AT_ONCE, Word
from engine.journal_layout import (
    AT_ONCE,
    CHAIN_RECORDS,
    HEAD,
    NAME_BYTES,
    NUMBERS,
    RECORD_BYTES,
    FileHeader,
    Kind,
    Record,
    put_check,
)
from engine.journal_segment import (
    AHEAD,
    MappedSegment,
    allocate,
    scan_segment,
    segment_path,
    segment_paths,
    sync_folder,
)

POLICIES = ("written", "synced")
SEGMENT_RECORDS = 1 << 16  # 8 MiB a file
RESERVED_RECORDS = 4096  # of the last segment: for answers, fills and cancels when the disk is full
TOUCHED_RECORDS = 1024  # whose pages are touched ahead: a first store waits for the file system
_CHAIN = int(Kind.CHAIN)
Visit = Callable[[Record], None]


class _Shared:
    """An attribute of a journal that machine code reads and writes too."""

    __slots__ = ("_at",)

    def __init__(self, word: Word) -> None:
        self._at = int(word)

    def __get__(self, journal: "Journal", _: type) -> int:
        return journal.words[self._at]

    def __set__(self, journal: "Journal", value: int) -> None:
        journal.words[self._at] = value


class Journal:
    """The one writer of an account's journal.

    Args:
        folder: `runs/accounts/<venue>-<account>`.
        visit: is given every record that is there already, in order, before the constructor ends.
        policy: "written" or "synced"; what `promised` means.
        segment_records: capacity of one file, a multiple of 64.
    Raises:
        UsageError: another engine holds the account.
        DataError: the journal is damaged in the middle; the message says where and what to do.
        JournalError: no space.
    """

    head = _Shared(Word.HEAD)
    synced = _Shared(Word.SYNCED)
    _at = _Shared(Word.AT)
    _check = _Shared(Word.CHECK)

    def __init__(
        self,
        folder: Path,
        visit: Visit,
        policy: str = "written",
        segment_records: int = SEGMENT_RECORDS,
    ) -> None:
        assert policy in POLICIES
        assert segment_records >= CHAIN_RECORDS
        self.folder = folder
        self.policy = policy
        self.failed = ""  # why nothing more can be promised; no order may leave
        self.words = memoryview(array("q", bytes(8 * len(Word))))  # for engine/journal_intent.py
        self.words[Word.PROMISES_DISK] = policy == "synced"
        self.cut = 0  # bytes of a torn tail that the opening removed
        self._files = folder / "journal"
        self._segment_records = segment_records
        self._reserved = min(RESERVED_RECORDS, segment_records // 4)
        self._account = hashlib.sha256(folder.name.encode()).digest()[:16]
        self._chain = bytes(32)
        self._hash = hashlib.sha256(self._chain)
        self._hashed = 0  # records that the chain's open hash has seen
        self._record = bytearray(RECORD_BYTES)
        self._closed = False
        self.before_rotation: Callable[[], None] = lambda: None
        self._ts = 0  # of the last record that Python packed
        self._lock = AccountLock(folder)
        self._ahead: MappedSegment | None = None
        self._allocating = threading.Lock()
        try:
            self._files.mkdir(mode=0o700, exist_ok=True)
            (self._files / AHEAD).unlink(missing_ok=True)
            self._go_on_in(self._open(visit))
        except BaseException:
            self._lock.release()
            raise

    @property
    def _promised_on_disk(self) -> int:
        """What the next record says of those before it."""
        return self.synced if self.policy == "synced" else AT_ONCE

    @property
    def descriptor(self) -> int:
        """The file that a sync must reach; earlier segments are synced when they are full."""
        return self._segment.descriptor

    @property
    def _room(self) -> int:
        """Records that fit without another allocation."""
        return self._segment.capacity - self._at + (self._ahead.capacity if self._ahead else 0)

    def check_room(self) -> None:
        """Make sure that an order's life fits.

        Raises:
            JournalError: it does not, or the journal has failed: the order must not leave. Answers,
                fills and cancels are still taken, in space kept for them.
        """
        if self.failed:
            raise JournalError(self.failed)
        if self._room <= self._reserved:
            self.allocate_ahead()

    def append(
        self,
        kind: int,
        ts: int,
        *,
        tag: bytes = b"",
        ordinal: int = 0,
        ref: int = 0,
        ref2: int = 0,
        side: int = 0,
        order_type: int = 0,
        code: int = 0,
        body: bytes = b"",
        numbers: Sequence[int] = (0,) * 9,
    ) -> int:
        """Store one record; return its number. It survives the process when this returns.

        Raises:
            JournalError: no space is left, not even the reserved one.
        """
        if self._at == self._segment.capacity:
            self._rotate()
        if self.head % CHAIN_RECORDS == 0 and self.head and kind != _CHAIN:
            self._append_chain(ts)
            return self.append(
                kind, ts, tag=tag, ordinal=ordinal, ref=ref, ref2=ref2, side=side,
                order_type=order_type, code=code, body=body, numbers=numbers,
            )  # fmt: skip
        record = self._record
        HEAD.pack_into(
            record, 0, self.head, self._promised_on_disk, ts, tag, ordinal, ref, ref2,
            kind, side, order_type, code, 0,
        )  # fmt: skip
        if body:
            assert len(body) <= NAME_BYTES
            record[HEAD.size :] = body.ljust(NAME_BYTES, b"\0")
        else:
            NUMBERS.pack_into(record, HEAD.size, *numbers)
        self._check = put_check(record, self._check)
        self._segment.put(self._at, record)
        self._ts = ts
        self._at += 1
        self.head += 1
        return self.head - 1

    def make_ready(self, ts: int) -> None:
        """Do what is due before the next intent: room, segment, link.

        Raises:
            JournalError: it cannot be kept: the order must not leave.
        """
        self.check_room()
        if self.head % CHAIN_RECORDS == 0 and self.head:
            self._append_chain(ts)
        if self._at == self._segment.capacity:
            self._rotate()
        self._hash_all()  # a few at a time: the next link finds little left to do

    def settle(self) -> None:
        """Do now what the next intent would have to wait for: pages, hashes, the link that is due.

        What it does not get to is done with a later record.
        """
        self._segment.touch(self._at, TOUCHED_RECORDS)
        self._hash_all()
        if self.head % CHAIN_RECORDS == 0 and self.head and self._at < self._segment.capacity:
            self._append_chain(self._ts)

    def _hash_all(self) -> None:
        """Let the chain see every record."""
        first = self.head - self._at
        assert self._hashed >= first, "a segment was left before it was hashed"
        while self._hashed < self.head:
            seq = self._hashed
            at = (seq - first + 1) * RECORD_BYTES
            if seq % CHAIN_RECORDS == 0 and seq:
                self._link(seq, self._segment.map[at : at + RECORD_BYTES])
                continue
            stop = min(self.head, (seq // CHAIN_RECORDS + 1) * CHAIN_RECORDS, seq + HASHED_AT_ONCE)
            self._hash.update(self._segment.map[at : at + (stop - seq) * RECORD_BYTES])
            self._hashed = stop

    def since(self, seq: int) -> bytes:
        """Return the records from number `seq` on, which must lie in the open segment."""
        at = seq - (self.head - self._at)
        assert at >= 0, "a segment was left before it was read"
        return self._segment.map[(at + 1) * RECORD_BYTES : (self._at + 1) * RECORD_BYTES]

    def allocate_ahead(self) -> None:
        """Allocate the next segment, if there is none. May take milliseconds: call off the loop.

        Raises:
            JournalError: no space.
        """
        with self._allocating:  # a rotation may want it while a thread makes it
            if self._ahead is None:
                path = self._files / AHEAD
                size = (self._segment_records + 1) * RECORD_BYTES
                self._ahead = MappedSegment(path, allocate(path, size))

    def wants_ahead(self) -> bool:
        """Return True when the next segment should be allocated soon."""
        return self._ahead is None and self._at > self._segment.capacity // 2

    def check_place(self) -> None:
        """Make sure that the file is still where it was and as long as it was.

        Raises:
            JournalError: it was moved, deleted, replaced or cut; the journal takes no more intents.
        """
        if not self._segment.in_place():
            self.fail(f"{self._segment.path}: it was moved, deleted or cut while in use")
            raise JournalError(self.failed)

    def fail(self, why: str) -> None:
        """Take no more intents. What is appended still survives the process, if it can."""
        self.failed = self.failed or why
        self.words[Word.SURE] = 0

    def sync(self) -> None:
        """Force everything to the disk, here and now.

        Raises:
            JournalError: the disk refused; never tried again as if it were fine.
        """
        head = self.head
        try:
            os.fdatasync(self.descriptor)
        except OSError as error:
            self.fail(f"{self._segment.path}: the disk refused to keep it ({error.strerror})")
            raise JournalError(self.failed) from None
        self.synced = max(self.synced, head)

    def close(self) -> None:
        """Sync if the policy says so, unmap, let go of the account. Once is enough."""
        if self._closed:
            return
        self._closed = True
        try:
            if self.policy == "synced" and not self.failed:
                self.sync()
        finally:
            self._segment.close()
            if self._ahead is not None:
                self._ahead.close()
                (self._files / AHEAD).unlink(missing_ok=True)
            self._lock.release()

    def _open(self, visit: Visit) -> MappedSegment:
        """Read what is there and go on behind it."""
        paths = segment_paths(self._files)
        if not paths:
            return self._new_segment(segment_path(self._files, 0), self._segment_records)

        def each(record: Record, raw: bytes) -> None:
            self._link(record.seq, raw)
            visit(record)

        for path in paths:
            last = path == paths[-1]
            scan = scan_segment(path, last, each)
            if scan.header.account != self._account or scan.header.first_seq != self.head:
                raise DataError(f"{path}: it belongs to another account or another place")
            if scan.header.check_before != self._check:
                raise DataError(f"{path}: it does not follow the segment before it")
            self.head, self._check = scan.header.first_seq + scan.whole, scan.check
        self._at = scan.whole
        self.cut = scan.cut
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
        try:
            os.posix_fallocate(descriptor, 0, (scan.header.capacity + 1) * RECORD_BYTES)
        except OSError as error:
            os.close(descriptor)
            raise JournalError(f"{path}: no space for the journal ({error.strerror})") from None
        segment = MappedSegment(path, descriptor)
        if self.cut:
            segment.clear_from(self._at)
        return segment

    def _link(self, seq: int, raw: bytes) -> None:
        """Let the chain see a record, in order.

        Raises:
            DataError: a link of the chain does not hold.
        """
        assert seq == self._hashed
        if seq % CHAIN_RECORDS == 0 and seq:
            digest = self._hash.digest()
            if raw[HEAD.size : HEAD.size + 32] != digest:
                raise DataError(
                    f"{self._files}: the hash chain breaks at record {seq}: the journal was edited"
                )
            self._chain = digest
            self._hash = hashlib.sha256(digest)
        else:
            self._hash.update(raw)
        self._hashed += 1

    def _append_chain(self, ts: int) -> None:
        """Store the link that is due here."""
        self._hash_all()
        self.append(_CHAIN, ts, body=self._hash.digest())
        self._hash_all()

    def _rotate(self) -> None:
        """Go on in the next segment."""
        self._hash_all()
        self.before_rotation()
        self.allocate_ahead()
        ahead = self._ahead
        assert ahead is not None
        if self.policy == "synced":
            self.sync()
        number = int(self._segment.path.name.split(".")[0]) + 1
        path = segment_path(self._files, number)
        self._name(ahead, path)
        self._segment.close()
        self._ahead, self._at = None, 0
        self._go_on_in(ahead)

    def _go_on_in(self, segment: MappedSegment) -> None:
        self._segment = segment
        self.words[Word.SEGMENT] = segment.address
        self.words[Word.SURE] = 0 if self.failed else segment.capacity - self._reserved

    def _new_segment(self, path: Path, capacity: int) -> MappedSegment:
        """Allocate a segment and put it in its place."""
        ahead = self._files / AHEAD
        segment = MappedSegment(ahead, allocate(ahead, (capacity + 1) * RECORD_BYTES))
        self._name(segment, path)
        return segment

    def _name(self, segment: MappedSegment, path: Path) -> None:
        """Write a segment's header and give it its name: from here on it is part of the journal."""
        header = FileHeader(self.head, segment.capacity, self._check, self._chain, self._account)
        segment.write_header(header)
        try:
            if self.policy == "synced":
                os.fdatasync(segment.descriptor)
            os.rename(segment.path, path)
            segment.path = path
            if self.policy == "synced":
                sync_folder(self._files)
        except OSError as error:
            self.fail(f"{path}: cannot be kept ({error.strerror})")
            raise JournalError(self.failed) from None
