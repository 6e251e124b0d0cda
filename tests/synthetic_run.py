"""Write a small run folder, consistent in every part, for the tests of all that reads runs."""

import datetime
import math
import random
from pathlib import Path
from typing import Any

import numpy as np

from engine.audit_layout import AUDIT, CHAIN_RECORDS, NO_INDEX, Record, Verdict
from engine.audit_reader import Funnel, decision_digest
from engine.events import Action, Block, HoldReason, Liquidity, OrderState, Purpose
from engine.instruments import Instrument
from engine.rows import LAST, ROW, Kind
from engine.run_files import (
    AUDIT_RECORDS,
    CHAIN,
    CONFIG,
    EVENTS,
    FIRST_CHAIN,
    NAMES,
    SAMPLES,
    SUMMARY,
    TAPE_REF,
    ChainLink,
    EventLine,
    InstrumentName,
    Latency,
    ModelLine,
    ModelName,
    Names,
    ProfitLoss,
    RunConfigFile,
    RunName,
    Signals,
    Summary,
    TapeRef,
    chain_value,
    hash_words,
    line_bytes,
    tape_hash,
    text_word,
    write_bytes,
    write_json,
)
from engine.tape_info import BLOCK_ROWS, TapeInfo
from engine.tape_writer import TapeWriter

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
LIMIT = 300_00000000
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

    def begin(self) -> None:
        """Write the inputs."""
        words = dict(zip(("i0", "i1", "i2", "i3"), hash_words(INPUTS), strict=True))
        self.write(Record.RUN, 1, 0, **words)
        for model in range(2):
            words = dict(
                zip(("i0", "i1", "i2", "i3"), hash_words(f"{model + 1:02x}" * 32), strict=True)
            )
            self.write(Record.MODEL, model, 0, model=model, f4=0.6, **words)
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
            "f6": self.mids[instrument] / 100,
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


def make_tape(folder: Path, rows: int) -> TapeInfo:
    """Write a tape of quotes."""
    quotes = np.zeros(rows, dtype=ROW)
    quotes["ts_event"] = quotes["ts_recv"] = START + np.arange(rows) * STEP
    quotes["kind"], quotes["flags"] = Kind.QUOTE, LAST
    quotes["instrument"] = np.arange(rows) % 2
    mids = np.where(quotes["instrument"] == 0, MIDS[0], MIDS[1])
    quotes["f0"], quotes["f1"] = (mids - 1) / 100, (mids + 1) / 100
    quotes["f2"] = quotes["f3"] = 1.0
    quotes["i4"] = np.arange(rows)
    writer = TapeWriter(folder, INSTRUMENTS)
    writer.append(quotes)
    return writer.close()


def make_run(root: Path, *, decisions: int = 400, seed: int = 7, closed: bool = True) -> Path:
    """Write a consistent run under `root`; closed=False leaves it as a killed process would.

    Returns:
        the run's folder, root/runs/<id>.
    """
    run_dir = root / "runs" / f"synthetic-{seed}"
    maker = RunMaker(seed)
    maker.begin()
    for _ in range(decisions):
        maker.decide()
    maker.event(2, "run_end", "end of the tape")
    records = np.array(maker.records, dtype=AUDIT)
    info = make_tape(root / "tape", maker.row + 1)
    write_bytes(run_dir / AUDIT_RECORDS, records.tobytes())
    head = write_chain(run_dir, records, info, closed=closed)
    write_bytes(run_dir / EVENTS, b"".join(line_bytes(line) for line in maker.events))
    names = make_names(run_dir.name)
    write_json(run_dir / NAMES, names)
    ref = TapeRef(path=str(root / "tape"), sha256=info.sha256, rows=info.rows)
    write_json(run_dir / TAPE_REF, ref)
    settings = {"risk": {"max_model_exposure": 300}, "strategies": [{"name": "ml_signal"}]}
    write_json(
        run_dir / CONFIG, RunConfigFile(run_id=run_dir.name, mode="replay", settings=settings)
    )
    if closed:
        write_json(run_dir / SUMMARY, make_summary(run_dir, maker, records, head))
        write_samples(run_dir, maker)
    return run_dir


