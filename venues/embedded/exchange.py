"""The matching core: accounts' orders and the house meet in the books, and listeners are told.

Synchronous and without a clock of its own: whoever holds it hands in a function for the time. Each
operation ends by telling the listeners which books changed and whose balances.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterable

from venues.embedded import matching
from venues.embedded.ledger import Account, AccountSpec, Ledger
from venues.embedded.market import Market
from venues.embedded.orders import Fill, Order, Report, Request
from venues.embedded.refusals import Refused, filter_failure, no_such_order, unknown_order
from venues.embedded.symbols import HALT, Symbol
from venues.embedded.trades import Print

MAX_OPEN_ORDERS = 200  # of one account and symbol: the filter MAX_NUM_ORDERS
MAX_KEPT_ORDERS = 200_000  # ended orders that can still be asked for; the oldest go
MAX_KEPT_FILLS = 500_000  # of one account


class Listener:
    """Who is told what happened; a subclass takes what it needs, the rest passes by."""

    def on_prints(self, symbol: Symbol, prints: list[Print]) -> None:
        """Take the trades of one operation."""

    def on_book(self, symbol: Symbol) -> None:
        """Learn that a book changed; its update id says how far it is."""

    def on_report(self, account: Account, report: Report) -> None:
        """Take one step of an order's life."""

    def on_balances(self, account: Account, assets: list[str]) -> None:
        """Learn which balances of an account changed."""


class Mischief:
    """Faults of the engine itself, set through the control port; all off by default."""

    def __init__(self) -> None:
        self.fragments = 0  # V09: split each fill of an account's order into this many
        self.hide_ns = 0  # V06: queries do not find an order before this age
        self.late_fill_lots = 0  # V12: lots that fill after the cancel was acknowledged
        self.late_fill_count = 0  # cancels that this still happens to


