"""Positions, money and who owns them: the one place where a fill changes anything.

Every lot has an owner: a model's index, or NOBODY for a strategy without model. A book is one
owner's position in one instrument; the books of an instrument add up to the account's position.
"""

from collections.abc import Iterator

import numpy as np

from engine.events import Fill, Liquidity
from engine.money import Grid, fee, split
from engine.orders import Order

NOBODY = -1


class Book:
    """One owner's position in one instrument: signed lots, their signed cost, and results."""

    __slots__ = (
        "closing_lot",
        "cost",
        "drawdown",
        "fees",
        "opening_buy_lot",
        "opening_sell_lot",
        "peak",
        "position_lot",
        "realized",
    )

    def __init__(self) -> None:
        self.position_lot = 0
        self.cost = 0
        self.realized = 0  # before fees
        self.fees = 0
        self.closing_lot = 0  # lots that orders on their way will close
        self.opening_buy_lot = 0  # lots that buys and sells on their way will open
        self.opening_sell_lot = 0
        self.peak = 0.0  # of the result after fees, as marked, minor units
        self.drawdown = 0.0  # the largest fall from the peak

    def apply(self, side: int, qty: int, notional: int) -> tuple[int, int, int]:
        """Book a fill of `qty` lots for `notional`; return (opened, closed at cost, realized).

        Average cost: what closes takes its share of the cost, the last lot takes all that is left.
        """
        position = self.position_lot
        if position * side >= 0:
            self.position_lot = position + side * qty
            self.cost += side * notional
            return notional, 0, 0
        closing = min(qty, abs(position))
        paid = notional if closing == qty else notional * closing // qty
        out = self.cost * closing // abs(position) if closing < abs(position) else self.cost
        gain = -side * paid - out
        self.position_lot = position + side * closing
        self.cost -= out
        self.realized += gain
        opened = notional - paid
        if qty > closing:
            self.position_lot += side * (qty - closing)
            self.cost += side * opened
        return opened, abs(out), gain


class Change:
    """What a fill did to one owner: opened and closed at cost, gain before fee, and the fee."""

    __slots__ = ("closed", "fee", "gain", "opened", "owner", "qty")

    def __init__(self, owner: int, qty: int, moved: tuple[int, int, int], paid_fee: int) -> None:
        self.owner = owner
        self.qty = qty
        self.opened, self.closed, self.gain = moved
        self.fee = paid_fee


