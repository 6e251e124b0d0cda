"""The tape of a live run: the ring is the mapped segment file that a decoder writes into.

One thread, that of the event loop, writes. A message is decoded into the rows behind `at`; `commit`
publishes them as one packet. Single rows of the engine's own go through `push`. A helper thread
allocates and touches the next segment ahead, cuts full ones to size, and hashes complete blocks.

    count = decode_into(message, tape.memory, tape.at, now)     # writes, publishes nothing
    if count < 0 and tape.reserve(needed_rows): ...decode again, into the next segment
    if count > 0: tape.commit(count)                            # False: the tape is exhausted

Where no next segment can be had (disk full) the last rows of the open one are kept for rows that
must not be lost (wakes, acknowledgements, fills, control): `commit` then refuses, `exhausted` is
set and `on_exhausted` called, and both end by themselves when there is room again.
"""

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np

from engine.errors import RunError
from engine.instruments import Instrument
from engine.rows import LAST, Kind
from engine.tape_hash import BlockHashes, tape_hash
from engine.tape_info import BLOCK_ROWS, TapeInfo, content_sha256, segment_path, write_info
from engine.tape_open import OpenSegment, begin_folder
from engine.tape_rows import entry_points

LIVE_SEGMENT_ROWS = 1 << 20  # 64 MiB
RESERVED_ROWS = 4096  # of the last segment on a full disk: for what must not be lost
RETRY_S = 1.0  # how often a full disk is asked again
WAIT_S = 1.0  # how long a rollover waits for a segment that is being made
RECORDED = "recorded"
NOTHING = (0, 0, 0, 0, 0)
_WAKE_HEAD = (int(Kind.WAKE) << 16) | (LAST << 32)


