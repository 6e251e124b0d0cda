"""Let market time run: events of all symbols in order of time, each when it is due."""

import heapq

from venues.embedded.exchange import Exchange
from venues.embedded.house import apply_event
from venues.embedded.market import Event
from venues.embedded.symbols import Symbol

MAX_EVENTS_PER_STEP = 500  # then other work gets its turn (about 20 ms)


class Pump:
    """The events to come, merged over the symbols, and the speed of market time."""

    def __init__(self, exchange: Exchange, market_ns: int, wall_ns: int, speed: float) -> None:
        """Begin where market time `market_ns` is the exchange's time `wall_ns`."""
        self.exchange = exchange
        self.speed = speed
        self.applied = 0
        self._market_ns, self._wall_ns = market_ns, wall_ns
        self._heap: list[tuple[int, int, Event, Symbol]] = []
        for symbol in exchange.symbols.values():
            self._refill(symbol)

    def set_speed(self, speed: float, wall_ns: int) -> None:
        """Change how fast market time runs from now on; 0 stops it."""
        self._market_ns, self._wall_ns = self.market_at(wall_ns), wall_ns
        self.speed = speed

    def market_at(self, wall_ns: int) -> int:
        """Return the market time at a time of the exchange."""
        return self._market_ns + round((wall_ns - self._wall_ns) * self.speed)

    def catch_up(self, wall_ns: int) -> None:
        """Apply all that is due before the doors open, each event with the time it was due."""
        assert self.speed > 0.0
        until = self.market_at(wall_ns)
        while self._heap and self._heap[0][0] <= until:
            due = self._wall_ns + round((self._heap[0][0] - self._market_ns) / self.speed)
            self.exchange.stamp_ms = due // 1_000_000
            self._step()
        self.exchange.stamp_ms = None

    def run(self, wall_ns: int) -> float:
        """Apply what is due. Returns the seconds until there is more (0: at once)."""
        until = self.market_at(wall_ns)
        heap = self._heap
        for _ in range(MAX_EVENTS_PER_STEP):
            if not heap or heap[0][0] > until:
                break
            self._step()
        else:
            return 0.0
        if not heap or self.speed <= 0.0:
            return 0.05
        return min(0.05, max(0.0, (heap[0][0] - until) / self.speed * 1e-9))

    def _step(self) -> None:
        """Apply the next event."""
        _, _, event, symbol = heapq.heappop(self._heap)
        apply_event(self.exchange, symbol, event)
        self.applied += 1
        self._refill(symbol)

    def _refill(self, symbol: Symbol) -> None:
        """Put a symbol's next event into the order."""
        event = next(symbol.events, None)
        if event is not None:
            heapq.heappush(self._heap, (event[0], symbol.index, event, symbol))
