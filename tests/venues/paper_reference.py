"""The rules of the paper venue, written a second time: slow, plain, exact, one instrument.

Sizes are Fractions of a lot, prices whole ticks, so nothing rounds but where a rule says so (a fill
is whole lots). It shares no code with engine/kernel; tests compare the two event by event.
"""

from dataclasses import dataclass, field
from fractions import Fraction

MARKET, GTC, IOC, POST_ONLY = range(4)
ACK, FILL, REJECT, CANCELED = 1, 2, 3, 4
TAKER, MAKER = 0, 1
NONE, WOULD_CROSS, NO_LIQUIDITY, HALTED, BY_REQUEST, COLLAR = 0, 1, 2, 7, 9, 11
UNKNOWN_QUEUE = None  # nobody knows what stands ahead: only a trade through the price fills


@dataclass
class Event:
    """What the venue says of an order; qty in lots, `left` of it for an ACK, REJECT or CANCELED."""

    kind: int
    order_id: int
    qty: int
    price: int
    liquidity: int
    reason: int
    ts: int

    def key(self) -> tuple[int, ...]:
        """Return it as a tuple, for comparison."""
        return (
            self.kind,
            self.order_id,
            self.qty,
            self.price,
            self.liquidity,
            self.reason,
            self.ts,
        )


@dataclass
class Resting:
    """An order from its arrival on; before that only arrive_ts matters."""

    order_id: int
    side: int
    order_type: int
    left: int
    price: int
    collar: tuple[int, int]
    arrive_ts: int
    cancel_ts: int = 0
    here: bool = False
    rested: int = 0  # its number in the order of coming to rest
    queue: Fraction | None = Fraction(0)


@dataclass
class Side:
    """One side of the market: the touch, the known levels, and what we took since their refresh."""

    tick: int = 0
    size: Fraction | None = None  # None: displayed without a size
    touch_taken: int = 0
    levels: dict[int, Fraction] = field(default_factory=dict)
    level_taken: dict[int, int] = field(default_factory=dict)
    farthest: int | None = None  # the book is known as far as this price


