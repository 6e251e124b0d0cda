"""Write a small run folder, consistent in every part, for the tests of all that reads runs."""

import datetime
from pathlib import Path

import numpy as np

from engine.audit_layout import AUDIT, CHAIN_RECORDS, Record
from engine.audit_reader import Funnel, decision_digest
from engine.audit_render import render
from engine.audit_streams import Streams, link_rest
from engine.json_files import line_bytes, write_bytes, write_json
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
)
from engine.tape_hash import tape_hash
from engine.tape_info import BLOCK_ROWS, TapeInfo
from engine.tape_writer import TapeWriter
from tests.synthetic_records import (
    INPUTS,
    INSTRUMENTS,
    LIMIT,
    MIDS,
    START,
    STEP,
    UNIT_MINOR,
    RunMaker,
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
    info = make_tape(root / "tape", 3 * decisions + 2)
    maker.begin(info.sha256)
    for _ in range(decisions):
        maker.decide()
    maker.event(2, "run_end", "end of the tape")
    records = np.array(maker.records, dtype=AUDIT)
    write_bytes(run_dir / AUDIT_RECORDS, records.tobytes())
    head = write_chain(run_dir, records, info, closed=closed)
    write_bytes(run_dir / EVENTS, b"".join(line_bytes(line) for line in maker.events))
    names = make_names(run_dir.name)
    write_json(run_dir / NAMES, names)
    ref = TapeRef(path=str(root / "tape"), sha256=info.sha256, rows=info.rows)
    write_json(run_dir / TAPE_REF, ref)
    settings = {"risk": {"max_model_exposure": 200}, "strategies": [{"name": "ml_signal"}]}
    write_json(
        run_dir / CONFIG, RunConfigFile(run_id=run_dir.name, mode="replay", settings=settings)
    )
    if closed:
        write_json(run_dir / SUMMARY, make_summary(run_dir, maker, records, head))
        write_samples(run_dir, maker)
        render(run_dir)
    return run_dir


def write_chain(run_dir: Path, records: np.ndarray, info: TapeInfo, *, closed: bool) -> str:
    """Write the links over the records; without the closing one where the run was killed."""
    chain, lines, streams = FIRST_CHAIN, [], Streams()
    for block, first in enumerate(range(0, len(records), CHAIN_RECORDS)):
        part = records[first : first + CHAIN_RECORDS]
        if len(part) < CHAIN_RECORDS and not closed:
            break
        streams.update(part)
        chain = streams.chain(chain, b"".join(link_rest(part)))
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
        limits={"max_model_exposure": 200, "max_order_notional": 1000},
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
