"""Request weights and order counts in fixed windows of the clock, with 429 and the ban after it."""

from collections.abc import Callable

import msgspec

from venues.embedded.exchange import Listener
from venues.embedded.ledger import Account
from venues.embedded.orders import Report
from venues.embedded.refusals import Refused

MINUTE_MS, TEN_S_MS, DAY_MS = 60_000, 10_000, 86_400_000
STUBBORN = 20  # requests in a minute after the first 429 that earn a ban


class RateLimits(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The exchange's limits. Everything on loopback is one address."""

    weight_per_minute: int = 6000
    orders_per_10s: int = 50
    orders_per_day: int = 160_000
    ban_s: int = 120
    market_requests_per_s: int = 5  # client frames on a market stream; 0 is no limit


class Meter(Listener):
    """Counts what was used; an order's first fill gives its count back."""

    def __init__(self, limits: RateLimits, now_ms: Callable[[], int]) -> None:
        self.limits = limits
        self.now_ms = now_ms
        self.weight = 0
        self.banned_until_ms = 0
        self._minute = -1
        self._refused = 0
        self._orders: dict[int, list[int]] = {}  # account -> [10 s window, count, day, count]

    def use(self, weight: int, now_ms: int) -> None:
        """Count a request.

        Raises:
            Refused: 429 with -1003 above the limit; 418 once a client did not stop at that.
        """
        if now_ms < self.banned_until_ms:
            raise self._ban(now_ms)
        minute = now_ms // MINUTE_MS
        if minute != self._minute:
            self._minute, self.weight, self._refused = minute, 0, 0
        self.weight += weight
        if self.weight <= self.limits.weight_per_minute:
            return
        self._refused += 1
        if self._refused > STUBBORN:
            self.banned_until_ms = now_ms + self.limits.ban_s * 1000
            raise self._ban(now_ms)
        wait_s = -(-(MINUTE_MS - now_ms % MINUTE_MS) // 1000)
        text = (
            f"Too much request weight used; current limit is {self.limits.weight_per_minute} "
            "request weight per 1 MINUTE. Please use WebSocket Streams for live updates."
        )
        raise Refused(-1003, text, 429, wait_s)

    def _ban(self, now_ms: int) -> Refused:
        wait_s = -(-(self.banned_until_ms - now_ms) // 1000)
        text = f"Way too much request weight used; IP banned until {self.banned_until_ms}."
        return Refused(-1003, text, 418, wait_s)

    def order(self, account: int, now_ms: int) -> None:
        """Count a new order of an account.

        Raises:
            Refused: 429 with -1015.
        """
        counts = self._counts(account, now_ms)
        for at, limit, name, length in (
            (1, self.limits.orders_per_10s, "10 SECOND", TEN_S_MS),
            (3, self.limits.orders_per_day, "1 DAY", DAY_MS),
        ):
            if counts[at] >= limit:
                wait_s = -(-(length - now_ms % length) // 1000)
                text = f"Too many new orders; current limit is {limit} orders per {name}."
                raise Refused(-1015, text, 429, wait_s)
        counts[1] += 1
        counts[3] += 1

    def on_report(self, account: Account, report: Report) -> None:
        """Give a count back at an order's first fill."""
        fill = report.fill
        if fill is not None and report.order.filled_lot == fill.lots:
            counts = self._counts(account.index, self.now_ms())
            counts[1] = max(0, counts[1] - 1)
            counts[3] = max(0, counts[3] - 1)

    def order_counts(self, account: int, now_ms: int) -> tuple[int, int]:
        """Return the orders counted in these 10 seconds and on this day."""
        counts = self._counts(account, now_ms)
        return counts[1], counts[3]

    def _counts(self, account: int, now_ms: int) -> list[int]:
        """Return an account's counters, begun again where a window is over."""
        counts = self._orders.setdefault(account, [0, 0, 0, 0])
        for at, length in ((0, TEN_S_MS), (2, DAY_MS)):
            if counts[at] != now_ms // length:
                counts[at], counts[at + 1] = now_ms // length, 0
        return counts