class PaperReference:
    """One instrument at the paper venue.

    Args:
        assumed_lots: price tick -> size in lots of a touch that is displayed without one.
        touch_from_depth: the touch is the best level instead of the last quote.
    """

    def __init__(
        self, assumed_lots=lambda tick: Fraction(0), touch_from_depth: bool = False
    ) -> None:
        self.assumed_lots = assumed_lots
        self.touch_from_depth = touch_from_depth
        self.bids, self.asks = Side(), Side()
        self.trusted = False
        self.halted = False
        self.has_book = False
        self.orders: list[Resting] = []
        self.events: list[Event] = []
        self.now = 0
        self.rested = 0

    # --- what we do -----------------------------------------------------------------------------

    def place(self, order: Resting) -> None:
        """Send an order on its way."""
        self.orders.append(order)

    def cancel(self, order_id: int, cancel_ts: int) -> None:
        """Ask for its removal; the request never overtakes the order."""
        for order in self.orders:
            if order.order_id == order_id:
                order.cancel_ts = max(cancel_ts, order.arrive_ts)

    # --- what the feed does ---------------------------------------------------------------------

    def before(self, ts: int) -> None:
        """Let every order and cancel due by the row's time reach the venue, earliest first."""
        while True:
            due = [(o.arrive_ts, o.order_id, o) for o in self.orders if not o.here]
            due += [(o.cancel_ts, o.order_id, o) for o in self.orders if o.here and o.cancel_ts]
            due = [entry for entry in due if entry[0] <= ts]
            if not due:
                self.now = max(self.now, ts)
                return
            at, _, order = min(due, key=lambda entry: entry[:2])
            self.now = max(self.now, at)
            if order.here:
                self._say(CANCELED, order, order.left, 0, MAKER, BY_REQUEST)
                self.orders.remove(order)
            elif self.trusted:
                order.here = True
                self._arrive(order)
            else:
                order.arrive_ts = ts + 1  # waits at the door for a price to be trusted

    def quote(self, ts: int, bid: int, ask: int, bid_size, ask_size) -> None:
        """Apply a quote; crossed or locked ones take the trust away and nothing else."""
        self.before(ts)
        self._touch(bid, ask, bid_size, ask_size)

    def trade(self, ts: int, price: int, size: Fraction, side: int) -> None:
        """Apply a market trade: through our price it fills us, at it it eats the queue first."""
        self.before(ts)
        if not self.trusted:
            return
        left = size
        for order in self._by_priority():
            if side == order.side:  # the aggressor took the other side of the book
                continue
            through = (order.price - price) * order.side
            if through > 0:
                self._fill(order, order.left, order.price, MAKER)
            elif through == 0 and order.queue is not UNKNOWN_QUEUE:
                order.queue -= left
                if order.queue < 0:
                    qty = min(order.left, int(-order.queue))
                    order.queue = Fraction(0)
                    left -= qty
                    if qty:
                        self._fill(order, qty, order.price, MAKER)

    def depth(self, ts: int, changes, snapshot: bool = False) -> None:
        """Apply one packet of (side, tick, size) with absolute sizes; 0 removes a level."""
        self.before(ts)
        if snapshot:
            for side in (self.bids, self.asks):
                side.levels.clear()
                side.level_taken.clear()
                side.farthest = None
            self.has_book = True
        for side, tick, size in changes:
            of = self.bids if side > 0 else self.asks
            if size and (of.farthest is None or (tick - of.farthest) * side < 0):
                of.farthest = tick
            of.levels[tick] = size
            of.level_taken[tick] = 0
            if not size:
                del of.levels[tick]
        if self.touch_from_depth:
            self._touch_from_book()

    def gap(self, book_only: bool) -> None:
        """Distrust what a gap has torn: the book alone, or the touch too."""
        self.has_book = False
        if not book_only or self.touch_from_depth:
            self.trusted = False

    # --- rules ----------------------------------------------------------------------------------

    def _touch_from_book(self) -> None:
        if not self.bids.levels or not self.asks.levels:
            self.trusted = False
            return
        bid, ask = max(self.bids.levels), min(self.asks.levels)
        sizes = self.bids.levels[bid], self.asks.levels[ask]
        same = (bid, ask, *sizes) == (
            self.bids.tick,
            self.asks.tick,
            self.bids.size,
            self.asks.size,
        )
        if not (same and self.trusted):
            self._touch(bid, ask, *sizes)

    def _touch(self, bid: int, ask: int, bid_size, ask_size) -> None:
        self.trusted = 0 < bid < ask
        if not self.trusted:
            return
        for side, tick, size in ((self.bids, bid, bid_size), (self.asks, ask, ask_size)):
            if (side.tick, side.size) != (tick, size) or size is None:
                side.touch_taken = 0
            side.tick, side.size = tick, size
        for order in self._by_priority():
            opposite, own = self._sides(order)
            if (order.price - opposite.tick) * order.side >= 0:
                qty = min(order.left, self._displayed(opposite))
                if qty > 0:
                    self._take_touch(opposite, qty)
                    self._fill(order, qty, order.price, MAKER)
            elif order.price == own.tick and own.size is not None:
                if order.queue is UNKNOWN_QUEUE or own.size < order.queue:
                    order.queue = own.size

    def _arrive(self, order: Resting) -> None:
        opposite, _ = self._sides(order)
        if self.halted:
            self._end(order, REJECT, TAKER, HALTED)
            return
        crosses = order.order_type == MARKET or (order.price - opposite.tick) * order.side >= 0
        if order.order_type == POST_ONLY:
            if crosses:
                self._end(order, REJECT, MAKER, WOULD_CROSS)
            else:
                self._rest(order)
            return
        if crosses and not order.collar[0] <= opposite.tick <= order.collar[1]:
            self._end(order, CANCELED, TAKER, COLLAR)
            return
        if crosses:
            edge = order.collar[1] if order.side > 0 else order.collar[0]
            self._walk(order, edge if order.order_type == MARKET else order.price)
        if order.left == 0:
            return
        if order.order_type == GTC:
            self._rest(order)
        else:
            self._end(order, CANCELED, TAKER, NO_LIQUIDITY)

    def _walk(self, order: Resting, limit: int) -> None:
        """Take the touch, then the levels behind it, each displayed size once until its refresh."""
        opposite, _ = self._sides(order)
        if (opposite.tick - limit) * order.side > 0:
            return
        qty = min(order.left, self._displayed(opposite))
        if qty > 0:
            self._take_touch(opposite, qty)
            self._fill(order, qty, opposite.tick, TAKER)
        if not self.has_book:
            return
        for tick in sorted(opposite.levels, key=lambda tick: tick * order.side):
            behind = (tick - opposite.tick) * order.side > 0
            if not behind or (tick - limit) * order.side > 0 or order.left == 0:
                continue
            shown = opposite.levels[tick] - opposite.level_taken.get(tick, 0)
            qty = min(order.left, max(0, int(shown)))
            if qty > 0:
                opposite.level_taken[tick] = opposite.level_taken.get(tick, 0) + qty
                self._fill(order, qty, tick, TAKER)

    def _rest(self, order: Resting) -> None:
        _, own = self._sides(order)
        better = (order.price - own.tick) * order.side
        if better > 0:
            order.queue = Fraction(0)
        elif better == 0:
            order.queue = self.assumed_lots(own.tick) if own.size is None else own.size
        elif self.has_book and self._is_known(order, own):
            order.queue = own.levels.get(order.price, Fraction(0))
        else:
            order.queue = UNKNOWN_QUEUE
        self.rested += 1
        order.rested = self.rested
        self._say(ACK, order, order.left, order.price, MAKER, NONE)

    def _is_known(self, order: Resting, own: Side) -> bool:
        return own.farthest is not None and (order.price - own.farthest) * order.side >= 0

    # --- bookkeeping ----------------------------------------------------------------------------

    def _sides(self, order: Resting) -> tuple[Side, Side]:
        """Return (the side it takes from, the side it rests on)."""
        return (self.asks, self.bids) if order.side > 0 else (self.bids, self.asks)

    def _displayed(self, side: Side) -> int:
        """Return whole lots at the touch that are displayed and not taken by us."""
        size = self.assumed_lots(side.tick) if side.size is None else side.size
        return max(0, int(size - self._taken(side)))

    def _taken(self, side: Side) -> int:
        if self.touch_from_depth:
            return side.level_taken.get(side.tick, 0)
        return side.touch_taken

    def _take_touch(self, side: Side, qty: int) -> None:
        side.touch_taken += qty
        side.level_taken[side.tick] = side.level_taken.get(side.tick, 0) + qty

    def _by_priority(self) -> list[Resting]:
        """Return what rests, best price first, then who came first (buys before sells)."""
        resting = [o for o in self.orders if o.here and o.rested]
        return sorted(resting, key=lambda o: (-o.side, -o.price * o.side, o.rested))

    def _fill(self, order: Resting, qty: int, price: int, liquidity: int) -> None:
        order.left -= qty
        self._say(FILL, order, qty, price, liquidity, NONE)
        if order.left == 0:
            self.orders.remove(order)

    def _end(self, order: Resting, kind: int, liquidity: int, reason: int) -> None:
        self._say(kind, order, order.left, 0, liquidity, reason)
        self.orders.remove(order)

    def _say(self, kind, order, qty, price, liquidity, reason) -> None:
        self.events.append(Event(kind, order.order_id, qty, price, liquidity, reason, self.now))
