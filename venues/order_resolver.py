"""Finds out what became of UNKNOWN orders, by asking. Never by assuming, never by sending again."""

import asyncio
from collections.abc import Callable

from engine.account_state import AccountOrder
from engine.events import OrderState, RejectReason
from engine.journal_layout import Kind as Record
from engine.journal_layout import Note
from engine.venue_events import Healed, Measure, Trouble
from venues.order_queries import OrderQueries

DELAYS_S = (0.2, 0.5, 1.0, 2.0, 5.0)  # between questions about one order; the last one repeats
SLOW_S = 30.0  # between questions after the alarm
TICK_S = 0.1


class _Case:
    """What is known about one UNKNOWN order."""

    __slots__ = ("absent", "alarmed", "asked", "due", "since")

    def __init__(self, now: float) -> None:
        self.since = now
        self.due = now + DELAYS_S[0]
        self.asked = 0
        self.absent = 0  # readable answers that the venue has no such order
        self.alarmed = False


class Resolver:
    """Asks about each UNKNOWN order until something proves its fate.

    "Not found" proves nothing while the venue's queries may lag. Past the lag bound and enough
    questions there are two ends. Where the venue refuses requests of a certain age (Binance's
    recvWindow) and that age is past, the order can no longer arrive: rejected, NEVER_ARRIVED. Else
    it stays UNKNOWN, its symbol may only reduce, and an operator is called.
    """

    def __init__(self, queries: OrderQueries, clock: Callable[[], float]) -> None:
        self._queries = queries
        self._account = queries.account
        self._rules = queries.client.rules
        self._clock = clock
        self._cases: dict[str, _Case] = {}

    async def run(self) -> None:
        """Work until cancelled."""
        while True:
            await self.look()
            await asyncio.sleep(TICK_S)

    async def look(self) -> None:
        """Ask about every order whose turn has come."""
        now = self._clock()
        unknown = {
            client: order
            for client, order in self._account.state.live.items()
            if order.state == OrderState.UNKNOWN
        }
        for client in list(self._cases):
            if client not in unknown:
                self._solved(client)
        for client, order in unknown.items():
            case = self._cases.setdefault(client, _Case(now))
            if case.due <= self._clock():
                await self._ask(client, order, case)

    async def _ask(self, client: str, order: AccountOrder, case: _Case) -> None:
        """Ask once; act on what is proven."""
        asked = await self._queries.ask(client)
        case.asked += 1
        pause = SLOW_S if case.alarmed else DELAYS_S[min(case.asked, len(DELAYS_S) - 1)]
        case.due = self._clock() + pause
        if asked.report is not None:
            await self._queries.catch_up(asked.report)
            return
        case.absent += asked.absent
        age = self._clock() - case.since
        if case.asked < self._rules.polls or age < self._rules.lag_bound_s:
            return
        if order.state != OrderState.UNKNOWN:
            return
        trades = await self._queries.trades(self._queries.traded_of(order), order.intent_ts)
        booked = [trade for trade in trades or () if self._account.filled(trade)]
        absent = case.absent >= self._rules.polls
        life = self._rules.request_life_s if absent else 0.0
        if booked or trades is None or order.state != OrderState.UNKNOWN:
            return
        if life and age > life + self._rules.lag_bound_s:
            self._account.ended(client, Record.REJECT, RejectReason.NEVER_ARRIVED)
        elif not life and not case.alarmed:
            self._alarm(client, order, case)

    def _alarm(self, client: str, order: AccountOrder, case: _Case) -> None:
        """Call an operator; go on asking, slowly."""
        case.alarmed = True
        symbol = self._account.state.markets[order.ref].instrument.symbol
        self._account.note(Note.UNRESOLVED, client)
        self._account.tell(
            Trouble(
                code="orders.unresolved",
                text=f"{symbol}: nothing proves what became of order {client}; its reserve stays",
                measure=Measure.REDUCE,
                symbol=symbol,
                orders=(client,),
            )
        )

    def _solved(self, client: str) -> None:
        """Forget a case; end its alarm when it was the symbol's last."""
        case = self._cases.pop(client)
        if not case.alarmed:
            return
        symbol = self._symbol(client)
        others = [c for c, k in self._cases.items() if k.alarmed and self._symbol(c) == symbol]
        if not others:
            self._account.tell(Healed(code="orders.unresolved", symbol=symbol))

    def _symbol(self, client: str) -> str:
        state = self._account.state
        return state.markets[state.orders[client].ref].instrument.symbol
