"""The straight line: rows -> advance -> features -> model -> signal -> strategy -> risk -> venue.

This is the file to read first. The kernel runs over the tape to the next point where Python must
act and says why; `ACTIONS` is the literal table of what is then done, fills first. No await, clock,
no file: what reaches the engine from outside is a row, what it decides is a record.
"""

import struct
from collections.abc import Callable, Mapping, Sequence
from functools import partial

import numpy as np

from engine.audit import AuditWriter
from engine.events import Cancel, Intent, Liquidity, Place, Replace, Signal
from engine.fills import FillDesk
from engine.kernel.layout import ROOT, WORD, Reason
from engine.kernel.state import KernelState
from engine.latency import Stages
from engine.output_form import OutputForm
from engine.ports import Predictor, Strategy
from engine.view import FusedView, LatestSignals, Source, View

SLOT, AUDIT_COUNT = WORD["slot"], WORD["audit_count"]
INFER, HEAD, SIGNAL = int(Reason.INFER), int(Reason.HEAD), int(Reason.SIGNAL)
SIGNAL_LAST = SIGNAL | HEAD
# One inference in 64 is timed (all that the kernel leaves to Python where it infers itself), and
# the first 64 pieces of advice and one in 64 of those after.
SAMPLED = 63
TAKER, RATE_UNIT = int(Liquidity.TAKER), 1e8


# The signal's fields in one call: they stand in the root record as in Signal.
_ADVICE = struct.Struct("=7q5d")
_ADVICE_AT = 8 * WORD["signal_id"]
_TOLD = "signal_id signal_ts signal_row signal_instrument signal_model action hold_reason"
_FIELDS = (*_TOLD.split(), "p_sell", "p_hold", "p_buy", "value", "position")
for _at, _name in enumerate(_FIELDS):
    assert ROOT.fields[_name][1] == _ADVICE_AT + 8 * _at  # type: ignore[index]
assert len(_FIELDS) == len(Signal.__struct_fields__)


class SlotPort:
    """What a slot's stops lead to: its model, the strategies that listen, its row and output."""

    __slots__ = (
        "features", "form", "instrument", "key", "members", "model", "output", "predictor",
        "size_quote", "source", "strategies", "view",
    )  # fmt: skip

    view: View

    def __init__(
        self,
        model: int,
        instrument: int,
        predictor: Predictor,
        strategies: Sequence[Strategy],
        features: np.ndarray,
        *,
        output: np.ndarray,
        form: OutputForm,
    ) -> None:
        self.output = output
        self.form = form
        self.model = model
        self.instrument = instrument
        self.predictor = predictor
        self.strategies = tuple(strategies)
        self.features = features
        self.key = (model, instrument)
        self.size_quote = 0.0
        self.members: tuple[int, ...] = ()  # of a fused model, whose books its strategies see
        self.source: Source | None = None


