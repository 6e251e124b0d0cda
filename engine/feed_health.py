"""What can be said of a feed at any moment: plain counters that a terminal shows, and why it broke.

The feed alone changes them; everyone may read them.
"""

from enum import IntEnum

import msgspec


class EndReason(IntEnum):
    """Why a connection ended or could not be made. On DISCONNECT rows: never renumber, append."""

    CLOSED = 1  # the other end closed it properly
    LOST = 2  # cut, reset, or no answer on the wire
    PROTOCOL = 3  # what came is no WebSocket
    TOO_BIG = 4  # a message above the bound, also one that only decompresses to it
    STALE = 5  # no data for too long
    UNREACHABLE = 6  # refused, no route, or no such host
    TLS = 7
    TIMEOUT = 8  # opening took too long
    REFUSED = 9  # the server answered with an HTTP error
    SHUTDOWN = 10  # the venue said that it will end the connection
    BAD_DATA = 11  # too many messages that cannot be read
    STOPPED = 12  # by us


class FeedState(IntEnum):
    """How far an instrument's data can be used."""

    OFF = 0  # no connection, or nothing came yet
    WARMING = 1  # rows are held until its history stands on the tape
    LIVE = 2
    STALE = 3  # a gap stands on the tape, data is awaited


class InstrumentHealth(msgspec.Struct):
    """Counters of one instrument; ages come from `last_ns`."""

    symbol: str
    state: FeedState = FeedState.OFF
    messages: int = 0
    last_ns: int = 0  # stamp of the last message, of the session's clock
    duplicates: int = 0  # messages that were there before, or are older than one that was
    gaps: int = 0  # GAP rows written
    decode_errors: int = 0
    trade_holes: int = 0  # trade ids that never came
    snapshots: int = 0  # books fetched
    history_rows: int = 0
    book_synced: bool = False
    halted: bool = False  # the venue does not trade it now


class FeedHealth(msgspec.Struct):
    """Counters of a feed."""

    instruments: list[InstrumentHealth]
    connected: bool = False
    last_end: EndReason | None = None
    connects: int = 0
    failed_dials: int = 0
    messages: int = 0
    bytes: int = 0
    rows: int = 0
    decode_errors: int = 0
    unknown_messages: int = 0
    dropped_messages: int = 0  # the tape was exhausted
    clock_offset_ns: int = 0  # venue's clock minus ours, when last asked

    @property
    def reconnects(self) -> int:
        """Connections after the first one.

        >>> FeedHealth(instruments=[], connects=3).reconnects
        2
        """
        return max(0, self.connects - 1)

    @property
    def halted(self) -> bool:
        """Whether the venue trades none of them: silence is no sign of a broken connection."""
        return all(one.halted for one in self.instruments)

    def age_ns(self, instrument: int, now_ns: int) -> int:
        """Return how old an instrument's last message is, -1 before the first."""
        last = self.instruments[instrument].last_ns
        return now_ns - last if last else -1
