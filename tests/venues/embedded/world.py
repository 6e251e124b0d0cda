"""A small exchange in this process, with a clock that tests move, for tests of the core."""

import numpy as np

from venues.embedded.exchange import Exchange, Listener
from venues.embedded.ledger import Account, AccountSpec
from venues.embedded.market import TRADES, Market, SymbolMarket, SymbolSpec
from venues.embedded.orders import Fill, Order, Report, Request
from venues.embedded.symbols import Symbol
from venues.embedded.trades import Print

SPEC = SymbolSpec(
    symbol="BTCUSDT", base="BTC", quote="USDT", tick="0.1", lot="0.00001", min_notional="5"
)
START_NS = 1_736_121_600_000_000_000


class Told(Listener):
    """A listener that remembers."""

    def __init__(self) -> None:
        self.prints: list[Print] = []
        self.reports: list[tuple[str, int, str, str, int]] = []
        self.books = 0
        self.balances: list[tuple[str, list[str]]] = []

    def on_prints(self, symbol: Symbol, prints: list[Print]) -> None:
        self.prints += prints

    def on_book(self, symbol: Symbol) -> None:
        self.books += 1

    def on_report(self, account: Account, report: Report) -> None:
        order, lots = report.order, report.fill.lots if report.fill else 0
        self.reports.append((account.spec.name, order.order_id, report.kind, order.status, lots))

    def on_balances(self, account: Account, assets: list[str]) -> None:
        self.balances.append((account.spec.name, assets))


class World:
    """An exchange with two accounts, no house liquidity but what the test puts there."""

    def __init__(self, spec: SymbolSpec = SPEC, **account: object) -> None:
        self.now_ns = START_NS
        market = SymbolMarket(spec, np.zeros(0, TRADES), (0, 0, 0, 0), iter(()))
        balances = {spec.base: "10", spec.quote: "1000000", "BNB": "1"}
        accounts = tuple(
            AccountSpec(
                name=name, api_key=name * 16, api_secret="x" * 16, balances=balances,
                maker_bps=1.0, taker_bps=5.0, **account,
            )
            for name in ("a", "b")
        )  # fmt: skip
        self.exchange = Exchange(Market((market,), START_NS, 1, "test"), accounts, self.clock)
        self.symbol = self.exchange.symbols[spec.symbol]
        self.told = Told()
        self.exchange.listeners.append(self.told)
        self.a, self.b = self.exchange.ledger.accounts
        self._ids = 0

    def clock(self) -> int:
        return self.now_ns

    def house(self, *levels: tuple[int, int, int]) -> None:
        """Set house levels (side, tick, lots)."""
        self.exchange.house_levels(self.symbol, levels, ())

    def request(self, side: int, kind: str, tick: int, lots: int, **fields: object) -> Request:
        self._ids += 1
        request = Request(side=side, kind=kind, client_id=f"t{self._ids}")
        request.price_tick, request.qty_lot = tick, lots
        for name, value in fields.items():
            setattr(request, name, value)
        return request

    def place(
        self, account: Account, side: int, tick: int, lots: int, kind: str = "LIMIT", **fields
    ) -> tuple[Order, list[Fill]]:
        request = self.request(side, kind, tick, lots, **fields)
        return self.exchange.place(account, self.symbol, request)