class LiveTape:
    """The one writer of a live run's tape; see above. Wakes are recorded.

    Attributes:
        memory: the open segment's rows as writable bytes; another object after a rollover.
        at: index of the next row in `memory`.
        address: of the open segment's first row; first_row: its number on the tape.
        limit: rows before this index may be published; 0 while the tape is exhausted.
        mark: `passed_mark` is called once `at` has reached it; for machine code that publishes.
        cursor: nothing before this row is needed in memory: full segments are unmapped.
        exhausted: no room for market data now.
        failure: why no segment can be made, empty where one can.
    """

    memory: memoryview
    at: int
    first_row: int
    address: int
    limit: int
    mark: int

    def __init__(
        self,
        folder: Path,
        instruments: Sequence[Instrument],
        *,
        segment_rows: int = LIVE_SEGMENT_ROWS,
        on_exhausted: Callable[[str], None] = lambda reason: None,
    ) -> None:
        """Create folder, `tape.json` and the first segment, and start the helper thread.

        Args:
            folder: must not hold a tape yet.
            instruments: the tape's table; `instrument` of a row is an index into it.
            segment_rows: capacity of a segment; no packet may be longer.
            on_exhausted: called in the writing thread, once each time the tape is exhausted.
        Raises:
            RunError: no space, or the folder cannot be written.
        """
        assert segment_rows >= 8
        assert 0 < len(instruments) < 1 << 16
        self.folder = folder
        self.instruments = tuple(instruments)
        self.exhausted = False
        self.failure = ""
        self._capacity = segment_rows
        self._reserved = min(RESERVED_ROWS, segment_rows // 4)
        self._step = min(BLOCK_ROWS, segment_rows)  # rows between two looks of the helper
        self._on_exhausted = on_exhausted
        self._publish, self._push, self._push_wake = entry_points()
        self._hashes = BlockHashes()
        self._hash_lock = threading.Lock()
        self._list_lock = threading.Lock()
        self._last_hash = (0, tape_hash([]))
        self.cursor = 0
        self._made = 0  # segments made so far
        self._next: OpenSegment | None = None
        self._lock = begin_folder(folder, TapeInfo(wakes=RECORDED, instruments=self.instruments))
        self._open: OpenSegment | None = None
        self._segments: tuple[OpenSegment, ...] = ()
        try:
            self._begin(self._new_segment(), 0)
        except BaseException:
            os.close(self._lock)
            raise
        self._closing = False
        self._work = threading.Event()
        self._ready = threading.Event()
        self._work.set()
        self._thread = threading.Thread(target=self._keep, name="tape-keeper", daemon=True)
        self._thread.start()

    @property
    def rows(self) -> int:
        """Rows on the tape: the number of the next one, `head` for the kernel."""
        return self.first_row + self.at

    def commit(self, count: int) -> bool:
        """Publish the `count` rows behind `at`, one packet; False when there is no room for them.

        The last of them carries LAST. Nothing is published then, and nothing is lost but them.
        """
        at = self.at
        end = at + count
        if end > self.limit and not self._extended(end):
            return False
        self._publish(self.address, at, count, self.first_row)
        self.at = end
        if end >= self.mark:
            self.passed_mark()
        return True

    def passed_mark(self) -> None:
        """Wake the helper: `at` has reached `mark`."""
        self.mark = self.at + self._step
        self._work.set()

    def reserve(self, count: int) -> bool:
        """Make room for a packet of `count` rows, in the next segment where it must be.

        Returns:
            False when there is none now, or no segment is long enough.
        """
        end = self.at + count
        if end <= self.limit:
            return True
        if count > self._capacity:
            return False
        return self._extended(end) if end <= self._capacity else self._roll_over()

    def push(
        self, head: int, ts_event: int, ts_recv: int, payload: tuple[int, ...] = NOTHING
    ) -> None:
        """Write and publish one row, a packet of its own, also into the reserved room.

        Args:
            head: see engine/row_words.py.
            ts_event: ns.
            ts_recv: ns.
            payload: the five slots as int64.
        Raises:
            RunError: even the reserved room is full.
        """
        if self.at == self._capacity and not self._roll_over():
            raise RunError(f"{self.folder}: the tape is full ({self.failure})")
        at = self.at
        self._push(self.address, at, self.first_row, ts_event, ts_recv, head, *payload)
        self.at = at + 1
        if at + 1 >= self.mark:
            self.passed_mark()

    def wake(self, ts_recv: int) -> bool:
        """Append a WAKE row: what lies before it may now be decided on.

        Returns:
            False, and no row, where the tape is exhausted and half of the reserved room is used:
            the rest is for what comes from a venue.
        """
        if self.exhausted and self._capacity - self.at <= self._reserved // 2:
            return False
        at = self.at
        if at == self._capacity:
            self.push(_WAKE_HEAD, 0, ts_recv)  # into the next segment
            return True
        self._push_wake(self.address, at, self.first_row, ts_recv)
        self.at = at = at + 1
        if at >= self.mark:
            self.passed_mark()
        return True

    def append(self, rows: np.ndarray) -> bool:
        """Copy one packet, ROW[n] whose last row carries LAST; False when there is no room."""
        count = len(rows)
        assert count > 0
        assert rows["flags"][-1] & LAST, "a packet is cut off"
        if not self.reserve(count):
            return False
        self.memory[self.at * 64 : (self.at + count) * 64] = rows.view(np.uint8).data
        return self.commit(count)

    def windows(self, cursor: int) -> Iterator[tuple[int, int, int]]:
        """Yield (address of row first_row, first_row, stop_row) of what lies at and after `cursor`.

        Drain each in order. More than one stands only while rows before a rollover wait.
        """
        for segment in self._segments:
            stop = segment.first_row + (self.at if segment is self._open else segment.head)
            if stop > cursor:
                yield segment.address, segment.first_row, stop

    def tape_hash_at(self, row: int) -> str:
        """Return the hash over all complete blocks before row number `row`, for the audit's links.

        May be called from any thread.
        """
        blocks = row // BLOCK_ROWS
        with self._hash_lock:
            self._hash_to(blocks * BLOCK_ROWS)
            if self._last_hash[0] != blocks:
                self._last_hash = (blocks, tape_hash(self._hashes.blocks[:blocks]))
            return self._last_hash[1]

    def close(self, *, notes: Sequence[str] = ()) -> TapeInfo:
        """Cut the last segment, hash what is left, and write the final `tape.json`."""
        assert self._open is not None, "the tape is closed"
        self._stop_helper()
        self._open.head = self.at
        rows = self.rows
        with self._hash_lock:
            self._finish_full()
            self._open.finish(sync=False)
            self._hash_to(rows)
            blocks = self._hashes.all_blocks()
        info = TapeInfo(
            wakes=RECORDED,
            instruments=self.instruments,
            rows=rows,
            block_sha256=tuple(blocks),
            sha256=content_sha256(self.instruments, RECORDED, rows, blocks),
            notes=tuple(notes),
        )
        write_info(self.folder, info)
        self.abandon()
        return info

    def abandon(self) -> None:
        """Let go without finishing: the tape stays as after a crash."""
        self._stop_helper()
        for segment in self._segments:
            segment.close()
        self._segments, self._open = (), None
        self.memory = memoryview(bytearray())
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def _begin(self, segment: OpenSegment, first_row: int) -> None:
        """Go on in a new segment."""
        segment.begin(first_row, RECORDED)
        with self._list_lock:
            self._segments = (*self._segments, segment)
            self._open = segment
            self.address = segment.address
            self.first_row = first_row
            self.at = 0
        self.memory = segment.memory
        self.limit = self._capacity - self._reserved  # until the one after it is there
        self.mark = self._step

    def _roll_over(self) -> bool:
        """Go on in the next segment; wait a little for one that is being made."""
        assert self._open is not None, "the tape is closed"
        if not self._next_is_ready():
            self._say_exhausted()
            return False
        segment, self._next = self._next, None
        assert segment is not None
        self._ready.clear()
        self._open.head = self.at
        self._begin(segment, self.rows)
        self._work.set()
        return True

    def _extended(self, end: int) -> bool:
        """Say whether the reserved room may be used, because the next segment is there."""
        assert end <= self._capacity, "a packet was written beyond its segment"
        if self._next_is_ready():
            self.limit = self._capacity
            return True
        self._say_exhausted()
        return False

    def _next_is_ready(self) -> bool:
        """Wait for a segment that is being made, unless making it has failed."""
        if self._next is None and not self.failure:
            self._ready.wait(WAIT_S)
        return self._next is not None

    def _say_exhausted(self) -> None:
        """Note that there is no room, once until there is."""
        if not self.exhausted:
            self.exhausted = True
            self.limit = 0
            self._on_exhausted(self.failure or "the next segment is not ready")

    def _keep(self) -> None:
        """Make segments ahead, cut full ones, hash complete blocks, until the end or an error."""
        try:
            while not self._closing:
                self._work.wait(RETRY_S if self.failure else None)
                self._work.clear()
                if not self._closing:
                    self._keep_once()
        except Exception as error:  # seen by the writer at its next rollover
            self.failure = f"the tape's helper ended ({error})"
            self._ready.set()

    def _keep_once(self) -> None:
        if self._next is None:
            self._make_next()
        with self._hash_lock:
            self._finish_full()
            self._hash_to(self._seen()[2] // BLOCK_ROWS * BLOCK_ROWS)
            self._drop_behind()

    def _make_next(self) -> None:
        """Allocate and touch the next segment."""
        try:
            self._next = self._new_segment()
        except RunError as error:
            self.failure = str(error)
            self._ready.set()  # nobody waits for it in vain
            return
        self.failure = ""
        self.exhausted = False
        self._ready.set()

    def _new_segment(self) -> OpenSegment:
        segment = OpenSegment(segment_path(self.folder, self._made), self._capacity)
        try:
            segment.touch()
        except BaseException:
            segment.discard()
            raise
        self._made += 1
        return segment

    def _seen(self) -> tuple[tuple[OpenSegment, ...], OpenSegment | None, int]:
        """Return (segments, the open one, rows) as they stand together."""
        with self._list_lock:
            return self._segments, self._open, self.rows

    def _finish_full(self) -> None:
        """Cut the segments that are full; their rows stay readable."""
        segments, opened, _ = self._seen()
        for segment in segments:
            if segment is not opened and not segment.finished:
                segment.finish(sync=False)

    def _hash_to(self, row: int) -> None:
        """Hash the published rows up to `row`."""
        segments, opened, rows = self._seen()
        assert row <= rows, f"row {row} is not on the tape yet"
        for segment in segments:
            start = self._hashes.rows - segment.first_row
            stop = row - segment.first_row
            if segment is not opened:
                stop = min(stop, segment.head)
            if 0 <= start < stop:
                self._hashes.add(segment.rows[start:stop])

    def _drop_behind(self) -> None:
        """Unmap the segments that lie behind cursor and hashes."""
        done = min(self.cursor, self._hashes.rows)
        segments, opened, _ = self._seen()
        for segment in segments:
            if segment is opened or segment.first_row + segment.head > done:
                break
            with self._list_lock:
                self._segments = tuple(one for one in self._segments if one is not segment)
            segment.close()

    def _stop_helper(self) -> None:
        """End the helper thread; remove the segment it made ahead."""
        self._closing = True
        self._work.set()
        if self._thread.is_alive():
            self._thread.join()
        if self._next is not None:
            self._next.discard()
            self._next = None
