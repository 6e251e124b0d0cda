"""Questions to the venue about orders, trades and balances, within the request budget."""

import asyncio
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any, NamedTuple

from engine.account import Account
from engine.account_reports import apply_report
from engine.account_state import AccountOrder, Market
from engine.venue_events import Measure, OrderReport, TradeReport, Trouble
from venues.ccxt_client import Answer, CcxtClient
from venues.ccxt_reports import balances, order_report, trade_reports
from venues.order_brake import Brake
from venues.outcome import judge
from venues.rate_budget import Errand

PAGE = 500
MAX_PAGES = 40
OVERLAP_MS = 60_000  # trades are asked for from so long before the oldest order that is not over
_NS_PER_MS = 1_000_000


class Traded(NamedTuple):
    """An instrument of this run at the venue."""

    market: Market
    symbol: str  # ccxt's: BTC/USDT
    market_id: str  # the exchange's


class Asked(NamedTuple):
    """The answer to a question about one order."""

    report: OrderReport | None
    absent: bool = False  # the venue says that it has no such order


class OrderQueries:
    """Asks, and lets the answers become records. Never sends or cancels."""

    def __init__(
        self,
        client: CcxtClient,
        account: Account,
        traded: Mapping[str, Traded],
        brake: Brake,
        clock: Callable[[], float],
    ) -> None:
        """Args: `traded` by canonical symbol; `clock` monotonic seconds."""
        self.client = client
        self.account = account
        self.traded = dict(traded)
        self.brake = brake
        self._clock = clock

    async def wait_turn(self, errand: Errand) -> None:
        """Wait until a request of this kind may leave, and count it."""
        while not self.brake.budget.take(errand, self._clock()):
            await asyncio.sleep(max(self.brake.budget.wait_s(errand, self._clock()), 0.01))

    async def call(self, method: str, *args: Any, errand: Errand = Errand.QUERY) -> Answer:
        """Call the exchange in turn; obey what its answer asks for."""
        await self.wait_turn(errand)
        answer = await self.client.call(method, *args)
        outcome = judge(self.client.rules, answer.attempt, answer.value is not None)
        self.brake.see(answer.attempt, outcome)
        return answer

    def traded_of(self, order: AccountOrder) -> Traded:
        """Return the instrument of an order, of this run or an earlier one."""
        market = self.account.state.markets[order.ref]
        now = self.traded.get(market.instrument.symbol)
        instrument = market.instrument
        symbol = now.symbol if now else f"{instrument.base}/{instrument.quote}"
        return Traded(market, symbol, now.market_id if now else instrument.symbol)

    async def ask(self, client: str) -> Asked:
        """Ask for one order by its client id."""
        order = self.account.state.orders[client]
        traded = self.traded_of(order)
        by_id = {"clientOrderId": client}
        answer = await self.call("fetch_order", order.venue_id or "", traded.symbol, by_id)
        if answer.value is None:
            outcome = judge(self.client.rules, answer.attempt, False)
            return Asked(None, absent=outcome.gone)
        report = order_report(answer.value, traded.market)
        if report is None or report.client_id != client:
            return Asked(None)
        return Asked(report)

    def followed(self) -> dict[str, Traded]:
        """Return what is traded now, and what has orders of earlier runs, by canonical symbol."""
        found = dict(self.traded)
        for order in self.account.state.live.values():
            traded = self.traded_of(order)
            found.setdefault(traded.market.instrument.symbol, traded)
        return found

    async def open_orders(self, traded: Traded) -> list[OrderReport] | None:
        """Return the open orders of an instrument, None without a readable answer."""
        answer = await self.call("fetch_open_orders", traded.symbol)
        if not isinstance(answer.value, list):
            return None
        found = [order_report(order, traded.market) for order in answer.value]
        return None if None in found else [report for report in found if report is not None]

    async def trades(self, traded: Traded, since_ns: int) -> list[TradeReport] | None:
        """Return our trades from a time on, all pages; None when a page cannot be read."""
        since = max(since_ns // _NS_PER_MS - OVERLAP_MS, 0)
        found: dict[str, TradeReport] = {}
        for _ in range(MAX_PAGES):
            answer = await self.call("fetch_my_trades", traded.symbol, since, PAGE)
            if not isinstance(answer.value, list):
                return None
            page = trade_reports(answer.value, traded.market)
            if page is None:
                return None
            new = [trade for trade in page if trade.trade_id not in found]
            found.update({trade.trade_id: trade for trade in new})
            if len(answer.value) < PAGE or not new:
                return list(found.values())
            since = new[-1].ts_event // _NS_PER_MS
        return None

    async def balances(self) -> dict[str, Decimal] | None:
        """Return free plus locked amounts by asset, None without a readable answer."""
        answer = await self.call("fetch_balance")
        return balances(answer.value) if isinstance(answer.value, dict) else None

    def oldest_ns(self, symbol: str, back_ns: int = 0) -> int | None:
        """Return when the oldest order of a symbol that is not over was born.

        `back_ns`: of orders that are over too, as far back as that.
        """
        state, since = self.account.state, self.account.now() - back_ns
        times = [
            order.intent_ts
            for order in (state.orders if back_ns else state.live).values()
            if state.markets[order.ref].instrument.symbol == symbol
            and (not order.over or order.intent_ts >= since)
        ]
        return min(times, default=None)

    async def catch_up(self, report: OrderReport, tries: int = 5) -> None:
        """Apply a report; ask for the fills that it counts and we lack."""
        account = self.account
        for turn in range(tries):
            missing = apply_report(account, report)
            if not missing:
                return
            order = account.state.orders[report.client_id]
            trades = await self.trades(self.traded_of(order), order.intent_ts)
            for trade in trades or ():
                account.filled(trade)
            if turn:
                await asyncio.sleep(0.2 * 2**turn)
        if missing := apply_report(account, report):
            account.tell(
                Trouble(
                    code="orders.fills_missing",
                    text=f"the venue counts {missing} filled lots more than its trades show",
                    measure=Measure.HALT,
                    symbol=report.symbol,
                    orders=(report.client_id,),
                )
            )
