"""Orders that Python keeps: of several owners, and protective exits.

The same steps as the kernel takes for orders of one owner (risk/order_kernel.py and
risk/settle_kernel.py), on the same records; a test replays with either and wants one digest.
"""

from collections.abc import Callable

from engine.audit_layout import Verdict as Code
from engine.bus import Topic
from engine.events import Block, Fill, OrderState, Place, Purpose, RejectReason
from engine.kernel.layout import WORD, Out
from engine.kernel.state import KernelState
from engine.limits import MAX_ORDERS, MAX_TRIGGERS
from engine.open_orders import OpenOrders, free_place, order_at
from engine.orders import Approved, Order
from engine.portfolio import Portfolio
from engine.ports import RiskGate, Venue, Verdict
from engine.protection import Protection
from engine.records import Recorder

NOW, WAKE_ROW = WORD["now"], WORD["row"]
REJECT = int(Out.REJECT)
S_SENT, S_ACKED, S_PARTIAL = (
    int(OrderState.SENT),
    int(OrderState.ACKED),
    int(OrderState.PARTIAL),
)
S_FILLED, S_CANCELED, S_REJECTED = (
    int(OrderState.FILLED),
    int(OrderState.CANCELED),
    int(OrderState.REJECTED),
)
S_PENDING_CANCEL = int(OrderState.PENDING_CANCEL)
S_UNKNOWN = int(OrderState.UNKNOWN)
STOP_LOSS = int(Purpose.STOP_LOSS)
RUN_ENDED = int(RejectReason.RUN_ENDED)
OPPOSITE, OPEN_ORDERS = int(Block.OPPOSITE_INTENT), int(Block.OPEN_ORDERS)
KILLED = int(Block.KILLED)
ORDER_KIND, FILL_KIND = 6, 7  # audit_layout.Record of what changed an exposure
LARGEST_QUEUE = 1e18


class Blocked:
    """A verdict that stands before the gate is asked: the wake already went the other way."""

    __slots__ = ("approved", "blocks", "code", "limit", "mid", "notional", "qty_lot", "used")

    def __init__(self, blocks: int) -> None:
        self.approved: Approved | None = None
        self.blocks = blocks
        self.code = int(Code.BLOCKED)
        self.qty_lot = self.notional = self.used = self.limit = 0
        self.mid = 0.0


