"""What is known of one instrument's live data, and the bounds of what is tolerated."""

from collections import deque
from collections.abc import Callable
from enum import IntEnum

import msgspec

from engine.book_sync import BookSync
from engine.feed_health import InstrumentHealth
from engine.instruments import Instrument

MAX_REPEATS = 8  # repeats in a row after which the venue's ids are taken to have begun anew
Event = Callable[[str, dict[str, object]], None]  # (stable code, fields)


class Want(IntEnum):
    """What the intake cannot do itself."""

    SNAPSHOT = 0
    HISTORY = 1


class IntakeLimits(msgspec.Struct, frozen=True, kw_only=True):
    """Bounds of what is tolerated; times in ns."""

    stale_ns: int = 5_000_000_000
    max_decode_errors: int = 10  # in the window, for an instrument; and for what names none
    error_window_ns: int = 10_000_000_000
    max_skew_ns: int = 1_000_000_000
    warms: bool = False  # history is fetched at the start and after gaps


class StreamIds:
    """Ids of one stream that must rise."""

    __slots__ = ("last", "repeats")

    def __init__(self) -> None:
        self.last = -1
        self.repeats = 0

    def began_anew(self) -> bool:
        """Count a repeat; True when there were so many that it must be a new sequence."""
        self.repeats += 1
        return self.repeats > MAX_REPEATS


class Line:
    """What is known of one instrument's data."""

    def __init__(self, index: int, instrument: Instrument, health: InstrumentHealth) -> None:
        self.index = index
        self.instrument = instrument
        self.health = health
        self.quotes = StreamIds()
        self.trades = StreamIds()
        self.book_repeats = 0
        self.sync: BookSync[bytes] | None = None
        self.held: list[bytes] | None = None  # packets, while warming
        self.held_rows = 0
        self.since_ns = 0  # nothing is awaited from before
        self.last_ns = 0  # receive stamp of the last message
        self.skew_ns = 0  # receive stamp minus the venue's, of the last trade
        self.errors: deque[int] = deque()

    def age_ns(self, now_ns: int) -> int:
        """Return for how long nothing has come."""
        return now_ns - max(self.last_ns, self.since_ns)
