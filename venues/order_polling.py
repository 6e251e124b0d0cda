"""Follows our orders by asking, for exchanges without an order stream of ours, and beside a stream.

Bounded: one round looks at each symbol with orders that are not over, and rests in between.
"""

import asyncio
from typing import Any

from engine.events import OrderState
from venues.order_queries import OrderQueries

MAX_QUESTIONS = 20  # about single orders in a round
FOLLOWED = frozenset(
    {OrderState.ACKED, OrderState.PARTIAL, OrderState.PENDING_CANCEL}
)  # UNKNOWN ones have their resolver


class PollingFollower:
    """Brings what happened to our orders, round by round.

    Args:
        queries: the account and the exchange.
        period_s: rest between rounds.
    """

    def __init__(self, queries: OrderQueries, period_s: float = 1.0) -> None:
        self._queries = queries
        self._period_s = period_s
        self.rounds = 0
        self.failures = 0  # rounds in a row that could not see

    async def run(self) -> None:
        """Work until cancelled."""
        while True:
            await asyncio.sleep(self._period_s * min(1 + self.failures, 10))
            seen = await self.look()
            brake = self._queries.brake
            self.failures = 0 if seen else self.failures + 1
            if self.failures == 3:
                brake.hold("orders.unseen", "the venue does not show our orders")
            elif seen:
                brake.heal("orders.unseen")
            self.rounds += 1

    async def look(self) -> bool:
        """Do one round; return False when the venue did not answer."""
        queries, seen = self._queries, True
        state = queries.account.state
        for symbol, traded in queries.followed().items():
            oldest = queries.oldest_ns(symbol)
            if oldest is None:
                continue
            trades = await queries.trades(traded, oldest)
            found = await queries.open_orders(traded)
            if trades is None or found is None:
                seen = False
                continue
            shown: dict[str, Any] = {report.client_id: report for report in found}
            for client in list(state.live):
                if client in shown:
                    await queries.catch_up(shown[client])
            for trade in trades:
                queries.account.filled(trade)
            seen = await self._absent(symbol, set(shown)) and seen
        return seen

    async def _absent(self, symbol: str, shown: set[str]) -> bool:
        """Ask for the orders that are open with us and not with the venue."""
        queries = self._queries
        state = queries.account.state
        gone = [
            client
            for client, order in state.live.items()
            if order.state in FOLLOWED
            and client not in shown
            and state.markets[order.ref].instrument.symbol == symbol
        ]
        seen = True
        for client in gone[:MAX_QUESTIONS]:
            asked = await queries.ask(client)
            if asked.report is not None:
                await queries.catch_up(asked.report)
            else:
                seen = seen and asked.absent
        return seen
