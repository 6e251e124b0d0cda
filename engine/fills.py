"""The order desk: intents through the gate to the venue, and fills back into the portfolio."""

from collections.abc import Callable, Sequence

from engine.audit_layout import Verdict as Code
from engine.bus import Bus
from engine.events import (
    Block,
    Command,
    Fill,
    OrderState,
    OrderType,
    Place,
    Purpose,
    RejectReason,
)
from engine.kernel.layout import WORD, Out
from engine.kernel.state import KernelState
from engine.limits import MAX_ORDERS
from engine.orders import FINAL, Approved, Order
from engine.portfolio import Change, Portfolio
from engine.ports import RiskGate, Venue, Verdict
from engine.protection import Leg, Protection
from engine.records import Recorder

NOW, OUT_COUNT, WAKE_ROW = WORD["now"], WORD["out_count"], WORD["row"]
ACK, FILL, REJECT, CANCELED = int(Out.ACK), int(Out.FILL), int(Out.REJECT), int(Out.CANCELED)
STOP = int(Out.STOP)
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
FINAL_STATES = frozenset(int(state) for state in FINAL)
ENTRY, STOP_LOSS, TAKE_PROFIT = (
    int(Purpose.ENTRY),
    int(Purpose.STOP_LOSS),
    int(Purpose.TAKE_PROFIT),
)
RUN_ENDED = int(RejectReason.RUN_ENDED)
MARKET = int(OrderType.MARKET)
OPPOSITE, OPEN_ORDERS = int(Block.OPPOSITE_INTENT), int(Block.OPEN_ORDERS)
KILLED = int(Block.KILLED)
ORDER_KIND, FILL_KIND = 6, 7  # audit_layout.Record of what changed an exposure
LARGEST_QUEUE = 1e18


class Counts:
    """What the desk did, for the summary."""

    __slots__ = ("approved", "blocked", "fills", "intents", "orders", "reduced", "rejects")

    def __init__(self) -> None:
        self.intents = self.approved = self.reduced = 0
        self.orders = self.fills = self.rejects = 0
        self.blocked: dict[int, int] = {}


class Blocked:
    """A verdict that stands before the gate is asked: the wake already went the other way."""

    __slots__ = ("approved", "blocks", "code", "limit", "mid", "notional", "qty_lot", "used")

    def __init__(self, blocks: int) -> None:
        self.approved: Approved | None = None
        self.blocks = blocks
        self.code = int(Code.BLOCKED)
        self.qty_lot = self.notional = self.used = self.limit = 0
        self.mid = 0.0