class Portfolio:
    """The account: balances in minor units, books by owner and instrument.

    Args:
        grids: one for each instrument.
        bases, quotes: the currencies of each instrument.
        balances: opening amounts in minor units by currency.
        maker_rate, taker_rate: fees in 1e-8 of the notional.
    """

    def __init__(
        self,
        grids: list[Grid],
        currencies: list[tuple[str, str]],
        balances: dict[str, int],
        maker_rate: int,
        taker_rate: int,
    ) -> None:
        self.grids = grids
        self.currencies = currencies
        self.total = dict(balances)
        self.locked = dict.fromkeys(balances, 0)
        for base, quote in currencies:
            for currency in (base, quote):
                self.total.setdefault(currency, 0)
                self.locked.setdefault(currency, 0)
        self.rates = {int(Liquidity.MAKER): maker_rate, int(Liquidity.TAKER): taker_rate}
        self.max_rate = max(maker_rate, taker_rate, 0)
        self.books: dict[tuple[int, int], Book] = {}
        self.strategy_books: dict[tuple[int, int], Book] = {}  # by (strategy, instrument)
        self.fees: dict[str, int] = {}
        self.realized: dict[str, int] = {}

    def book(self, owner: int, instrument: int) -> Book:
        """Return an owner's book, empty when it has none yet."""
        found = self.books.get((owner, instrument))
        if found is None:
            found = self.books[(owner, instrument)] = Book()
        return found

    def free(self, currency: str) -> int:
        """Return what is not locked in open orders."""
        return self.total.get(currency, 0) - self.locked.get(currency, 0)

    def position_lot(self, instrument: int) -> int:
        """Return the account's position: the sum of the books."""
        return sum(book.position_lot for (_, at), book in self.books.items() if at == instrument)

    def books_of(self, instrument: int) -> Iterator[tuple[int, Book]]:
        """Iterate over (owner, book) of one instrument, in order of the owners."""
        for owner, at in sorted(self.books):
            if at == instrument:
                yield owner, self.books[(owner, at)]

    def lock(self, order: Order) -> None:
        """Lock what an approved order may need: quote money with its fee, or base lots."""
        order.locked = self.need(order.instrument, order.side, order.qty_lot, order.worst_tick)
        self.locked[self.currencies[order.instrument][0 if order.side < 0 else 1]] += order.locked

    def need(self, instrument: int, side: int, qty_lot: int, worst_tick: int) -> int:
        """Return what an order must find free: base minor units to sell, quote with fee to buy."""
        grid = self.grids[instrument]
        if side < 0:
            return qty_lot * grid.lot_minor
        notional = grid.notional(worst_tick, qty_lot)
        return notional + fee(notional, self.max_rate)

    def unlock(self, order: Order, left_lot: int) -> None:
        """Lower an order's lock to what its last `left_lot` lots need."""
        needed = 0
        if left_lot > 0:
            needed = self.need(order.instrument, order.side, left_lot, order.worst_tick)
        side = 0 if order.side < 0 else 1
        self.locked[self.currencies[order.instrument][side]] += needed - order.locked
        order.locked = needed

    def apply(self, fill: Fill, order: Order) -> list[Change]:
        """Book a fill: balances, fees, and the owners' books; return what changed for each owner.

        Entry fills are split by the owners' weights with the largest remainder, in lots.
        """
        grid = self.grids[fill.instrument]
        base, quote = self.currencies[fill.instrument]
        notional = grid.notional(fill.price_tick, fill.qty_lot)
        paid = fee(notional, self.rates[fill.liquidity])
        self.total[quote] -= fill.side * notional + paid
        self.total[base] += fill.side * fill.qty_lot * grid.lot_minor
        self.fees[quote] = self.fees.get(quote, 0) + paid
        if order.strategy >= 0:
            self._book_strategy(order.strategy, fill, notional, paid)
        owners = order.owners
        if len(owners) <= 1:
            owner = owners[0][0] if owners else NOBODY
            changes = [self._book_one(owner, fill, (fill.qty_lot, notional, paid))]
        else:
            changes = self._book_shares(fill, order, (notional, paid))
        self.realized[quote] = self.realized.get(quote, 0) + sum(c.gain - c.fee for c in changes)
        return changes

    def _book_strategy(self, strategy: int, fill: Fill, notional: int, paid: int) -> None:
        """Book a fill once more for the strategy that wanted it; nothing is decided on these."""
        key = (strategy, fill.instrument)
        book = self.strategy_books.get(key)
        if book is None:
            book = self.strategy_books[key] = Book()
        book.apply(fill.side, fill.qty_lot, notional)
        book.fees += paid

    def unrealized(self, book: Book, instrument: int, mid: float) -> float:
        """Return what a book's position would gain at a price, minor units."""
        if book.position_lot == 0:
            return 0.0
        grid = self.grids[instrument]
        return book.position_lot * mid / grid.tick * grid.unit - book.cost

    def mark(self, mids: np.ndarray) -> None:
        """Follow every book's result at the current mids: its peak and its largest drawdown."""
        for books in (self.books, self.strategy_books):
            for (_, instrument), book in books.items():
                result = float(book.realized - book.fees)
                result += self.unrealized(book, instrument, float(mids[instrument]))
                book.peak = max(book.peak, result)
                book.drawdown = max(book.drawdown, book.peak - result)

    def _book_one(self, owner: int, fill: Fill, share: tuple[int, int, int]) -> Change:
        qty, notional, paid = share
        book = self.book(owner, fill.instrument)
        moved = book.apply(fill.side, qty, notional)
        book.fees += paid
        return Change(owner, qty, moved, paid)

    def _book_shares(self, fill: Fill, order: Order, money: tuple[int, int]) -> list[Change]:
        """Book a fill of several owners, so that the shares do not depend on how the order fills.

        Whose lots they are is split once, over the whole order; a fill takes its part of what is
        left of each owner. So an exit in many fills never takes more from an owner than he holds.
        """
        if not order.owner_left:
            order.owner_left = split(order.qty_lot, tuple(weight for _, weight in order.owners))
        lots = split(fill.qty_lot, order.owner_left)
        order.owner_left = tuple(left - part for left, part in zip(order.owner_left, lots))
        notional, paid = money
        sign = -1 if paid < 0 else 1
        fees = split(abs(paid), lots)
        parts = split(notional, lots)
        return [
            self._book_one(owner, fill, (qty, part, sign * share))
            for (owner, _), qty, part, share in zip(order.owners, lots, parts, fees, strict=True)
            if qty > 0
        ]
