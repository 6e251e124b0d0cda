"""Positions, money and who owns them: the one place where a fill changes anything.

Every lot has an owner: a model's index, or NOBODY for a strategy without model. A book is one
owner's position in one instrument; the books of an instrument add up to the account's position.
The numbers stand in records (engine/kernel/ledger.py) that the kernel works on as well: it books
the fills of orders of one owner (engine/kernel/books.py), this file those of several.
"""

from collections.abc import Callable, Iterator, Mapping

import numpy as np

from engine.books import NOBODY, Amounts, Book, Books
from engine.events import Fill, Liquidity
from engine.kernel.ledger import DESK, GRID, LEDGER, WALLET
from engine.limits import MAX_MODELS, MAX_ORDERS, MAX_STRATEGIES
from engine.money import Grid, fee, split
from engine.orders import Order


class Change:
    """What a fill did to one owner: opened and closed at cost, gain before fee, and the fee."""

    __slots__ = ("closed", "fee", "gain", "opened", "owner", "qty")

    def __init__(self, owner: int, qty: int, moved: tuple[int, int, int], paid_fee: int) -> None:
        self.owner = owner
        self.qty = qty
        self.opened, self.closed, self.gain = moved
        self.fee = paid_fee


def _grid_records(
    grids: list[Grid], currencies: list[tuple[str, str]], places: Mapping[str, int]
) -> np.ndarray:
    records = np.zeros(len(grids), GRID)
    for record, grid, (base, quote) in zip(records, grids, currencies, strict=True):
        record["tick"], record["num"], record["den"] = grid.tick, grid.num, grid.den
        record["lot_minor"] = grid.lot_minor
        record["base"], record["quote"] = places[base], places[quote]
    return records


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
        names = dict.fromkeys([*balances, *(name for pair in currencies for name in pair)])
        places = {name: at for at, name in enumerate(names)}
        self.wallets = np.zeros(len(places), WALLET)
        self.total = Amounts(self.wallets, places, "total")
        self.locked = Amounts(self.wallets, places, "locked")
        self.fees = Amounts(self.wallets, places, "fees")
        self.realized = Amounts(self.wallets, places, "realized")
        for currency, amount in balances.items():
            self.total[currency] = amount
        self.grid_records = _grid_records(grids, currencies, places)
        self.ledger = np.zeros(MAX_ORDERS, LEDGER)
        self.desk = np.zeros(1, DESK)
        self.rates = {int(Liquidity.MAKER): maker_rate, int(Liquidity.TAKER): taker_rate}
        self.max_rate = max(maker_rate, taker_rate, 0)
        self.desk["maker_rate"], self.desk["taker_rate"] = maker_rate, taker_rate
        self.desk["max_rate"] = self.max_rate
        self.books = Books(MAX_MODELS + 1, NOBODY, len(grids))
        self.strategy_books = Books(MAX_STRATEGIES, 0, len(grids))  # by (strategy, instrument)
        self.book: Callable[[int, int], Book] = self.books.book

    def give_records(self, root: np.void) -> None:
        """Write the addresses of the records into the kernel's root record."""
        for name, records in (
            ("desk", self.desk),
            ("grids", self.grid_records),
            ("wallets", self.wallets),
            ("books_of", self.books.records),
            ("strategy_books", self.strategy_books.records),
            ("ledger", self.ledger),
        ):
            root[name] = records.ctypes.data

    def count_leg(self, owner: int, instrument: int, change: int) -> None:
        """Count a protective leg that was laid (+1) or taken away (-1)."""
        self.book(owner, instrument).legs += change

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

    def apply(self, fill: Fill, order: Order, paid: int | None = None) -> list[Change]:
        """Book a fill: balances, fees, and the owners' books; return what changed for each owner.

        Entry fills are split by the owners' weights with the largest remainder, in lots. `paid` is
        the fee in the quote currency; without it the portfolio's own rates say it.
        """
        grid = self.grids[fill.instrument]
        base, quote = self.currencies[fill.instrument]
        notional = grid.notional(fill.price_tick, fill.qty_lot)
        if paid is None:
            paid = fee(notional, self.rates[fill.liquidity])
        self.total[quote] -= fill.side * notional + paid
        self.total[base] += fill.side * fill.qty_lot * grid.lot_minor
        self.fees[quote] += paid
        if order.strategy >= 0:
            self._book_strategy(order.strategy, fill, notional, paid)
        owners = order.owners
        if len(owners) <= 1:
            owner = owners[0][0] if owners else NOBODY
            changes = [self._book_one(owner, fill, (fill.qty_lot, notional, paid))]
        else:
            changes = self._book_shares(fill, order, (notional, paid))
        self.realized[quote] += sum(c.gain - c.fee for c in changes)
        return changes

    def _book_strategy(self, strategy: int, fill: Fill, notional: int, paid: int) -> None:
        """Book a fill once more for the strategy that wanted it; nothing is decided on these."""
        book = self.strategy_books.book(strategy, fill.instrument)
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
        before = book.position_lot
        moved = book.apply(fill.side, qty, notional)
        book.fees += paid
        self._count_trip(owner, book, before)
        return Change(owner, qty, moved, paid)

    def _count_trip(self, owner: int, book: Book, before: int) -> None:
        """Count a round trip that a fill has ended; the rule of engine/kernel/books.py."""
        after = book.position_lot
        if before == 0 or (after != 0 and (after > 0) == (before > 0)):
            return
        result = book.realized - book.fees
        losses = self.desk[0]["losses"]
        if result < book.trip_from:
            losses[owner + 1] += 1
        elif result > book.trip_from:
            losses[owner + 1] = 0
        book.trip_from = result

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