class Exchange:
    """All symbols and accounts."""

    def __init__(
        self,
        market: Market,
        accounts: tuple[AccountSpec, ...],
        clock_ns: Callable[[], int],
        shift_ms: int = 0,
    ) -> None:
        """Open the exchange.

        Args:
            market: symbols with their history; their touch makes the first books.
            accounts: who may trade.
            clock_ns: the exchange's time.
            shift_ms: from market time to the exchange's, for the history.
        """
        self.clock_ns = clock_ns
        self.stamp_ms: int | None = None  # the time of what happens now, where it is in the past
        self.market = market
        self.ledger = Ledger(accounts)
        self.symbols = {
            one.spec.symbol: Symbol(index, one, shift_ms)
            for index, one in enumerate(market.symbols)
        }
        self.orders: OrderedDict[int, Order] = OrderedDict()
        self.open_orders: dict[int, Order] = {}
        self.by_client: dict[tuple[int, str], Order] = {}  # newest order of each client id
        self.fills: dict[int, list[Fill]] = {}  # account -> its fills
        self.listeners: list[Listener] = []
        self.mischief = Mischief()
        self.late: list[tuple[Order, Fill, Print]] = []  # fills to be told after their cancel
        self._next_order = 1

    @property
    def now_ms(self) -> int:
        """The exchange's time in ms."""
        return self.clock_ns() // 1_000_000 if self.stamp_ms is None else self.stamp_ms

    def place(self, account: Account, symbol: Symbol, request: Request) -> tuple[Order, list[Fill]]:
        """Take a new order as far as it goes now.

        Returns:
            the order and its fills of this call.
        Raises:
            Refused: the order was not accepted; nothing changed.
        """
        if symbol.status == HALT:
            raise Refused(-2010, "Market is closed.")
        former = self.by_client.get((account.index, request.client_id))
        if former is not None and former.is_open:
            raise Refused(-2010, "Duplicate order sent.")
        if symbol.open_orders.get(account.index, 0) >= MAX_OPEN_ORDERS:
            raise filter_failure("MAX_NUM_ORDERS")
        limit = request.price_tick or None
        if request.kind == "LIMIT_MAKER" and symbol.book.first(request.side, limit) is not None:
            raise Refused(-2010, "Order would immediately match and take.")
        order = Order(self._next_order, account.index, symbol.name, request)
        if order.quote_qty:
            matching.size_by_money(symbol, order)
        asset, amount = matching.to_lock(symbol, order)
        self.ledger.lock(account, asset, amount)
        self._next_order += 1
        order.locked = amount
        order.placed_ns = self.clock_ns()
        order.created_ms = order.updated_ms = order.placed_ns // 1_000_000
        self._keep(order)
        self.report(Report(order, "NEW"))
        fills = matching.take(self, symbol, order)
        matching.settle_rest(self, symbol, order)
        self.finish(symbol)
        return order, fills

    def cancel(self, account: Account, order: Order, cancel_id: str) -> None:
        """Cancel an open order.

        Args:
            account: whose order it is.
            order: from `find`.
            cancel_id: the cancel's own client id, for the report.
        Raises:
            Refused: -2011, it is not open.
        """
        if not order.is_open:
            raise unknown_order()
        symbol = self.symbols[order.symbol]
        symbol.book.remove(order)
        if self.mischief.late_fill_count > 0:
            self.mischief.late_fill_count -= 1
            lots = min(order.left_lot, self.mischief.late_fill_lots)
            self.late.append(matching.secret_fill(self, symbol, order, lots))
        self.end(order, "CANCELED")
        self.report(Report(order, "CANCELED", cancel_id=cancel_id))
        self.finish(symbol)

    def tell_late(self) -> None:
        """Tell the fills that were kept back at a cancel (V12)."""
        waiting, self.late = self.late, []
        for order, fill, made in waiting:
            symbol = self.symbols[order.symbol]
            order.filled_lot += fill.lots
            order.quote_filled += fill.quote
            if order.left_lot == 0:
                order.status = "FILLED"
            self.keep_fill(fill)
            self.report(Report(order, "TRADE", fill))
            for one in self.listeners:
                one.on_prints(symbol, [made])
            self.finish(symbol)

    def find(self, account: Account, order_id: int | None, client_id: str | None) -> Order:
        """Return an account's order by its number, or by its client id.

        Raises:
            Refused: -2013.
        """
        if order_id is not None:
            order = self.orders.get(order_id)
        else:
            order = self.by_client.get((account.index, client_id or ""))
        if order is None or order.account != account.index:
            raise no_such_order()
        return order

    def hidden(self, order: Order) -> bool:
        """Say whether queries do not see the order yet (V06)."""
        return self.clock_ns() - order.placed_ns < self.mischief.hide_ns

    def house_trade(self, symbol: Symbol, side: int, price_tick: int, lots: int) -> None:
        """Let the house take up to `lots` at `price_tick` or better."""
        matching.house_take(self, symbol, side, price_tick, lots)
        self.finish(symbol)

    def house_levels(
        self,
        symbol: Symbol,
        wanted: Iterable[tuple[int, int, int]],
        gone: Iterable[tuple[int, int]],
    ) -> None:
        """Set what the house shows.

        Args:
            symbol: where.
            wanted: (side, tick, lots) of levels, the best of each side first.
            gone: (side, tick) that it leaves.
        """
        book = symbol.book
        wanted = list(wanted)
        for side, tick in gone:
            book.shrink_house(side, tick, 0)
        for side, tick, lots in wanted:
            book.shrink_house(side, tick, lots)
        for side, tick, lots in wanted:
            level = book.sides[side].levels.get(tick)
            more = lots - (level.house if level else 0)
            if more > 0:
                left = matching.house_take(self, symbol, side, tick, more)
                if left:
                    book.rest(side, tick, None, left)
        self.finish(symbol)

    def end(self, order: Order, status: str) -> None:
        """Close an order and give back what is locked for it."""
        symbol = self.symbols[order.symbol]
        account = self.ledger.accounts[order.account]
        asset = symbol.spec.quote if order.side > 0 else symbol.spec.base
        self.ledger.unlock(account, asset, order.locked)
        order.locked = 0
        order.status = status
        order.updated_ms = self.now_ms
        symbol.open_orders[order.account] -= 1
        del self.open_orders[order.order_id]

    def report(self, report: Report) -> None:
        """Tell the listeners of a step in an order's life."""
        account = self.ledger.accounts[report.order.account]
        for one in self.listeners:
            one.on_report(account, report)

    def finish(self, symbol: Symbol) -> None:
        """End an operation: number it if the book changed, and tell the listeners."""
        if symbol.book.changed:
            symbol.book.update_id += 1
            for one in self.listeners:
                one.on_book(symbol)
            symbol.book.changed.clear()
        for account in self.ledger.accounts:
            if account.changed:
                assets = list(account.changed)
                account.changed.clear()
                account.updated_ms = self.now_ms
                for one in self.listeners:
                    one.on_balances(account, assets)

    def keep_fill(self, fill: Fill) -> None:
        """Remember a fill of an account; beyond the bound the older half goes."""
        kept = self.fills.setdefault(fill.order.account, [])
        kept.append(fill)
        if len(kept) > MAX_KEPT_FILLS:
            del kept[: MAX_KEPT_FILLS // 2]

    def _keep(self, order: Order) -> None:
        """Remember an order, and forget the oldest ended one beyond the bound."""
        symbol = self.symbols[order.symbol]
        self.orders[order.order_id] = self.open_orders[order.order_id] = order
        self.by_client[order.account, order.client_id] = order
        symbol.open_orders[order.account] = symbol.open_orders.get(order.account, 0) + 1
        if len(self.orders) <= MAX_KEPT_ORDERS:
            return
        oldest = next(iter(self.orders.values()))
        if oldest.is_open:
            self.orders.move_to_end(oldest.order_id)
            return
        del self.orders[oldest.order_id]
        if self.by_client.get((oldest.account, oldest.client_id)) is oldest:
            del self.by_client[oldest.account, oldest.client_id]
