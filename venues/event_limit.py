"""Pass events on, but not the same complaint a thousand times a second."""

from collections.abc import Callable

from venues.lines import Event

EVERY_NS = 1_000_000_000
REPEATED = ("feed.decode_error", "feed.skew", "feed.trade_hole", "feed.status_failed")


class LimitedEvents:
    """Each of the REPEATED codes passes once a second for each symbol; `unsaid` counts the rest."""

    def __init__(self, on_event: Event, monotonic_ns: Callable[[], int]) -> None:
        """Take who is told, and the clock."""
        self._on_event = on_event
        self._monotonic_ns = monotonic_ns
        self._last: dict[tuple[str, object], tuple[int, int]] = {}

    def say(self, code: str, fields: dict[str, object]) -> None:
        """Pass an event on, with how many like it were not."""
        if code not in REPEATED:
            self._on_event(code, fields)
            return
        key = (code, fields.get("symbol"))
        now_ns = self._monotonic_ns()
        last_ns, unsaid = self._last.get(key, (now_ns - EVERY_NS, 0))
        if now_ns - last_ns < EVERY_NS:
            self._last[key] = (last_ns, unsaid + 1)
            return
        self._last[key] = (now_ns, 0)
        self._on_event(code, {**fields, "unsaid": unsaid} if unsaid else fields)
