"""A price-time order book of one symbol in ticks and lots; pure.

Resting are orders of accounts and the *house*: the liquidity of the market's other participants,
which has a place in each level's queue like anyone. Growing house liquidity joins the back of the
queue; shrinking leaves from the back, so an order of ours never gains a place by it.
"""

from bisect import bisect_left, insort
from collections import deque
from collections.abc import Iterator
from typing import NamedTuple

from venues.embedded.orders import Order

NO_LIMIT = 1 << 62


class Resting:
    """One place in a queue: an account's order, or house liquidity where `order` is None."""

    __slots__ = ("left", "order")

    def __init__(self, order: Order | None, left: int) -> None:
        self.order = order
        self.left = left


class Level:
    """One price: its queue, the lots in it, and how many of them are the house's."""

    __slots__ = ("house", "queue", "total")

    def __init__(self) -> None:
        self.queue: deque[Resting] = deque()
        self.total = 0
        self.house = 0


class Match(NamedTuple):
    """Lots that change hands at a resting order's price; `maker` is None for the house."""

    price_tick: int
    lots: int
    maker: Order | None


class BookSide:
    """The bids (side +1) or asks (-1): levels by tick, the best first."""

    def __init__(self, side: int) -> None:
        self.side = side
        self.levels: dict[int, Level] = {}
        self._keys: list[int] = []  # ascending, the best first: -tick for bids, tick for asks

    def best(self) -> int | None:
        """Return the best tick, None when the side is empty."""
        return -self.side * self._keys[0] if self._keys else None

    def ticks(self, limit: int = NO_LIMIT) -> list[int]:
        """Return the ticks of up to `limit` levels, the best first."""
        return [-self.side * key for key in self._keys[:limit]]

    def lots(self, tick: int) -> int:
        """Return the lots at a tick, 0 where there is no level."""
        level = self.levels.get(tick)
        return level.total if level else 0

    def within(self, tick: int, limit: int | None) -> bool:
        """Say whether a taker with this limit accepts a level's price."""
        return limit is None or self.side * (tick - limit) >= 0

    def level(self, tick: int) -> Level:
        """Return the level of a tick, made where it is missing."""
        found = self.levels.get(tick)
        if found is None:
            found = self.levels[tick] = Level()
            insort(self._keys, -self.side * tick)
        return found

    def drop_if_empty(self, tick: int) -> None:
        """Remove a level that holds nothing."""
        if self.levels[tick].total == 0:
            del self.levels[tick]
            del self._keys[bisect_left(self._keys, -self.side * tick)]


class Book:
    """Both sides, and which levels changed since they were last taken."""

    def __init__(self) -> None:
        self.sides = {1: BookSide(1), -1: BookSide(-1)}
        self.changed: dict[tuple[int, int], None] = {}  # (side, tick), in order of change
        self.update_id = 0

    @property
    def bids(self) -> BookSide:
        """The buyers."""
        return self.sides[1]

    @property
    def asks(self) -> BookSide:
        """The sellers."""
        return self.sides[-1]

    def touch(self) -> tuple[int, int, int, int]:
        """Return best bid and ask ticks and their lots; 0 where a side is empty."""
        bid, ask = self.bids.best(), self.asks.best()
        return (
            bid or 0,
            ask or 0,
            self.bids.lots(bid) if bid is not None else 0,
            self.asks.lots(ask) if ask is not None else 0,
        )

    def rest(self, side: int, tick: int, order: Order | None, lots: int) -> None:
        """Put lots at the back of a level's queue; house lots join house lots that are last."""
        assert lots > 0
        level = self.sides[side].level(tick)
        if order is None and level.queue and level.queue[-1].order is None:
            level.queue[-1].left += lots
        else:
            level.queue.append(Resting(order, lots))
        level.total += lots
        if order is None:
            level.house += lots
        self.changed[side, tick] = None

    def remove(self, order: Order) -> int:
        """Take an account's order out of its queue. Returns the lots that it still had."""
        side = self.sides[order.side]
        level = side.levels[order.price_tick]
        for at, place in enumerate(level.queue):
            if place.order is order:
                del level.queue[at]
                level.total -= place.left
                self.changed[order.side, order.price_tick] = None
                side.drop_if_empty(order.price_tick)
                return place.left
        raise AssertionError(f"order {order.order_id} is not in its level")

    def shrink_house(self, side: int, tick: int, lots: int) -> None:
        """Lower the house's share of a level to `lots`, from the back of its queue."""
        level = self.sides[side].levels.get(tick)
        if level is None or level.house <= lots:
            return
        surplus = level.house - lots
        level.house = lots
        level.total -= surplus
        for at in range(len(level.queue) - 1, -1, -1):
            place = level.queue[at]
            if place.order is not None:
                continue
            part = min(place.left, surplus)
            place.left -= part
            surplus -= part
            if place.left == 0:
                del level.queue[at]
            if surplus == 0:
                break
        self.changed[side, tick] = None
        self.sides[side].drop_if_empty(tick)

    def offered(
        self, side: int, limit: int | None, spared: int | None = None
    ) -> Iterator[tuple[int, int]]:
        """Yield (tick, lots) that a taker could get within its limit, the best first.

        Args:
            side: the taker's, +1 a buyer, -1 a seller.
            limit: worst acceptable tick, None for any.
            spared: account whose own orders do not count.
        """
        other = self.sides[-side]
        for tick in other.ticks():
            if not other.within(tick, limit):
                break
            level = other.levels[tick]
            lots = level.total
            if spared is not None and lots != level.house:
                lots -= sum(p.left for p in level.queue if p.order and p.order.account == spared)
            if lots:
                yield tick, lots

    def first(self, side: int, limit: int | None) -> Resting | None:
        """Return whom a taker on `side` would meet first within its limit."""
        other = self.sides[-side]
        tick = other.best()
        if tick is None or not other.within(tick, limit):
            return None
        return other.levels[tick].queue[0]

    def take(self, side: int, lots: int) -> Match:
        """Let a taker on `side` have up to `lots` of the first resting place on the other side."""
        assert lots > 0
        other = self.sides[-side]
        tick = other.best()
        assert tick is not None
        level = other.levels[tick]
        place = level.queue[0]
        part = min(lots, place.left)
        place.left -= part
        level.total -= part
        if place.order is None:
            level.house -= part
        if place.left == 0:
            level.queue.popleft()
        self.changed[-side, tick] = None
        other.drop_if_empty(tick)
        return Match(tick, part, place.order)
