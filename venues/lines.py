"""What is known of one instrument's live data, and the bounds of what is tolerated."""

from collections import deque
from collections.abc import Callable
from enum import IntEnum

import msgspec

from engine.book_sync import BookSync
from engine.feed_health import FeedState, InstrumentHealth
from engine.instruments import Instrument
from venues.admit import WORDS

ASK_AGAIN_NS = 10_000_000_000  # between two subscriptions of a silent instrument
MAX_REPEATS = 8  # repeats in a row after which the venue's ids are taken to have begun anew
DIRECT, LAST_NS, SKEW_NS = (WORDS.index(name) for name in ("direct", "last_ns", "skew_ns"))
MESSAGES, BYTES, ROWS = (WORDS.index(name) for name in ("messages", "bytes", "rows"))
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
    """Ids of one stream that must rise; they lie in the record that machine code changes too."""

    __slots__ = ("_id_at", "_repeats_at", "_words")

    def __init__(self, words: memoryview, stream: str) -> None:
        self._words = words
        self._id_at = WORDS.index(f"{stream}_id")
        self._repeats_at = WORDS.index(f"{stream}_repeats")

    @property
    def last(self) -> int:
        """The newest id, -1 before the first."""
        return int(self._words[self._id_at])

    def follow(self, ident: int) -> None:
        """Go on from an id."""
        self._words[self._id_at] = ident
        self._words[self._repeats_at] = 0

    def began_anew(self) -> bool:
        """Count a repeat; True when there were so many that it must be a new sequence."""
        self._words[self._repeats_at] += 1
        return bool(self._words[self._repeats_at] > MAX_REPEATS)


class Line:
    """What is known of one instrument's data. `words` are its record, see venues/admit.py."""

    def __init__(
        self, index: int, instrument: Instrument, health: InstrumentHealth, words: memoryview
    ) -> None:
        self.index = index
        self.instrument = instrument
        self.words = words
        self.quotes = StreamIds(words, "quote")
        self.trades = StreamIds(words, "trade")
        self.book_repeats = 0
        self.sync: BookSync[bytes] | None = None
        self.held: list[bytes] | None = None  # packets, while warming
        self.held_rows = 0
        self.since_ns = 0  # nothing is awaited from before
        self.ask_at_ns = 0  # while it is silent
        self.errors: deque[int] = deque()
        self._health = health

    @property
    def health(self) -> InstrumentHealth:
        """Counters, up to date."""
        self._health.messages = self.words[MESSAGES]
        self._health.last_ns = self.words[LAST_NS]
        return self._health

    @property
    def state(self) -> FeedState:
        """How far the data can be used."""
        return self._health.state

    @state.setter
    def state(self, state: FeedState) -> None:
        self._health.state = state
        self.words[DIRECT] = int(state == FeedState.LIVE and self.held is None)

    @property
    def last_ns(self) -> int:
        """Receive stamp of the last message, 0 before the first."""
        return int(self.words[LAST_NS])

    @property
    def skew_ns(self) -> int:
        """Receive stamp minus the venue's, of the last trade."""
        return int(self.words[SKEW_NS])

    def set_halted(self, halted: bool) -> bool:
        """Note whether the venue trades the instrument; True when that is news."""
        news = halted != self._health.halted
        self._health.halted = halted
        return news

    def asks(self, now_ns: int) -> bool:
        """Tell whether a silent instrument's streams are to be asked for; then not for a while."""
        if now_ns < self.ask_at_ns:
            return False
        self.ask_at_ns = now_ns + ASK_AGAIN_NS
        return True

    def age_ns(self, now_ns: int) -> int:
        """Return for how long nothing has come."""
        return now_ns - max(self.last_ns, self.since_ns)
