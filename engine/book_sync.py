"""The snapshot-and-delta procedure of order books, as a pure state machine for feed and importer.

    EMPTY --delta--> BUFFERING --snapshot that reaches the buffer--> SYNCED --gap--> BUFFERING

It decides which packets a book must apply, and in which order; it never looks into them. The rules
of one venue stand in venues/<venue>/sync.py.
"""

from enum import IntEnum
from typing import Generic, NamedTuple, TypeVar

Packet = TypeVar("Packet")
MAX_BUFFERED = 10_000  # deltas kept while a snapshot is awaited; above that the oldest go
MAX_BEHIND = 8  # deltas in a row behind all that is kept, after which the ids began anew


class SyncState(IntEnum):
    """What is known of a book."""

    EMPTY = 0
    BUFFERING = 1
    SYNCED = 2


class GapReason(IntEnum):
    """Why a GAP row stands on the tape. Values are part of the tape format: only append."""

    SEQUENCE = 1  # an update id does not follow the one before
    STALE_SNAPSHOT = 2
    DISCONNECT = 3
    BAD_MESSAGE = 4  # a message of this stream could not be read
    STALE = 5  # nothing came for too long
    LOST = 6  # messages came and are not on the tape: it was full, or their ids began anew


class SyncRule(NamedTuple):
    """What differs between venues.

    Attributes:
        chained: each delta names the last id before it (`pu`); else first ids follow last ids.
    """

    chained: bool


class Delta(NamedTuple, Generic[Packet]):
    """One update message: ids and whatever the caller wants back."""

    first_id: int
    last_id: int
    prev_id: int
    packet: Packet


class BookSync(Generic[Packet]):
    """The sync of one instrument's book."""

    def __init__(self, rule: SyncRule) -> None:
        """Start with nothing known."""
        self.rule = rule
        self.state = SyncState.EMPTY
        self.book_id = 0  # last update id that is in the book
        self.dropped = 0  # deltas that no book needed: old, repeated, or before the snapshot
        self.gaps = 0
        self.gap: GapReason | None = None  # set by the call that found it
        self._buffer: list[Delta[Packet]] = []
        self._behind = 0  # deltas in a row with ids below all that is kept
        self._fresh = False  # the first delta after a snapshot has not come yet

    @property
    def needs_snapshot(self) -> bool:
        """Say whether a snapshot must be fetched."""
        return self.state != SyncState.SYNCED

    def on_delta(self, delta: Delta[Packet]) -> Packet | None:
        """Take an update message.

        Returns:
            the packet if the book must apply it now, else None. After the call `gap` says whether
            a gap was found: the book is then unknown until the next snapshot.
        """
        self.gap = None
        if self.state != SyncState.SYNCED:
            self._keep(delta)
            return None
        if self._is_old(delta):
            self.dropped += 1
            return None
        if not self._follows(delta):
            self._lose(GapReason.SEQUENCE)
            self._keep(delta)
            return None
        self.book_id = delta.last_id
        self._fresh = False
        return delta.packet

    def on_snapshot(self, last_id: int, packet: Packet) -> list[Packet]:
        """Take a full book.

        Returns:
            the packets to apply, in order: the snapshot and the buffered updates after it. Empty if
            the snapshot is older than what is buffered or known: another one must be fetched.
        """
        self.gap = None
        if self.state == SyncState.SYNCED and last_id < self.book_id:
            return []
        self.book_id = last_id
        self._fresh = True
        waiting = [one for one in self._buffer if not self._is_old(one)]
        if waiting and not self._follows(waiting[0]):
            self._fresh = False
            self.state = SyncState.BUFFERING
            return []
        self.dropped += len(self._buffer) - len(waiting)
        self._buffer = []
        self.state = SyncState.SYNCED
        packets = [packet]
        for k, delta in enumerate(waiting):
            if not self._follows(delta):
                self._lose(GapReason.SEQUENCE)
                self._buffer = waiting[k:]
                break
            self.book_id = delta.last_id
            self._fresh = False
            packets.append(delta.packet)
        return packets

    def advance(self, last_id: int) -> None:
        """Note that a run of deltas was applied that the caller has proved to follow each other."""
        assert self.state == SyncState.SYNCED
        self.book_id = last_id
        self._fresh = False

    def lose(self, reason: GapReason) -> bool:
        """Forget the book (disconnect, unreadable message). Returns whether one was known."""
        known = self.state == SyncState.SYNCED
        self._buffer = []
        if known:
            self._lose(reason)
        return known

    def _lose(self, reason: GapReason) -> None:
        """Enter the state before a snapshot."""
        self.state = SyncState.BUFFERING
        self.gap = reason
        self.gaps += 1
        self._buffer = []

    def _keep(self, delta: Delta[Packet]) -> None:
        """Buffer a delta, within the bound.

        Where a venue begins its ids anew while a snapshot is awaited, what is kept from before
        would be in the way of every snapshot from then on.
        """
        self.state = SyncState.BUFFERING
        behind = bool(self._buffer) and delta.last_id < self._buffer[0].first_id
        self._behind = self._behind + 1 if behind else 0
        if self._behind > MAX_BEHIND:
            kept = [one for one in self._buffer if one.last_id <= delta.last_id]
            self.dropped += len(self._buffer) - len(kept)
            self._buffer = kept
            self._behind = 0
        self._buffer.append(delta)
        if len(self._buffer) > MAX_BUFFERED:
            del self._buffer[0]
            self.dropped += 1

    def _is_old(self, delta: Delta[Packet]) -> bool:
        """Say whether the book already holds everything in a delta."""
        if self.rule.chained and self._fresh:
            return delta.last_id < self.book_id
        return delta.last_id <= self.book_id

    def _follows(self, delta: Delta[Packet]) -> bool:
        """Say whether a delta continues the book."""
        if not self.rule.chained:
            return delta.first_id <= self.book_id + 1
        if self._fresh:
            return delta.first_id <= self.book_id or delta.prev_id == self.book_id
        return delta.prev_id == self.book_id


FIRST_TO_LAST = SyncRule(chained=False)
CHAINED = SyncRule(chained=True)
