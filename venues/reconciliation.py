"""Asks the venue for all that the journal must agree with, and brings the journal to it."""

import asyncio
from collections.abc import Mapping
from decimal import Decimal

from engine.account_reports import carry_out
from engine.account_state import AccountState
from engine.errors import VenueError
from engine.journal_layout import Kind, Name, named
from engine.reconcile import Book, Missing, Step, VenueState, balance_steps, plan
from engine.venue_events import OrderReport, TradeReport
from venues.order_queries import OrderQueries

TRIES = 5
PAUSE_S = 0.5
BACK_NS = 24 * 3600 * 10**9  # how far back fills are looked for before a balance is called wrong


async def reconcile(queries: OrderQueries, *, with_balances: bool = True) -> list[Step]:
    """Compare and carry out; return the steps of the last comparison.

    Called at start and after every reconnect of the order stream, before new orders may leave. What
    the journal adds up to is compared with balances only while nothing moves them: when two
    readings before and after the trades agree. Before a balance is called wrong, the trades of the
    last day are gone through: a venue may fill an order after it has cancelled it.

    Raises:
        VenueError: the venue does not answer; try again later, and send nothing meanwhile.
    """
    account, back_ns = queries.account, 0
    for turn in range(TRIES):
        before = await queries.balances() if with_balances else None
        state = await _venue_state(queries, account.state, back_ns)
        steps = plan(account.state, state)
        if back_ns:  # all else is said and done
            steps = [step for step in steps if isinstance(step, Book)]
        missing = carry_out(account, steps)
        if missing:
            await _pause(turn, missing)
            continue
        if not with_balances:
            return steps
        after = await queries.balances()
        if before is None or after is None:
            raise VenueError(f"{queries.client.name}: balances cannot be read")
        if before != after:  # something filled meanwhile: look again
            await asyncio.sleep(PAUSE_S)
            continue
        _declare(queries, after)
        differing = balance_steps(account.state, after, _watched(queries))
        if differing and not back_ns:
            back_ns = BACK_NS  # a fill may have come after its order's end, when nobody listened
            continue
        carry_out(account, differing)
        return [*steps, *differing]
    raise VenueError(f"{queries.client.name}: orders, trades and balances do not come to rest")


async def _venue_state(queries: OrderQueries, state: AccountState, back_ns: int) -> VenueState:
    """Ask for open orders, for each of ours that is not over, and for the trades since.

    `back_ns`: for trades of orders that are over too, as far back as that.
    """
    open_orders: list[OrderReport] = []
    trades: list[TradeReport] = []
    for symbol, traded in queries.followed().items():
        found = await queries.open_orders(traded)
        if found is None:
            raise VenueError(f"{queries.client.name}: open orders cannot be read")
        open_orders += found
        oldest = queries.oldest_ns(symbol, back_ns)
        if oldest is None:
            continue
        page = await queries.trades(traded, oldest)
        if page is None:
            raise VenueError(f"{queries.client.name}: trades cannot be read")
        trades += page
    shown = {report.client_id for report in open_orders}
    queried: dict[str, OrderReport | None] = {}
    for client in list(state.live):
        if client not in shown:
            asked = await queries.ask(client)
            if asked.report is not None or asked.absent:
                queried[client] = asked.report
    return VenueState(open_orders=open_orders, queried=queried, trades=trades)


def _declare(queries: OrderQueries, found: Mapping[str, Decimal]) -> None:
    """At an account's first start its balances become what the journal counts from."""
    account = queries.account
    held = {asset for asset, amount in found.items() if amount}
    for asset in sorted((held | _watched(queries)) - set(account.state.baseline)):
        if account.state.money.get(asset):
            continue  # fills moved it before anyone looked: nothing to count from
        ref = account.name(Name.ASSET, asset)
        account.put(Kind.BALANCE, ref=ref, body=named(f"{found.get(asset, 0):f}"))


def _watched(queries: OrderQueries) -> set[str]:
    """Return the assets that our orders and fees can move; others are nobody's business here."""
    instruments = [traded.market.instrument for traded in queries.followed().values()]
    ours = {asset for one in instruments for asset in (one.base, one.quote)}
    return ours | set(queries.account.state.money)


async def _pause(turn: int, missing: list[Missing]) -> None:
    """Give the venue's trades time to show what its orders count already."""
    assert missing
    await asyncio.sleep(PAUSE_S * (turn + 1))
