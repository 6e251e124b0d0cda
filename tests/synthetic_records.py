"""Play a made-up market through made-up models and record what an engine would: for tests."""

import math
import random
from typing import Any

import numpy as np

from engine.audit_layout import AUDIT, NO_INDEX, Record, Verdict
from engine.events import Action, Block, HoldReason, Liquidity, OrderState, Purpose
from engine.hash_words import hash_words, text_word
from engine.instruments import Instrument
from engine.run_files import TAPE_EVENT, EventLine

START = 1_700_000_000_000_000_000
STEP = 250_000_000  # between decisions, ns
INSTRUMENTS = (
    Instrument(
        venue="synthetic",
        symbol="BTCUSDT",
        base="BTC",
        quote="USDT",
        tick="0.01",
        lot="0.00001",
        has=("quotes", "quote_sizes"),
    ),
    Instrument(
        venue="synthetic",
        symbol="ETHUSDT",
        base="ETH",
        quote="USDT",
        tick="0.01",
        lot="0.0001",
        has=("quotes", "quote_sizes"),
    ),
)
UNIT_MINOR = (10, 100)  # one tick times one lot, in 1e-8 USDT
MIDS = (3_500_000, 200_000)  # ticks
LIMIT = 200_00000000
INPUTS = "ab" * 32


