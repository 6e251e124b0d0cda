"""Holds orders: rate limits, bans, a clock that is off, a lost stream, a refused key."""

from collections.abc import Callable

from engine.events import RejectReason as R
from engine.venue_events import Healed, Measure, Trouble, VenueEvent
from venues.outcome import Attempt, Kind, Outcome
from venues.rate_budget import Errand, RateBudget

BANNED = frozenset({418, 429})
DEFAULT_PAUSE_S = {429: 60.0, 418: 120.0}  # where the venue names no time
ORDER_PAUSE_S = 10.0
RESYNC_EVERY_S = 10.0  # a clock that stays off is not asked for again sooner


class Brake:
    """Holds orders for named reasons, and tells when each begins and ends.

    Args:
        budget: counts requests and keeps pauses.
        tell: is given Trouble and Healed.
        clock: monotonic seconds.
    """

    def __init__(
        self, budget: RateBudget, tell: Callable[[VenueEvent], None], clock: Callable[[], float]
    ) -> None:
        self.budget = budget
        self._tell = tell
        self._clock = clock
        self.holds: dict[str, float] = {}  # code -> when it heals by itself, 0.0 for never
        self._words: dict[str, str] = {}  # code -> why, as it was told
        self.clock_off = False
        self._resync_at = 0.0

    def may_send(self) -> bool:
        """Return True when a new order may leave now, and count it."""
        self.look()
        return not self.holds and self.budget.take(Errand.ORDER, self._clock())

    @property
    def why(self) -> str:
        """The same in words, "" when nothing is held."""
        return "; ".join(self._words[code] for code in self.holds)

    def hold(self, code: str, text: str, seconds: float = 0.0) -> None:
        """Hold orders; for some seconds, or until `heal`."""
        until = self._clock() + seconds if seconds else 0.0
        new = code not in self.holds
        self._words[code] = text
        self.holds[code] = max(until, self.holds.get(code, 0.0)) if seconds else 0.0
        if new:
            self._tell(Trouble(code=code, text=text, measure=Measure.HOLD))

    def heal(self, code: str) -> None:
        """End a hold."""
        if self.holds.pop(code, None) is not None:
            self._tell(Healed(code=code))

    def look(self) -> None:
        """End the holds whose time has come."""
        now = self._clock()
        for code, until in list(self.holds.items()):
            if until and until <= now:
                self.heal(code)

    def see(self, attempt: Attempt, outcome: Outcome) -> None:
        """Obey what an answer asks for besides its own fate."""
        if attempt.status in BANNED:
            seconds = attempt.retry_after_s or DEFAULT_PAUSE_S[attempt.status]
            self.budget.pause_all(self._clock(), seconds)
            self.hold(
                "venue.rate_limited",
                f"the venue asked for a pause of {seconds:.0f} s (HTTP {attempt.status})",
                seconds,
            )
        elif outcome.kind == Kind.REJECTED and outcome.reason == R.RATE_LIMIT:
            seconds = attempt.retry_after_s or ORDER_PAUSE_S
            self.budget.pause_orders(self._clock(), seconds)
            self.hold("venue.order_limit", f"too many orders: {seconds:.0f} s without", seconds)
        elif outcome.kind == Kind.REJECTED and outcome.reason == R.CLOCK:
            self.clock_off = True
            self.hold("venue.clock", "the venue says that our clock is off; its time is asked for")
        elif outcome.kind == Kind.REJECTED and outcome.reason == R.ACCESS:
            text = f"the venue refuses our key, signature or permission (code {outcome.code})"
            self.hold("venue.access", text)

    def may_resync(self) -> bool:
        """Return True when the venue's time should be asked for now; at most every ten seconds."""
        now = self._clock()
        if not self.clock_off or now < self._resync_at:
            return False
        self._resync_at = now + RESYNC_EVERY_S
        return True

    def resynced(self) -> None:
        """Trade again with the new offset."""
        self.clock_off = False
        self.heal("venue.clock")