class FillDesk:
    """One writer of orders and positions.

    Args:
        state: the kernel's memory, whose venue events are read here.
        portfolio, gate, venue, protection, recorder: the parts it joins.
        expose: writes a model's exposure into the audit: (model, cause kind, order id, instrument).
        bus: where every fill is published once it is booked (and every signal, by the pipeline).
    """

    def __init__(
        self,
        state: KernelState,
        portfolio: Portfolio,
        rooms: tuple[RiskGate, Venue, Protection],
        recorder: Recorder,
        expose: Callable[[int, int, int, int], None],
        *,
        bus: Bus | None = None,
    ) -> None:
        self.state = state
        self.bus = bus or Bus()
        self.filled = self.bus.topic(Fill)
        self.words = state.words
        self.portfolio = portfolio
        self.grids = portfolio.grids
        self.gate, self.venue, self.protection = rooms
        self.recorder = recorder
        self.open_orders: dict[int, Order] = {}
        self.counts = Counts()
        self._expose = expose
        self._wake = (-1, -1)
        self._sides: dict[int, int] = {}
        self._out = memoryview(state.out.view("u1")).cast("B").cast("q")
        self._out_words = state.out.dtype.itemsize // 8
        self._out_queue = memoryview(state.out.view("u1")).cast("B").cast("d")
        self.failures: dict[int, int] = {}

    def place(self, place: Place, strategy: int = -1) -> None:
        """Record an intent, ask the gate, and give the venue what it approved.

        `strategy` is the index of the strategy that wants it: its book gets the fills too.
        """
        counts, recorder = self.counts, self.recorder
        intent_id = counts.intents
        counts.intents += 1
        recorder.intent(intent_id, place)
        answer = self._ask(place, intent_id)
        approved = answer.approved
        if approved is None:
            self._block(intent_id, place, answer)
            if place.purpose >= STOP_LOSS and not answer.blocks & KILLED:
                self.protection.again(intent_id)
            return
        recorder.verdict(intent_id, place, answer)
        counts.approved += 1
        counts.reduced += answer.code == Code.REDUCED
        counts.orders += 1
        order = approved.order
        order.strategy = strategy
        self.open_orders[order.order_id] = order
        order.move(S_SENT)
        recorder.order(order)
        self._show_exposure(order, ORDER_KIND)
        self.venue.submit(approved)

    def _ask(self, place: Place, intent_id: int) -> Verdict:
        """Ask the gate, unless the wake went the other way already or no place is left."""
        wake = (self.words[NOW], self.words[WAKE_ROW])
        if wake != self._wake:
            self._wake = wake
            self._sides.clear()
        if self._sides.setdefault(place.instrument, place.side) != place.side:
            return Blocked(OPPOSITE)
        if self._is_full(place):
            return Blocked(OPEN_ORDERS)
        return self.gate.check(place, intent_id)

    def _is_full(self, place: Place) -> bool:
        """Tell whether the kernel has no place for the order, or for the stops it would bring."""
        orders = self.open_orders
        if len(orders) >= MAX_ORDERS:
            return True
        if not (place.stop_loss_tick or place.take_profit_tick):
            return False
        legs = len(place.owners) or 1
        for order in orders.values():
            if order.stop_loss_tick or order.take_profit_tick:
                legs += len(order.owners) or 1
        return not self.protection.has_room(legs)

    def _block(self, intent_id: int, place: Place, answer: Verdict) -> None:
        self.recorder.verdict(intent_id, place, answer)
        blocked = self.counts.blocked
        bits = answer.blocks
        while bits:
            bit = bits & -bits
            blocked[bit] = blocked.get(bit, 0) + 1
            bits ^= bit

    def _show_exposure(self, order: Order, cause: int) -> None:
        for owner, _ in order.owners:
            if owner >= 0:
                self._expose(owner, cause, order.order_id, order.instrument)

    def cancel(self, order_id: int) -> None:
        """Ask for an order's removal; one that is over already is left alone."""
        order = self.open_orders.get(order_id)
        if order is None or order.state == S_PENDING_CANCEL:
            return
        if self.venue.cancel(order):
            order.move(S_PENDING_CANCEL)
            self.recorder.order(order)

    def on_venue(self) -> None:
        """Work through the venue's answers and the triggers that fired, in their order."""
        out, width = self._out, self._out_words
        count = self.words[OUT_COUNT]
        fired: list[tuple[int, int]] = []
        for at in range(0, count * width, width):
            kind = out[at]
            if kind == FILL:
                self.on_fill(out[at + 1], out[at + 2], out[at + 3], out[at + 4])
            elif kind == ACK:
                self.on_ack(out[at + 1], self._out_queue[at + 7])
            elif kind in (REJECT, CANCELED):
                self.on_end(out[at + 1], kind, out[at + 5])
            else:
                fired.append((out[at + 1], kind))
        self.words[OUT_COUNT] = 0
        for trigger_id, kind in fired:
            self.on_trigger(trigger_id, kind)

    def on_fill(self, order_id: int, qty: int, price_tick: int, liquidity: int) -> None:
        """Book an execution."""
        order = self.open_orders[order_id]
        fill_id = self.counts.fills
        self.counts.fills += 1
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
        changes = self.portfolio.apply(fill, order)
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
        self._protect(order, changes)
        self.filled.publish(fill)

    def _protect(self, order: Order, changes: Sequence[Change]) -> None:
        """Lay or shorten the protective triggers behind a fill."""
        for change in changes:
            if change.opened and (order.stop_loss_tick or order.take_profit_tick):
                book = self.portfolio.book(change.owner, order.instrument)
                self.protection.cover(order, change.owner, min(change.qty, abs(book.position_lot)))
            if change.closed:
                book = self.portfolio.book(change.owner, order.instrument)
                self.protection.trim(change.owner, order.instrument, book.position_lot)

    def on_ack(self, order_id: int, queue: float) -> None:
        """Count an order as resting in the venue's book."""
        order = self.open_orders[order_id]
        order.move(S_PARTIAL if order.filled_lot else S_ACKED)
        self.gate.rests(order)
        lot = self.grids[order.instrument].lot
        lots = queue / lot
        self.recorder.order(order, 0, int(lots + 0.5) if lots < LARGEST_QUEUE else -1)
        self._show_exposure(order, ORDER_KIND)

    def on_end(self, order_id: int, kind: int, reason: int) -> None:
        """Count an order as rejected or cancelled."""
        order = self.open_orders[order_id]
        order.move(S_REJECTED if kind == REJECT else S_CANCELED)
        self.counts.rejects += kind == REJECT
        self.recorder.order(order, reason)
        self._close(order)
        self._show_exposure(order, ORDER_KIND)
        if order.is_protective and reason != RUN_ENDED:
            self.protection.again(order.intent_id, order.left_lot)

    def _close(self, order: Order) -> None:
        self.gate.release(order)
        del self.open_orders[order.order_id]

    def on_trigger(self, trigger_id: int, kind: int) -> None:
        """Send the protective exit of a trigger that fired."""
        purpose = STOP_LOSS if kind == STOP else TAKE_PROFIT
        leg = self.protection.fired(trigger_id)
        if leg is None:
            return
        book = self.portfolio.book(leg.owner, leg.instrument)
        qty = min(leg.qty_lot, max(0, leg.side * book.position_lot - book.closing_lot))
        if qty < leg.qty_lot:
            self.protection.keep(leg, leg.qty_lot - qty)
            leg.qty_lot = qty
        if qty > 0:
            self.protection.exiting(self.counts.intents, leg)
            self.place(exit_of(leg, qty, purpose), leg.strategy)

    def on_command(self, command: int) -> None:
        """Carry out an operator's command that came as a tape row."""
        if command not in (Command.KILL, Command.RESUME):
            self.recorder.event(5, "command_unknown", str(command), (command,))
            return
        latched = command == Command.KILL
        self.gate.kill(latched)
        self.state.root["halted"] = int(latched)
        self.recorder.event(4, "kill" if latched else "resume")
        if latched:
            for order_id in sorted(self.open_orders):
                self.cancel(order_id)

    def end_orders(self) -> None:
        """Cancel what is still open because the run ends: every order gets a final state."""
        for order_id in sorted(self.open_orders):
            order = self.open_orders[order_id]
            if order.state not in FINAL_STATES:
                self.on_end(order_id, CANCELED, RUN_ENDED)

    def model_failed(self, model: int, error: Exception) -> None:
        """Record a model's first failures; more are only counted."""
        count = self.failures.get(model, 0)
        self.failures[model] = count + 1
        if count < 3:
            text = f"model {model}: {type(error).__name__}: {str(error)[:200]}"
            self.recorder.event(10, "model_failed", text, (model,))


def exit_of(leg: Leg, qty: int, purpose: int) -> Place:
    """Return the intent that closes a protected leg at the market."""
    return Place(
        instrument=leg.instrument,
        side=-leg.side,
        qty_lot=qty,
        order_type=MARKET,
        purpose=purpose,
        signal_id=leg.signal_id,
        owners=((leg.owner, 1),) if leg.owner >= 0 else (),
        reason="stop loss" if purpose == STOP_LOSS else "take profit",
    )