class KeptOrders:
    """Takes intents through the gate to the venue, and the venue's answers back into the books.

    Args:
        state: the kernel's memory.
        portfolio, gate, venue, protection, recorder: the parts it joins.
        expose: writes a model's exposure: (model, cause kind, order id, instrument).
        filled: where every fill is published once it is booked.
    """

    def __init__(
        self,
        state: KernelState,
        portfolio: Portfolio,
        rooms: tuple[RiskGate, Venue, Protection],
        recorder: Recorder,
        expose: Callable[[int, int, int, int], None],
        *,
        filled: Topic[Fill],
    ) -> None:
        self.state = state
        self.words = state.words
        self.portfolio = portfolio
        self.grids = portfolio.grids
        self.gate, self.venue, self.protection = rooms
        self.recorder = recorder
        self.filled = filled
        self.orders: dict[int, Order] = {}
        self.open_orders = OpenOrders(self.orders, portfolio.ledger, portfolio.desk)
        self._desk = portfolio.desk[0]
        self._expose = expose

    def place(self, place: Place, strategy: int) -> None:
        """Record an intent, ask the gate, and give the venue what it approved."""
        desk, recorder = self._desk, self.recorder
        intent_id = int(desk["intents"])
        desk["intents"] += 1
        recorder.intent(intent_id, place)
        if len(place.owners) > 1:
            recorder.owners(intent_id, place.owners)
        answer = self._ask(place, intent_id)
        approved = answer.approved
        if approved is None:
            self._block(intent_id, place, answer)
            if place.purpose >= STOP_LOSS and not answer.blocks & KILLED:
                self.protection.again(intent_id)
            return
        recorder.verdict(intent_id, place, answer)
        desk["approved"] += 1
        desk["reduced"] += answer.code == Code.REDUCED
        desk["orders"] += 1
        order = approved.order
        order.strategy = strategy
        self.orders[order.order_id] = order
        self._promise_legs(order, 1)
        order.move(S_SENT)
        recorder.order(order)
        self._show_exposure(order, ORDER_KIND)
        self.venue.submit(approved)

    def adopt(self, order_id: int) -> Order | None:
        """Take an order of the ledger over, as it stands; None when there is none of this number.

        Its place in the ledger is free then. What it reserves, locks and promises stays counted.
        """
        at = self.open_orders.place_of(order_id)
        if at < 0:
            return None
        order = self.orders[order_id] = order_at(self.portfolio.ledger, at)
        free_place(self.portfolio.ledger, self._desk, at)
        return order

    def _promise_legs(self, order: Order, sign: int) -> None:
        if order.stop_loss_tick or order.take_profit_tick:
            self._desk["legs_promised"] += sign * (len(order.owners) or 1)

    def _ask(self, place: Place, intent_id: int) -> Verdict:
        """Ask the gate, unless the wake went the other way already or no place is left."""
        x = self.state.matching[place.instrument]
        wake = (self.words[NOW], self.words[WAKE_ROW])
        if wake != (x["sided_now"], x["sided_row"]):
            x["sided_now"], x["sided_row"] = wake
            x["sided"] = place.side
        if x["sided"] != place.side:
            return Blocked(OPPOSITE)
        if self._is_full(place):
            return Blocked(OPEN_ORDERS)
        return self.gate.check(place, intent_id)

    def _is_full(self, place: Place) -> bool:
        """Tell whether the kernel has no place for the order, or for the stops it would bring."""
        if len(self.open_orders) >= MAX_ORDERS:
            return True
        if not (place.stop_loss_tick or place.take_profit_tick):
            return False
        legs = (len(place.owners) or 1) + int(self._desk["legs_promised"])
        return self.protection.standing + legs > MAX_TRIGGERS

    def _block(self, intent_id: int, place: Place, answer: Verdict) -> None:
        self.recorder.verdict(intent_id, place, answer)
        bits = answer.blocks
        while bits:
            bit = bits & -bits
            self._desk["blocked"][bit.bit_length() - 1] += 1
            bits ^= bit

    def _show_exposure(self, order: Order, cause: int) -> None:
        for owner, _ in order.owners:
            if owner >= 0:
                self._expose(owner, cause, order.order_id, order.instrument)

    def protect(self, order: Order, owner: int, qty: int, moved: tuple[int, int]) -> None:
        """Lay or shorten an owner's legs; moved = (opened, closed at cost)."""
        opened, closed = moved
        position = self.portfolio.book(owner, order.instrument).position_lot
        if opened and (order.stop_loss_tick or order.take_profit_tick):
            self.protection.cover(order, owner, min(qty, abs(position)))
        if closed:
            self.protection.trim(owner, order.instrument, position)

    def on_fill(
        self, order_id: int, qty: int, price_tick: int, liquidity: int, paid: int | None = None
    ) -> None:
        """Book an execution; `paid` is the fee in the quote currency where a venue says it."""
        order = self.orders[order_id]
        fill_id = int(self._desk["fills"])
        self._desk["fills"] += 1
        fill = Fill(
            fill_id,
            self.words[NOW],
            order_id,
            order.instrument,
            order.side,
            qty,
            price_tick,
            liquidity,
        )
        changes = self.portfolio.apply(fill, order, paid)
        order.filled_lot += qty
        done = order.filled_lot == order.qty_lot
        order.move(S_FILLED if done else S_PARTIAL)
        self.gate.filled(order, qty, changes)
        recorder = self.recorder
        recorder.fill(fill, order, sum(c.fee for c in changes), sum(c.gain for c in changes))
        recorder.order(order)
        if done:
            self._close(order)
            if order.is_protective:
                self.protection.closed(order.intent_id)
        self._show_exposure(order, FILL_KIND)
        for change in changes:
            self.protect(order, change.owner, change.qty, (change.opened, change.closed))
        self.filled.publish(fill)

    def on_ack(self, order_id: int, queue: float) -> None:
        """Count an order as resting in the venue's book."""
        order = self.orders[order_id]
        if order.state != S_PENDING_CANCEL:
            order.move(S_PARTIAL if order.filled_lot else S_ACKED)
        self.gate.rests(order)
        lot = self.grids[order.instrument].lot
        lots = queue / lot
        self.recorder.order(order, 0, int(lots + 0.5) if lots < LARGEST_QUEUE else -1)
        self._show_exposure(order, ORDER_KIND)

    def on_end(self, order_id: int, kind: int, reason: int) -> None:
        """Count an order as rejected or cancelled."""
        order = self.orders[order_id]
        order.move(S_REJECTED if kind == REJECT else S_CANCELED)
        self._desk["rejects"] += kind == REJECT
        self.recorder.order(order, reason)
        self._close(order)
        self._show_exposure(order, ORDER_KIND)
        if order.is_protective and reason != RUN_ENDED:
            self.protection.again(order.intent_id, order.left_lot)

    def on_doubt(self, order: Order, reason: int) -> None:
        """Count an order as UNKNOWN."""
        order.move(S_UNKNOWN)
        self.recorder.order(order, reason)
        self._show_exposure(order, ORDER_KIND)

    def reopen(self, order: Order) -> None:
        """Take an order back that was over; `end_again` or a fill of its last lot ends it."""
        self.orders[order.order_id] = order
        self._promise_legs(order, 1)

    def end_again(self, order: Order, reason: int) -> None:
        """End an order that a late fill had opened again."""
        order.move(S_CANCELED)
        self.recorder.order(order, reason)
        self._close(order)
        self._show_exposure(order, ORDER_KIND)

    def _close(self, order: Order) -> None:
        self.gate.release(order)
        self._promise_legs(order, -1)
        del self.orders[order.order_id]
