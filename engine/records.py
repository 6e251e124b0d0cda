"""Writes Python's side of the audit: intents, verdicts, orders, fills, events, as fixed records."""

import struct
from collections.abc import Callable

from engine.audit import AuditWriter
from engine.audit_layout import NO_INDEX, Record
from engine.events import Fill, Place
from engine.hash_words import hash_words, text_word
from engine.orders import Order
from engine.ports import Verdict
from engine.run_files import EventLine

INTENT, VERDICT, ORDER = int(Record.INTENT), int(Record.VERDICT), int(Record.ORDER)
FILL, EVENT, RUN, MODEL = int(Record.FILL), int(Record.EVENT), int(Record.RUN), int(Record.MODEL)
SHADOWED = int(Record.SHADOWED)
OWNERS_EVENT = 15  # the models behind an order of several; see `owners`
_DOUBLE = struct.Struct("<d")
_WORD = struct.Struct("<q")


def float_word(value: float) -> int:
    """Return the bits of a float64 as an int64.

    >>> float_word(1.0)
    4607182418800017408
    """
    word: int = _WORD.unpack(_DOUBLE.pack(value))[0]
    return word


def model_of(owners: tuple[tuple[int, int], ...]) -> int:
    """Return the one model behind an order, NO_INDEX for none or several."""
    return owners[0][0] if len(owners) == 1 and owners[0][0] >= 0 else NO_INDEX


class Recorder:
    """Appends records through the kernel's `push`, bound to the run's state."""

    __slots__ = ("_events", "_now", "_push", "_writer")

    def __init__(
        self, push: Callable[..., int], writer: AuditWriter, now: Callable[[], int]
    ) -> None:
        self._push = push
        self._writer = writer
        self._now = now
        self._events = 0

    def run(self, layout: int, inputs_sha256: str) -> None:
        """Open the audit."""
        a, b, c, d = hash_words(inputs_sha256)
        self._push(RUN, layout, 0, 0, NO_INDEX, NO_INDEX, a, b, c, d, 0, 0, 0)

    def model(
        self, index: int, status: int, sha256: str, min_confidence: float, *, shadow: bool = False
    ) -> None:
        """Record how a model stands at the start, or from here on."""
        a, b, c, d = hash_words(sha256)
        confidence = float_word(min_confidence)
        kind = SHADOWED if shadow else MODEL
        self._push(kind, index, status, 0, NO_INDEX, index, a, b, c, d, confidence, 0, 0)

    def intent(self, intent_id: int, place: Place) -> None:
        """Record what a strategy wants."""
        self._push(
            INTENT,
            intent_id,
            place.purpose,
            0,
            place.instrument,
            model_of(place.owners),
            place.signal_id,
            place.side,
            place.qty_lot,
            place.price_tick,
            place.order_type,
            place.stop_loss_tick,
            place.take_profit_tick,
        )

    def owners(self, intent_id: int, owners: tuple[tuple[int, int], ...]) -> None:
        """Record the models behind an intent of several, with their weights: `model:weight ...`."""
        text = " ".join(f"{model}:{weight}" for model, weight in owners)
        self.event(OWNERS_EVENT, "owners", text, (intent_id, len(owners)))

    def verdict(self, intent_id: int, place: Place, answer: Verdict) -> None:
        """Record what the gate said."""
        approved = answer.approved
        self._push(
            VERDICT,
            intent_id,
            answer.code,
            0,
            place.instrument,
            model_of(place.owners),
            answer.blocks,
            answer.qty_lot if approved is not None else 0,
            answer.notional,
            answer.used,
            answer.limit,
            -1 if approved is None else approved.order.order_id,
            float_word(answer.mid),
        )

    def order(self, order: Order, reason: int = 0, queue_lot: int = 0) -> None:
        """Record an order's new state."""
        self._push(
            ORDER,
            order.order_id,
            order.state,
            0,
            order.instrument,
            model_of(order.owners),
            order.intent_id,
            order.side,
            order.qty_lot,
            order.price_tick,
            order.filled_lot,
            reason,
            queue_lot,
        )

    def fill(self, fill: Fill, order: Order, fee: int, gain: int) -> None:
        """Record an execution."""
        self._push(
            FILL,
            fill.fill_id,
            fill.liquidity,
            0,
            fill.instrument,
            model_of(order.owners),
            fill.order_id,
            fill.side,
            fill.qty_lot,
            fill.price_tick,
            fee,
            gain,
            order.purpose,
        )

    def event(self, code: int, name: str, text: str = "", args: tuple[int, ...] = ()) -> None:
        """Record what happened around the decisions; its words go to events.jsonl."""
        a, b, c = (*args, 0, 0, 0)[:3]
        word = text_word(text)
        self._push(EVENT, self._events, code, 0, NO_INDEX, NO_INDEX, a, b, c, word, 0, 0, 0)
        line = EventLine(event_id=self._events, ts=self._now(), code=code, name=name, text=text)
        self._writer.event(line)
        self._events += 1