class Pipeline:
    """Drives one kernel state over rows and acts where the kernel stops.

    Args:
        state: the kernel's memory.
        advance: the compiled loop, (state address, rows address, first row, head) -> reasons.
        slots: one port for each slot of the state.
        desk: intents to orders, and what comes back.
        audit: takes the filled record buffer.
        hooks: further actions by Reason: BATCH, SAMPLE, CONTROL, ASK, ANSWER (see app/wire.py);
            FLUSH's comes first there: it completes what the buffer holds.
    """

    def __init__(
        self,
        state: KernelState,
        advance: Callable[[int, int, int, int], int],
        slots: Sequence[SlotPort],
        desk: FillDesk,
        *,
        audit: AuditWriter,
        hooks: Mapping[Reason, Callable[[], None]],
    ) -> None:
        self.state = state
        self.words = state.words
        self.slots = tuple(slots)
        self.desk = desk
        self.audit = audit
        self.stages = Stages()
        self.advice = desk.bus.topic(Signal)
        self._place = desk.place
        self.signals = LatestSignals()
        self._filled = desk.filled
        self._heard: object = None
        self.kernel_calls = 0
        self._untimed = 0 if state.slots["run"].any() else SAMPLED
        self._runs = [slot.predictor.run for slot in slots]
        self._way = advance, self.words, self._runs, state.address
        root = memoryview(state.root.view(np.uint8))
        self._advice = partial(_ADVICE.unpack_from, root, _ADVICE_AT)
        for at, port in enumerate(self.slots):
            port.view = self._new_view(port)
            if port.strategies or state.slots[at]["shadow"] == 0:
                self.signals.follow(port.key, port.view)  # what shadows say is not shown
        self._complete = hooks[Reason.FLUSH]
        self._ports = tuple((p.view, p.strategies) for p in slots)
        self.actions: tuple[tuple[int, Callable[[], None]], ...] = (
            (int(Reason.VENUE), desk.on_venue),
            (int(Reason.CONTROL), hooks[Reason.CONTROL]),
            (int(Reason.SESSION), desk.on_session_end),
            (int(Reason.SIGNAL), self.on_signal),
            (int(Reason.FLUSH), self.on_flush),
            (int(Reason.SAMPLE), hooks[Reason.SAMPLE]),
            (int(Reason.BATCH), hooks[Reason.BATCH]),
            (int(Reason.ASK), hooks[Reason.ASK]),
            (int(Reason.ANSWER), hooks[Reason.ANSWER]),
        )

    def drain(self, rows: int, first_row: int, head: int, stop_at: int) -> None:
        """Advance over rows [cursor, min(head, stop_at)), acting where Python must.

        Args:
            rows: address of row `first_row`.
            head: number of the row after the last one on this segment.
            stop_at: number of the row after the last one this call may apply.
        """
        advance, words, runs, address = self._way
        if stop_at < head:
            head = stop_at
        if self._heard is not self._filled.handlers:
            self._heard = self._filled.handlers
            self.desk.hear()
        untimed, on_signal, calls = self._untimed, self.on_signal, 0
        while True:
            calls += 1
            reasons = advance(address, rows, first_row, head)
            if reasons == INFER:
                if calls & untimed:
                    try:
                        runs[words[SLOT]]()
                    except Exception as error:  # a model's failure costs its own signal only
                        self.on_model_failure(error)
                else:
                    self._timed_inference(self.stages)
                continue
            if reasons == SIGNAL_LAST:
                on_signal()
                break
            if reasons == SIGNAL:
                on_signal()
                continue
            if reasons & HEAD:
                reasons &= ~HEAD
                if not reasons:
                    break
            for bit, action in self.actions:
                if reasons & bit:
                    action()
        self.kernel_calls += calls

    def _timed_inference(self, stages: Stages) -> None:
        started = stages.start()
        try:
            self._runs[self.words[SLOT]]()
        except Exception as error:
            self.on_model_failure(error)
        stages.stop("inference", started)

    def on_model_failure(self, error: Exception) -> None:
        """Hold on a model that raised: its output becomes NaN, which the kernel refuses."""
        slot = self.words[SLOT]
        self.state.outputs[slot][:] = np.nan
        self.desk.model_failed(self.slots[slot].model, error)

    def on_signal(self) -> None:
        """Show advice to the strategies that listen, and send what they want through the gate."""
        signal = Signal(*self._advice())
        view, strategies = self._ports[self.words[SLOT]]
        view.signal = signal
        if self.advice.handlers:
            self.advice.publish(signal)
        number = signal.signal_id
        if number & SAMPLED and number > SAMPLED:
            for strategy in strategies:
                for intent in strategy.decide(view):
                    if type(intent) is Place:
                        self._place(intent, strategy.index)
                    else:
                        self.on_intent(intent, strategy.index)
        else:
            self._timed_strategies(strategies, view)

    def _timed_strategies(self, strategies: Sequence[Strategy], view: View) -> None:
        stages = self.stages
        for strategy in strategies:
            started = stages.start()
            intents = strategy.decide(view)
            stages.stop("strategy", started)
            started = stages.start()
            for intent in intents:
                self.on_intent(intent, strategy.index)
            if intents:
                stages.stop("risk_and_order", started)

    def _new_view(self, port: SlotPort) -> View:
        """Make what the strategies of a slot see; it follows the kernel's state by itself."""
        books = self.desk.portfolio.books
        if port.source is None:
            view = View(self.words, books.peek(port.model, port.instrument))
            view.owners = ((port.model, 1),) if port.model >= 0 else ()
        else:
            of = {model: books.peek(model, port.instrument) for model in port.members}
            view = FusedView(self.words, of, port.source)
        view.instrument = port.instrument
        view.model = port.model
        view.size_quote = port.size_quote
        view.signals = self.signals
        view.grid = self.desk.grids[port.instrument]
        view.orders = self.desk.open_orders
        view.market = self.state.markets[port.instrument]
        view.taker_fee = self.desk.portfolio.rates[TAKER] / RATE_UNIT
        view.features, view.output, view.form = port.features, port.output, port.form
        return view

    def replace(self, at: int, new: SlotPort) -> None:
        """Let a slot go over to another model; the kernel stands between two rows.

        Args:
            at: the slot.
            new: a port like the slot's own, with the new predictor, input, output and form.
        """
        port = self.slots[at]
        port.predictor = new.predictor
        port.features = port.view.features = new.features
        port.output = port.view.output = new.output
        port.form = port.view.form = new.form
        self._runs[at] = new.predictor.run
        self._untimed = 0 if self.state.slots["run"].any() else SAMPLED

    def on_intent(self, intent: Intent, strategy: int) -> None:
        """Send one wish on: a new order, a removal, or both."""
        if type(intent) is Place:
            self.desk.place(intent, strategy)
        elif isinstance(intent, Cancel):
            self.desk.cancel(intent.order_id)
        elif isinstance(intent, Replace):
            self.desk.cancel(intent.order_id)
            self.desk.place(intent.place, strategy)

    def on_flush(self) -> None:
        """Hand the filled audit buffer to its writer."""
        self._complete()
        words = self.words
        buffer = self.state.audit
        other = self.audit.flush(buffer, words[AUDIT_COUNT])
        if other is not buffer:
            self.state.write_audit_to(other)
        words[AUDIT_COUNT] = 0

    def finish(self) -> None:
        """End the run's orders and write what is left of the audit."""
        self.desk.end_orders()
        self.on_flush()
