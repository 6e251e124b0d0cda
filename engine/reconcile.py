"""Compare the account's journal with what the venue says, and say what to do about it. Pure.

Truth, in this order: venue, then journal, then tape. A plan is an ordered list of steps; the shell
(venues/reconciliation.py) carries them out through engine/account.py, where each becomes a record
and an event. Fills come before the ends of their orders, acknowledgements before both.
"""

from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal

import msgspec

from engine.account_state import AccountOrder, AccountState
from engine.client_ids import is_ours
from engine.events import OrderState as S
from engine.events import RejectReason
from engine.journal_layout import Kind
from engine.venue_events import OrderReport, TradeReport

_ENDS = {
    "canceled": Kind.CANCELED,
    "expired": Kind.EXPIRED,
    "rejected": Kind.REJECT,
}


class VenueState(msgspec.Struct, frozen=True, kw_only=True):
    """What the venue was asked, after the answers have been put into whole numbers.

    `queried` holds one entry for each order of ours that was asked for by client id: its report, or
    None where the venue said that it has no such order. `trades` reach back before the oldest order
    that is not over. `balances` are free plus locked; None when they were not asked for.
    """

    open_orders: Sequence[OrderReport]
    queried: Mapping[str, OrderReport | None]
    trades: Sequence[TradeReport]
    balances: Mapping[str, Decimal] | None = None


class Step(msgspec.Struct, frozen=True, gc=False):
    """Base of what a plan is made of."""


class Acknowledge(Step, frozen=True, gc=False):
    """The venue has this order."""

    client_id: str
    venue_id: str
    ts_event: int


class Book(Step, frozen=True, gc=False):
    """A fill that the journal lacks."""

    trade: TradeReport


class End(Step, frozen=True, gc=False):
    """The order is over at the venue."""

    client_id: str
    kind: int  # journal_layout.Kind
    reason: int
    ts_event: int


class Doubtful(Step, frozen=True, gc=False):
    """Nothing proves the order's fate: it is UNKNOWN, or stays so."""

    client_id: str


class Missing(Step, frozen=True, gc=False):
    """The venue counts more filled lots than its trades show so far: ask for them again."""

    client_id: str
    lots: int


class Foreign(Step, frozen=True, gc=False):
    """An order on the account that is not in the journal. Reported, never touched."""

    report: OrderReport
    lost: bool  # its id has our form: a journal of ours is missing


class Contradiction(Step, frozen=True, gc=False):
    """The venue's order and ours differ in what cannot change."""

    client_id: str
    field: str


class Differs(Step, frozen=True, gc=False):
    """The account holds another amount than the journal adds up to: no new exposure."""

    asset: str
    expected: str
    found: str


def plan(state: AccountState, venue: VenueState) -> list[Step]:
    """Return the steps that bring the journal to what the venue says."""
    steps: list[Step] = []
    reports: dict[str, OrderReport] = {}
    for report in venue.open_orders:
        if report.client_id in state.orders:
            reports[report.client_id] = report
        else:
            steps.append(Foreign(report, is_ours(report.client_id)))
    for client, found in venue.queried.items():
        if found is not None and client in state.orders:
            reports[client] = found
    clients = _clients_by_venue_id(state, reports)
    contradicted = set()
    for client, report in reports.items():
        order = state.orders[client]
        field = difference(order, report, state)
        if field:
            contradicted.add(client)
            steps.append(Contradiction(client, field))
        elif not order.venue_id:
            steps.append(Acknowledge(client, report.venue_id, report.ts_event))
    booked = dict.fromkeys(reports, 0)
    for trade in _unknown_trades(state, venue.trades):
        client = trade.client_id or clients.get((trade.symbol, trade.venue_id), "")
        if client in state.orders and client not in contradicted:
            booked[client] = booked.get(client, 0) + trade.qty_lot
            steps.append(Book(msgspec.structs.replace(trade, client_id=client)))
    for client, report in reports.items():
        if client not in contradicted:
            steps += _after(state.orders[client], report, booked[client])
    steps += _doubts(state, venue, reports, booked)
    return steps


def balance_steps(
    state: AccountState,
    balances: Mapping[str, Decimal],
    assets: Iterable[str],
    tolerance: Decimal = Decimal(0),
) -> list[Step]:
    """Compare balances with what the journal adds up to, after its fills are booked.

    Args:
        assets: those that are looked at; of them, those with a declared balance.
    """
    steps: list[Step] = []
    for asset in sorted(set(assets) & set(state.baseline)):
        expected, found = state.expected(asset), balances.get(asset, Decimal(0))
        assert expected is not None
        if abs(found - expected) > tolerance:
            steps.append(Differs(asset, f"{expected:f}", f"{found:f}"))
    return steps


def difference(order: AccountOrder, report: OrderReport, state: AccountState) -> str:
    """Name the field in which a venue's order cannot be ours, "" when there is none."""
    if report.symbol != state.markets[order.ref].instrument.symbol:
        return "symbol"
    if report.side != order.side:
        return "side"
    if report.qty_lot != order.qty_lot:
        return "quantity"
    if report.price_tick and report.price_tick != order.wire_tick:
        return "price"
    if order.venue_id and report.venue_id != order.venue_id:
        return "venue order id"
    return ""


def end_of(order: AccountOrder, report: OrderReport) -> tuple[Kind, int] | None:
    """Return the record and reason by which a report ends an order, None when it does not."""
    kind = _ENDS.get(report.status)
    if kind is None:
        return None
    reason = report.reason
    if not reason and kind == Kind.CANCELED and order.asked_cancel:
        reason = RejectReason.BY_REQUEST
    if not reason and order.order_type in (0, 2):  # an immediate order's rest
        reason = RejectReason.NO_LIQUIDITY
    return kind, int(reason or RejectReason.ENDED_BY_VENUE)


def _clients_by_venue_id(
    state: AccountState, reports: Mapping[str, OrderReport]
) -> dict[tuple[str, str], str]:
    clients = dict(state.by_venue_id)
    for client, report in reports.items():
        clients[report.symbol, report.venue_id] = client
    return clients


def _unknown_trades(state: AccountState, trades: Sequence[TradeReport]) -> list[TradeReport]:
    """Return the trades that are not booked, each once, oldest first."""
    seen: dict[tuple[str, str], TradeReport] = {}
    for trade in trades:
        key = (trade.symbol, trade.trade_id)
        if key not in state.fills:
            seen.setdefault(key, trade)
    return sorted(seen.values(), key=lambda trade: trade.ts_event)


def _after(order: AccountOrder, report: OrderReport, booked: int) -> list[Step]:
    """Say what follows from an order's report once the trades are booked."""
    filled = order.filled_lot + booked
    if report.filled_lot > filled:
        return [Missing(order.client_id, report.filled_lot - filled)]
    if order.state in (S.FILLED, S.CANCELED, S.EXPIRED, S.REJECTED):
        return []
    ends = end_of(order, report)
    if ends is None or filled >= order.qty_lot:
        return []
    return [End(order.client_id, ends[0], ends[1], report.ts_event)]


def _doubts(
    state: AccountState,
    venue: VenueState,
    reports: Mapping[str, OrderReport],
    booked: Mapping[str, int],
) -> list[Step]:
    """Name the orders that are not over and that the venue did not show."""
    doubts: list[Step] = []
    for client, order in state.live.items():
        proven = client in reports or booked.get(client)
        if not proven and (client in venue.queried or order.state == S.UNKNOWN):
            doubts.append(Doubtful(client))
    return doubts