def write_chain(run_dir: Path, records: np.ndarray, info: TapeInfo, *, closed: bool) -> str:
    """Write the links over the records; without the closing one where the run was killed."""
    chain, lines = FIRST_CHAIN, []
    for block, first in enumerate(range(0, len(records), CHAIN_RECORDS)):
        part = records[first : first + CHAIN_RECORDS]
        if len(part) < CHAIN_RECORDS and not closed:
            break
        chain = chain_value(chain, part.tobytes())
        tape_row = int(part["row"][-1]) + 1
        link = ChainLink(
            block=block,
            first_seq=first,
            records=len(part),
            chain=chain.hex(),
            tape_row=tape_row,
            tape_sha256=tape_hash(info.block_sha256[: tape_row // BLOCK_ROWS]),
        )
        lines.append(line_bytes(link))
    write_bytes(run_dir / CHAIN, b"".join(lines))
    return chain.hex()


def make_names(run_id: str) -> Names:
    """Return the tables of the two instruments and two models."""
    instruments = tuple(
        InstrumentName(
            index=k,
            name=one.name,
            base=one.base,
            quote=one.quote,
            tick=one.tick,
            lot=one.lot,
            unit_minor=str(UNIT_MINOR[k]),
        )
        for k, one in enumerate(INSTRUMENTS)
    )
    models = tuple(
        ModelName(
            index=k,
            name=name,
            id=name,
            version="1.0.0",
            sha256=f"{k + 1:02x}" * 32,
            limit_minor=LIMIT,
            min_confidence=0.6,
        )
        for k, name in enumerate(("SignalClassifier", "TickMLP"))
    )
    run = RunName(
        id=run_id, mode="replay", inputs_sha256=INPUTS, reporting_currency="USDT", threshold=0.6
    )
    return Names(instruments=instruments, models=models, run=run)


def make_summary(run_dir: Path, maker: RunMaker, records: np.ndarray, head: str) -> Summary:
    """Return the summary that belongs to the records."""
    funnel = Funnel()
    funnel.update(records)
    exposure = records[records["kind"] == Record.EXPOSURE]
    maxima = [exposure["i4"][exposure["model"] == k].max(initial=0) / 1e8 for k in range(2)]
    names = make_names(run_dir.name)
    actions = {action.name.lower(): n for action, n in funnel.actions.items()}
    begun = datetime.timedelta(microseconds=(maker.ts - START) / 1000).total_seconds()
    return Summary(
        run_id=run_dir.name,
        run_dir=str(run_dir),
        mode="replay",
        exit_reason="done",
        instruments=tuple(one.name for one in INSTRUMENTS),
        events=maker.row,
        kernel_calls=3,
        wall_s=0.5,
        events_per_s=maker.row / 0.5,
        market_span_s=begun,
        decisions=funnel.count(Record.DECISION),
        signals=Signals(**actions, hold_reasons=funnel.holds()),
        intents=funnel.count(Record.INTENT),
        approved=int(funnel.verdicts[0]),
        reduced=int(funnel.verdicts[1]),
        blocked=funnel.blocked,
        orders=funnel.orders,
        fills=funnel.count(Record.FILL),
        fees={"USDT": maker.fees / 1e8},
        pnl=ProfitLoss(realized=maker.realized / 1e8, unrealized=0.0, total=maker.realized / 1e8),
        reporting_currency="USDT",
        equity=maker.curve[-1][1],
        max_drawdown=0.01,
        exposure_max={m.name: float(x) for m, x in zip(names.models, maxima, strict=True)},
        limits={"max_model_exposure": 300, "max_order_notional": 1000},
        models=tuple(
            ModelLine(id=m.id, version=m.version, sha256=m.sha256, status=m.status, name=m.name)
            for m in names.models
        ),
        decision_digest=decision_digest(run_dir),
        audit_head=head,
        audit_records=len(records),
        latency_us={"kernel": Latency(p50=1.0, p99=3.0, p999=9.0, max=40.0)},
        assumed={"bar_spread_bps": 1.0},
        notes=("synthetic market: shows plumbing, not skill",),
        market_from=START,
        market_to=maker.ts,
    )


def write_samples(run_dir: Path, maker: RunMaker) -> None:
    """Write what the report draws."""
    folder = run_dir / SAMPLES
    folder.mkdir(parents=True, exist_ok=True)
    ts = np.array([point[0] for point in maker.curve], dtype=np.int64)
    equity = np.array([point[1] for point in maker.curve])
    peak = np.maximum.accumulate(equity)
    np.savez(folder / "equity.npz", ts=ts, equity=equity, drawdown=1 - equity / peak)
    generator = np.random.default_rng(maker.random.getrandbits(32))
    walk = {
        f"mid_{k}": MIDS[k] / 100 * (1 + np.cumsum(generator.normal(0, 1e-4, len(ts))))
        for k in range(2)
    }
    np.savez(folder / "prices.npz", **walk, **{f"ts_{k}": ts for k in range(2)})
    names = np.array(["returns_1", "rsi_14", "book_imbalance"])
    rows = generator.normal(size=(300, 3)).astype(np.float32)
    np.savez(folder / "features.npz", names=names, rows=rows)
    stages = {s: generator.lognormal(8, 0.4, 2000).astype(np.int64) for s in ("kernel", "model")}
    np.savez(folder / "latency.npz", **stages)