class RunMaker:
    """Plays a little market through made-up models and writes down what an engine would."""

    def __init__(self, seed: int) -> None:
        """Start with nothing written."""
        self.random = random.Random(seed)
        self.records: list[np.void] = []
        self.events: list[EventLine] = []
        self.ids = dict.fromkeys(Record, 0)
        self.order_id = 0
        self.row = 0
        self.position = [0, 0]
        self.filled = [0, 0]  # exposure at cost by model
        self.in_flight = [0, 0]
        self.realized = 0
        self.fees = 0
        self.mids = list(MIDS)
        self.curve: list[tuple[int, float]] = []

    @property
    def ts(self) -> int:
        """Kernel time of the current row."""
        return START + self.row * STEP

    def write(self, kind: Record, ident: int, code: int, **slots: Any) -> None:
        """Append one record."""
        record = np.zeros(1, dtype=AUDIT)[0]
        record["instrument"] = record["model"] = NO_INDEX
        record["seq"], record["ts"], record["row"] = len(self.records), self.ts, self.row
        record["id"], record["kind"], record["code"] = ident, kind, code
        for name, value in slots.items():
            record[name] = value
        self.records.append(record)

    def next_id(self, kind: Record) -> int:
        """Count up the ids of a kind."""
        self.ids[kind] += 1
        return self.ids[kind] - 1

    def event(self, code: int, name: str, text: str) -> None:
        """Write an EVENT record and its line."""
        ident = self.next_id(Record.EVENT)
        self.events.append(EventLine(event_id=ident, ts=self.ts, code=code, name=name, text=text))
        self.write(Record.EVENT, ident, code, i3=text_word(text))

    def begin(self, tape_sha256: str) -> None:
        """Write the inputs."""
        words = dict(zip(("i0", "i1", "i2", "i3"), hash_words(INPUTS), strict=True))
        self.write(Record.RUN, 1, 0, **words)
        for model in range(2):
            words = dict(
                zip(("i0", "i1", "i2", "i3"), hash_words(f"{model + 1:02x}" * 32), strict=True)
            )
            self.write(Record.MODEL, model, 0, model=model, f4=0.6, **words)
        self.event(3, TAPE_EVENT, tape_sha256)
        self.event(1, "run_begin", "replay begins")

    def decide(self) -> None:
        """One wake: a price moves, one model gives a signal, and it may become an order."""
        self.row += 1
        instrument = model = self.random.randrange(2)
        self.mids[instrument] += round(self.random.gauss(0, MIDS[instrument] * 2e-4))
        buy = self.random.random()
        action = Action.BUY if buy > 0.85 else Action.SELL if buy < 0.15 else Action.HOLD
        reason = HoldReason.NONE
        if action == Action.HOLD:
            reason = self.random.choice((HoldReason.MODEL_SAYS_HOLD, HoldReason.BELOW_THRESHOLD))
            if self.row < 10:
                reason = HoldReason.NOT_WARM
        p = (math.nan,) * 3 if reason == HoldReason.NOT_WARM else (1 - buy - 0.01, 0.01, buy)
        p = tuple(min(max(value, 0.0), 1.0) for value in p) if p[0] == p[0] else p
        signal = self.next_id(Record.DECISION)
        mid = self.mids[instrument]
        touch = {"f4": (mid - 1) / 100, "f5": (mid + 1) / 100, "i6": 5_000_000}
        self.write(
            Record.DECISION,
            signal,
            action,
            aux=int(reason),
            instrument=instrument,
            model=model,
            f0=p[0],
            f1=p[1],
            f2=p[2],
            i3=self.random.getrandbits(62),
            **touch,
        )
        if action == Action.BUY:
            self.entry(signal, instrument)
        elif action == Action.SELL and self.position[instrument]:
            self.order(signal, instrument, -1, self.position[instrument], Purpose.EXIT)
        self.curve.append((self.ts, 10_000 + (self.realized - self.fees) / 1e8))

    def entry(self, signal: int, instrument: int) -> None:
        """Buy for about 50 in quote currency, if the model's limit leaves room."""
        mid, unit = self.mids[instrument], UNIT_MINOR[instrument]
        self.order(signal, instrument, 1, 50_00000000 // (mid * unit), Purpose.ENTRY)

    def order(self, signal: int, instrument: int, side: int, qty: int, purpose: Purpose) -> None:
        """Send an intent through gate, order states and fills."""
        intent = self.next_id(Record.INTENT)
        where = {"instrument": instrument, "model": instrument}
        price = self.mids[instrument] + side
        self.write(
            Record.INTENT,
            intent,
            purpose,
            **where,
            i0=signal,
            i1=side,
            i2=qty,
            i3=0,
            i5=price - 500 if side > 0 else 0,
            i6=price + 900 if side > 0 else 0,
        )
        notional = qty * price * UNIT_MINOR[instrument]
        exposure = self.filled[instrument] + self.in_flight[instrument]
        verdict = {
            **where,
            "i2": notional,
            "i3": exposure,
            "i4": LIMIT,
            "f6": float(self.mids[instrument]),
        }
        if side > 0 and exposure + notional > LIMIT:
            blocks = int(Block.MODEL_EXPOSURE)
            self.write(Record.VERDICT, intent, Verdict.BLOCKED, **verdict, i0=blocks, i1=0, i5=-1)
            return
        order, self.order_id = self.order_id, self.order_id + 1
        self.write(Record.VERDICT, intent, Verdict.APPROVED, **verdict, i0=0, i1=qty, i5=order)
        order_slots = {**where, "i0": intent, "i1": side, "i2": qty, "i3": price}
        if side > 0:
            self.expose(instrument, 0, notional, Record.INTENT, order)
        for state in (OrderState.APPROVED, OrderState.SENT, OrderState.ACKED):
            self.write(Record.ORDER, order, state, **order_slots)
        half = qty // 2 if qty > 1 and self.random.random() < 0.3 else 0
        done = 0
        for part in (half, qty - half) if half else (qty,):
            self.row += 1
            done += part
            self.fill(order, instrument, side, part, price, purpose)
            state = OrderState.FILLED if done == qty else OrderState.PARTIAL
            self.write(Record.ORDER, order, state, **order_slots, i4=done)

    def fill(
        self, order: int, instrument: int, side: int, qty: int, price: int, purpose: Purpose
    ) -> None:
        """Book one fill."""
        unit = UNIT_MINOR[instrument]
        cost, fee = qty * price * unit, qty * price * unit // 5000
        realized = 0
        if side > 0:
            self.expose(instrument, cost, -cost, Record.FILL, order)
        else:
            out = self.filled[instrument] * qty // self.position[instrument]
            realized = cost - out
            self.expose(instrument, -out, 0, Record.FILL, order)
        self.position[instrument] += side * qty
        self.realized += realized
        self.fees += fee
        self.write(
            Record.FILL,
            self.next_id(Record.FILL),
            Liquidity.TAKER,
            instrument=instrument,
            model=instrument,
            i0=order,
            i1=side,
            i2=qty,
            i3=price,
            i4=fee,
            i5=realized,
            i6=int(purpose),
        )

    def expose(self, model: int, filled: int, in_flight: int, cause: Record, order: int) -> None:
        """Change a model's exposure and write it down."""
        self.filled[model] += filled
        self.in_flight[model] += in_flight
        total = self.filled[model] + self.in_flight[model]
        self.write(
            Record.EXPOSURE,
            self.next_id(Record.EXPOSURE),
            cause,
            model=model,
            i0=self.filled[model],
            i2=self.in_flight[model],
            i4=total,
            i5=LIMIT,
            i6=order,
        )
