"""The order desk: intents through the gate to the venue, and fills back into the portfolio.

Orders of one owner go through two jitted calls, `send` (risk/order_kernel.py) and `settle`
(risk/settle_kernel.py); what Python does here for orders of several owners and for protective exits
are the same steps. The numbers of both stand in the same records.
"""

from collections.abc import Callable
from typing import NamedTuple

from engine.books import NOBODY, reals_of, words_of
from engine.bus import Bus
from engine.events import (
    Command,
    Fill,
    OrderState,
    OrderType,
    Place,
    Purpose,
    RejectReason,
)
from engine.kept_orders import KeptOrders
from engine.kernel.layout import OUT, WORD, Out
from engine.kernel.state import KernelState
from engine.open_orders import Counts, order_at
from engine.orders import FINAL
from engine.portfolio import Portfolio
from engine.ports import RiskGate, Venue
from engine.protection import Leg, Protection
from engine.records import Recorder

NOW, OUT_COUNT, OUT_DONE = WORD["now"], WORD["out_count"], WORD["out_done"]
ACK, FILL, REJECT, CANCELED = int(Out.ACK), int(Out.FILL), int(Out.REJECT), int(Out.CANCELED)
STOP = int(Out.STOP)
S_PENDING_CANCEL = int(OrderState.PENDING_CANCEL)
FINAL_STATES = frozenset(int(state) for state in FINAL)
STOP_LOSS, TAKE_PROFIT = int(Purpose.STOP_LOSS), int(Purpose.TAKE_PROFIT)
RUN_ENDED = int(RejectReason.RUN_ENDED)
RESTORING = (Command.DAY_LOSS, Command.BELOW_PEAK, Command.DRAWDOWN)
MARKET = int(OrderType.MARKET)
_OUT_FIELD = {name: int(OUT.fields[name][1]) // 8 for name in OUT.names}  # type: ignore
LEDGER, DONE, FILL_ID, OPENED, CLOSED = (
    _OUT_FIELD[name] for name in ("ledger", "done", "fill_id", "opened", "closed")
)
CARE = 2  # `done` of an event that Python has a part in, see risk/settle_kernel.py


class Calls(NamedTuple):
    """The jitted calls of the desk, bound to one run's state; see app/kernel.py.

    Attributes:
        expose: writes a model's exposure: (model, cause kind, order id, instrument).
        send: takes the state's address and an intent as twelve numbers, returns a place in the
            ledger or -1; it is not bound, on the way of every order.
        settle: carries out one answer of the venue, by its place in `out`.
        end: ends an order of the ledger: (place, Out kind, reason).
        ask_cancel: notes that the order at a place is being cancelled.
    """

    expose: Callable[[int, int, int, int], None]
    send: Callable[..., int]
    settle: Callable[[int], None]
    end: Callable[[int, int, int], None]
    ask_cancel: Callable[[int], None]


class FillDesk:
    """One writer of orders and positions.

    Args:
        state: the kernel's memory, whose venue events are read here.
        portfolio, gate, venue, protection, recorder: the parts it joins.
        calls: the jitted half of the work.
        bus: where every fill is published once it is booked (and every signal, by the pipeline).
    """

    def __init__(
        self,
        state: KernelState,
        portfolio: Portfolio,
        rooms: tuple[RiskGate, Venue, Protection],
        recorder: Recorder,
        calls: Calls,
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
        self.kept = KeptOrders(state, portfolio, rooms, recorder, calls.expose, filled=self.filled)
        self.open_orders = self.kept.open_orders
        self.counts = Counts(portfolio.desk)
        self.calls = calls
        self._send = calls.send
        self._address = state.address
        self._desk = portfolio.desk[0]
        self._fast = bool(self._desk["fast"])
        self._outside = int(self._desk["paper_latency_ns"]) < 0
        self._heard = False
        self._out = words_of(state.out)
        self._out_words = state.out.dtype.itemsize // 8
        self._out_queue = reals_of(state.out)
        self.failures: dict[int, int] = {}

    def place(self, place: Place, strategy: int = -1) -> None:
        """Record an intent, ask the gate, and give the venue what it approved.

        `strategy` is the index of the strategy that wants it: its book gets the fills too.
        """
        owners, purpose = place.owners, place.purpose
        if self._fast and len(owners) <= 1 and purpose < STOP_LOSS:
            stop, profit = place.stop_loss_tick, place.take_profit_tick
            if stop or profit:
                self._desk["legs_standing"] = self.protection.standing
            at = self._send(
                self._address,
                place.instrument,
                owners[0][0] if owners else NOBODY,
                place.side,
                place.qty_lot,
                place.price_tick,
                place.signal_ts,
                place.order_type,
                purpose,
                place.signal_id,
                stop,
                profit,
                strategy,
            )
            if self._outside and at >= 0:
                self.venue.submit(self.gate.passed(at))
            return
        self.kept.place(place, strategy)

    def hear(self) -> None:
        """Let the kernel stop at fills while somebody listens to them."""
        heard = bool(self.filled.handlers)
        if heard != self._heard:
            self._heard = heard
            self._desk["tell"] = int(heard)

    def cancel(self, order_id: int) -> None:
        """Ask for an order's removal; one that is over already is left alone."""
        order = self.open_orders.get(order_id)
        if order is None or order.state == S_PENDING_CANCEL:
            return
        if not self.venue.cancel(order):
            return
        if self._outside and order_id not in self.kept.orders:
            order = self.kept.adopt(order_id)
            assert order is not None
        if order_id in self.kept.orders:
            order.move(S_PENDING_CANCEL)
            self.recorder.order(order)
        else:
            self.calls.ask_cancel(self.open_orders.place_of(order_id))

    def on_venue(self) -> None:
        """Work through the venue's answers and the triggers that fired, in their order."""
        out, width, words = self._out, self._out_words, self.words
        count = words[OUT_COUNT]
        fired: list[tuple[int, int]] = []
        for place in range(words[OUT_DONE], count):
            at = place * width
            kind = out[at]
            if kind <= CANCELED and out[at + LEDGER] >= 0:
                if out[at + DONE] == 0:
                    self.calls.settle(place)
                if out[at + DONE] == CARE:
                    self._care(at)
            elif kind == FILL:
                self.kept.on_fill(out[at + 1], out[at + 2], out[at + 3], out[at + 4])
            elif kind == ACK:
                self.kept.on_ack(out[at + 1], self._out_queue[at + 7])
            elif kind in (REJECT, CANCELED):
                self.kept.on_end(out[at + 1], kind, out[at + 5])
            else:
                fired.append((out[at + 1], kind))
        words[OUT_COUNT] = words[OUT_DONE] = 0
        for trigger_id, kind in fired:
            self.on_trigger(trigger_id, kind)

    def _care(self, at: int) -> None:
        """Do what hangs on a fill that the kernel has booked: protective legs, and telling."""
        out = self._out
        qty, opened, closed = out[at + 2], out[at + OPENED], out[at + CLOSED]
        order = order_at(self.portfolio.ledger, out[at + LEDGER])
        owner = order.owners[0][0] if order.owners else NOBODY
        self.kept.protect(order, owner, qty, (opened, closed))
        if self.filled.handlers:
            self.filled.publish(
                Fill(
                    out[at + FILL_ID],
                    self.words[NOW],
                    order.order_id,
                    order.instrument,
                    order.side,
                    qty,
                    out[at + 3],
                    out[at + 4],
                )
            )

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
            self.protection.exiting(int(self._desk["intents"]), leg)
            self.place(exit_of(leg, qty, purpose), leg.strategy)

    def on_command(self, command: int, reference: int = 0, argument: int = 0) -> None:
        """Carry out a command that came as a tape row."""
        if command in RESTORING:
            self.gate.restore(command, reference, argument)
            return
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

    def on_session_end(self) -> None:
        """Cancel what could still open where a session has closed, as day orders end."""
        sessions = self.state.sessions
        for order_id in sorted(self.open_orders):
            order = self.open_orders[order_id]
            hours = sessions[order.instrument]
            if hours["over"] and (order.opening_lot > 0 or hours["exits_wait"]):
                self.cancel(order_id)
        sessions["over"] = 0

    def on_halt(self, instrument: int) -> None:
        """Ask for the removal of entries: an instrument that the venue halts may reopen anywhere.

        What reduces a position stays.
        """
        self.recorder.event(13, "venue_halt", f"instrument {instrument}", (instrument,))
        for order_id in sorted(self.open_orders):
            order = self.open_orders[order_id]
            if order.instrument == instrument and order.opening_lot > 0:
                self.cancel(order_id)

    def end_orders(self) -> None:
        """Cancel what is still open because the run ends: every order gets a final state.

        Orders at a venue outside outlive the run; only their venue can end them.
        """
        if self._outside:
            return
        for order_id in sorted(self.open_orders):
            order = self.kept.orders.get(order_id)
            if order is None:
                self.calls.end(self.open_orders.place_of(order_id), CANCELED, RUN_ENDED)
            elif order.state not in FINAL_STATES:
                self.kept.on_end(order_id, CANCELED, RUN_ENDED)

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
