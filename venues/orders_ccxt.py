"""Approved orders to any spot exchange that ccxt knows: journal, send once, say what is proven."""

import asyncio
from collections.abc import Callable, Coroutine, Sequence

import numpy as np

from engine.account_intents import Intents
from engine.account_state import AccountOrder
from engine.client_ids import client_id
from engine.errors import JournalError
from engine.events import OrderType, RejectReason
from engine.journal_intent import BYTES_HEADER
from engine.journal_layout import Doubt
from engine.journal_layout import Kind as Record
from engine.journal_sync import GroupCommit
from engine.orders import Approved, Order
from engine.venue_events import Measure, NotSent, Trouble
from engine.wire_order import WireOrder, decimal_text, wire_order
from venues.ccxt_client import Answer
from venues.ccxt_reports import order_report, trade_reports
from venues.ccxt_wire import WireDiffers, check_request
from venues.order_queries import OrderQueries, Traded
from venues.outcome import Kind, judge
from venues.rate_budget import Errand

CANCEL_TRIES = 6
CLOSE_S = 10.0
MAX_IN_FLIGHT = 256  # requests at once; more orders than this stand open at no time


class CcxtOrders:
    """The venue's handle: `submit` and `cancel` of engine/ports.py, answers through the account.

    `submit` journals the intent before it returns and sends from a task of its own; a client id is
    sent once, whatever happens. Call both on the loop's thread.

    Args:
        queries: the account and the exchange.
        commit: waits until the journal keeps its promise.
        instruments: by the tape's index.
        models: int64[n], by owner, the journal's numbers of the models as they serve now.
    """

    def __init__(
        self,
        queries: OrderQueries,
        commit: GroupCommit,
        instruments: Sequence[Traded],
        models: np.ndarray,
    ) -> None:
        self._queries = queries
        self._account = queries.account
        self._client = queries.client
        self._brake = queries.brake
        self._commit = commit
        self._instruments = tuple(instruments)
        self._models = models
        refs = [one.market.ref for one in self._instruments]
        self._intents = Intents(self._account, refs, models)
        self._write = self._intents.write
        self._soon = asyncio.get_running_loop().call_soon
        self._handed: list[Approved] = []  # journalled, and not begun to be sent
        self._sends: dict[str, asyncio.Task[None]] = {}
        self._cancels: set[str] = set()  # under way
        self._tasks: set[asyncio.Task[None]] = set()
        self.stopped = False  # after kill or close: no new order leaves

    @property
    def sending(self) -> int:
        """Orders that were handed over and have no answer yet."""
        return len(self._handed) + len(self._sends)

    def submit(self, approved: Approved, now_ns: int = 0) -> None:
        """Journal an approved order now; it is sent, once, in the loop's next turn.

        `now_ns` is the wall clock, 0 to ask it.
        """
        assert type(approved) is Approved, "a venue takes only what the risk gate approved"
        line = approved.line
        if not line or not self._write(id(line) + BYTES_HEADER, now_ns or self._account.now(), 0):
            try:
                self._journal(approved)
            except JournalError as error:
                self._no_journal(str(error), self._wire(approved))
                return
        if not self._handed:
            self._soon(self._begin_all)
        self._handed.append(approved)
        if self.stopped or self._brake.holds:  # it will not leave: said at once
            self._begin_all()

    def _wire(self, approved: Approved) -> WireOrder:
        symbol = self._instruments[approved.order.instrument].market.instrument.symbol
        return wire_order(approved, self._account.tag, symbol)

    def _journal(self, approved: Approved) -> None:
        """Journal an order that Python keeps (of several owners, or a protective exit).

        Or one of the ledger before which the journal has something to do.
        """
        if approved.line:
            self._intents.store(approved.line, self._account.now())
            return
        order = approved.order
        one = len(order.owners) == 1 and order.owners[0][0] >= 0
        words = (
            order.purpose,
            order.price_tick,
            approved.collar_low,
            approved.collar_high,
            order.intent_id,
            int(self._models[order.owners[0][0]]) if one else 0,
        )
        self._account.intent(
            self._wire(approved), self._instruments[order.instrument].market, words
        )

    def _begin_all(self) -> None:
        """Begin to send what was handed over, in order."""
        handed, self._handed = self._handed, []
        if not handed:  # they were begun at once; the journal may be closed by now
            return
        for approved in handed:
            wire = self._wire(approved)
            try:
                self._begin(wire, self._instruments[approved.order.instrument])
            except JournalError as error:
                self._halt("journal.failed", str(error), client_id(wire.tag, wire.ordinal))
        self._account.journal.settle()

    def _begin(self, wire: WireOrder, traded: Traded) -> None:
        """Send an order from a task of its own, if one may leave."""
        account, client = self._account, client_id(wire.tag, wire.ordinal)
        if self.stopped or len(self._sends) >= MAX_IN_FLIGHT or not self._brake.may_send():
            account.ended(client, Record.NOT_SENT, RejectReason.PAUSED)
            return
        task = asyncio.get_running_loop().create_task(
            self._send(client, wire, traded), name=f"send-{client}"
        )
        self._sends[client] = task
        task.add_done_callback(lambda done: self._sent(client, done))

    def cancel(self, order: Order) -> bool:
        """Ask for an order's removal; False when it is over already."""
        return self.cancel_client(client_id(self._account.tag, order.order_id))

    def cancel_client(self, client: str) -> bool:
        """Ask for the removal of an order by client id, also of an earlier run's."""
        order = self._account.state.orders.get(client)
        if order is None or order.over:
            return False
        self._account.cancel_asked(client)
        if client not in self._cancels:
            self._cancels.add(client)
            self._spawn(self._cancel(client), f"cancel-{client}")
        return True

    async def close(self) -> None:
        """Send nothing more; wait for what is under way, but not for a venue's pause.

        What has no answer by then is UNKNOWN in the journal; the next start asks about it.
        """
        self.stopped = True
        self._begin_all()
        pending = [*self._sends.values(), *self._tasks]
        if pending:
            _, late = await asyncio.wait(pending, timeout=CLOSE_S)
            for task in late:
                task.cancel()
            await asyncio.gather(*pending, return_exceptions=True)

    async def _send(self, client: str, wire: WireOrder, traded: Traded) -> None:
        """Send an order and book what its answer proves."""
        account = self._account
        try:
            await self._commit.durable(account.sent(client, wire.hash_words()))
        except JournalError as error:
            account.ended(client, Record.NOT_SENT, RejectReason.JOURNAL)
            self._halt("journal.failed", str(error), client)
            return
        if self.stopped or self._brake.holds:
            account.ended(client, Record.NOT_SENT, RejectReason.PAUSED)
            return
        instrument = traded.market.instrument
        answer = await self._client.call(
            "create_order",
            traded.symbol,
            "limit",
            "buy" if wire.side > 0 else "sell",
            decimal_text(wire.qty_lot, instrument.lot),
            decimal_text(wire.wire_tick, instrument.tick),
            _parameters(client, wire),
            guard=self._guard(wire, traded),
        )
        await self._book_answer(client, traded, answer)

    async def _book_answer(self, client: str, traded: Traded, answer: Answer) -> None:
        """Let the answer to a new order become records."""
        account = self._account
        value = answer.value if isinstance(answer.value, dict) else {}
        named = str(value.get("clientOrderId") or "")
        accepted = bool(value.get("id")) and named in (client, "")
        outcome = judge(self._client.rules, answer.attempt, accepted)
        self._brake.see(answer.attempt, outcome)
        if outcome.kind == Kind.ACCEPTED:
            account.acked(client, str(value["id"]))
            for trade in trade_reports(value.get("trades"), traded.market) or ():
                if not trade.trade_id.startswith("~"):
                    account.filled(trade)
            report = order_report({**value, "clientOrderId": client}, traded.market)
            if report is not None:
                await self._queries.catch_up(report)
        elif outcome.kind == Kind.REJECTED:
            account.ended(client, Record.REJECT, outcome.reason, 0, outcome.code)
        elif outcome.kind == Kind.NOT_SENT:
            account.ended(client, Record.NOT_SENT, outcome.reason)
            if outcome.reason == RejectReason.WIRE:
                self._halt("orders.wire", "a request was stopped: not what was approved", client)
        else:
            account.unknown(client, outcome.doubt or Doubt.NO_PROOF)

    def _guard(self, wire: WireOrder, traded: Traded) -> Callable[[str, str, str], None]:
        """Return the check of what leaves: one request, and what the gate approved."""
        name, left = self._client.name, 1

        def guard(url: str, method: str, body: str) -> None:
            nonlocal left
            if not left:
                raise WireDiffers("an order would be sent twice")
            left -= 1
            check_request(name, wire, traded.market, traded.market_id, (url, body))

        return guard

    async def _cancel(self, client: str) -> None:
        """Ask until the venue's own word proves that the order is over, some times; then tell."""
        try:
            await self._ask_cancel(client)
        finally:
            self._cancels.discard(client)

    async def _ask_cancel(self, client: str) -> None:
        sending = self._sends.get(client)
        if sending is not None:
            await asyncio.wait([sending])
        order = self._account.state.orders[client]
        for turn in range(CANCEL_TRIES):
            if order.over:
                return
            await self._cancel_once(client, order)
            if not order.over:
                await asyncio.sleep(0.1 * 2**turn)
        if not order.over:
            self._halt("orders.cancel_failed", "the venue does not prove a cancel", client)

    async def _cancel_once(self, client: str, order: AccountOrder) -> None:
        """Send one cancel and look at the order: fills first, then its end."""
        queries = self._queries
        traded = queries.traded_of(order)
        by_id = {"clientOrderId": client}
        answer = await queries.call(
            "cancel_order", order.venue_id, traded.symbol, by_id, errand=Errand.CANCEL
        )
        report = None
        if isinstance(answer.value, dict):
            report = order_report({**answer.value, "clientOrderId": client}, traded.market)
        if report is None or report.status == "open":
            report = (await queries.ask(client)).report
        if report is not None:
            await queries.catch_up(report)

    def _sent(self, client: str, done: asyncio.Task[None]) -> None:
        """Let no send die unseen: whatever it left unproven is UNKNOWN.

        What the answer has written is hashed now: the next intent must not wait for it.
        """
        self._sends.pop(client, None)
        failed = done.cancelled() or done.exception() is not None
        order = self._account.state.orders[client]
        if failed and not order.over and not order.venue_id:
            self._account.unknown(client, Doubt.NO_ANSWER)
        if failed and not done.cancelled():
            kind = type(done.exception()).__name__
            self._halt("orders.send_failed", f"sending ended by {kind}", client)
        if not self.stopped:  # else the journal may be closed by now
            self._account.journal.settle()

    def _spawn(self, work: Coroutine[object, object, None], name: str) -> None:
        task = asyncio.get_running_loop().create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._over)

    def _over(self, done: asyncio.Task[None]) -> None:
        self._tasks.discard(done)
        if not done.cancelled() and done.exception() is not None:
            kind = type(done.exception()).__name__
            self._halt("orders.task_failed", f"{done.get_name()} ended by {kind}", "")

    def _no_journal(self, why: str, wire: WireOrder) -> None:
        """Tell that an order never left because it could not be kept."""
        reason = int(RejectReason.JOURNAL)
        self._account.tell(
            NotSent(tag=wire.tag, ordinal=wire.ordinal, symbol=wire.symbol, reason=reason)
        )
        self._halt("journal.failed", why, client_id(wire.tag, wire.ordinal))

    def _halt(self, code: str, text: str, client: str) -> None:
        orders = (client,) if client else ()
        self._account.tell(Trouble(code=code, text=text, measure=Measure.HALT, orders=orders))


def _parameters(client: str, wire: WireOrder) -> dict[str, object]:
    """Return ccxt's parameters of an order."""
    parameters: dict[str, object] = {"clientOrderId": client}
    if wire.order_type == OrderType.POST_ONLY:
        parameters["postOnly"] = True
    else:
        parameters["timeInForce"] = "IOC" if wire.immediate else "GTC"
    return parameters
