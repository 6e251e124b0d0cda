"""What a run leaves beside its audit: names, config and the summary."""

import datetime
import math
import os
import secrets
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from app.parts import Parts
from app.rules import beyond_table
from app.serving import Serving
from app.slots import absence_notes, columns_of
from engine.audit_layout import ModelStatus
from engine.books import Book
from engine.events import Action, AnswerStatus, Block, HoldReason
from engine.json_files import write_json
from engine.money import MINOR_PER_UNIT
from engine.run_files import (
    CONFIG,
    NAMES,
    SUMMARY,
    BookLine,
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
)
from engine.tape import TapeInfo

SYNTHETIC = "synthetic market: this run shows that the plumbing works, and no skill on any market"


def new_run_dir(runs_dir: Path) -> tuple[str, Path]:
    """Make a run's folder under a new id."""
    now = datetime.datetime.now(datetime.UTC)
    run_id = f"{now:%Y%m%d-%H%M%S}-{secrets.token_hex(2)}"
    folder = runs_dir / run_id
    folder.mkdir(parents=True)
    return run_id, folder


def write_opening(parts: Parts, run_dir: Path, config: RunConfigFile) -> None:
    """Write config.json and names.json before the first row."""
    write_json(run_dir / CONFIG, config)
    run = RunName(
        id=config.run_id,
        mode=config.mode,
        inputs_sha256=config.inputs_sha256,
        reporting_currency=parts.quote,
        threshold=max((plan.threshold for plan in parts.plans), default=0.0),
    )
    names = Names(instruments=_instruments(parts), models=_models(parts), run=run)
    write_json(run_dir / NAMES, names)


def _instruments(parts: Parts) -> tuple[InstrumentName, ...]:
    grids = parts.portfolio.grids
    return tuple(
        InstrumentName(
            index=at,
            name=instrument.name,
            base=instrument.base,
            quote=instrument.quote,
            tick=instrument.tick,
            lot=instrument.lot,
            unit_minor=_decimal(grids[at].num, grids[at].den),
            inferred=instrument.inferred,
        )
        for at, instrument in enumerate(parts.instruments)
    )


def _decimal(num: int, den: int) -> str:
    """Write a fraction with a power of ten below it as a decimal."""
    if den == 1:
        return str(num)
    places = len(str(den)) + 24
    digits = f"{num * 10**places // den:0{places + 1}d}"
    return f"{digits[:-places]}.{digits[-places:].rstrip('0') or '0'}"


def _models(parts: Parts) -> tuple[ModelName, ...]:
    limits = parts.gate.record[0]["limit"]
    return tuple(
        ModelName(
            index=serving.index,
            name=serving.settings.name,
            id=serving.model_id,
            version=serving.version,
            sha256=serving.sha256,
            limit_minor=int(limits[serving.index]),
            mode=serving.settings.mode,
            status=ModelStatus(serving.status).name,
            note=serving.note,
            min_confidence=serving.settings.min_confidence,
            placement=serving.placement,
            trades=serving.may_trade,
            features=columns_of(serving),
            **_lineage(serving),
        )
        for serving in parts.models
    )


def _lineage(serving: Serving) -> dict[str, str]:
    """Return the hashes of what a model reads; its code was held against them at load."""
    if serving.loaded is None:
        return {}
    entry = serving.loaded.entry
    return {
        "feature_spec_sha256": entry.feature_spec_sha256,
        "kernel_identity": entry.kernel_identity,
    }


class Timing(msgspec.Struct):
    """How long a run took, and how it ended."""

    mode: str
    exit_reason: str
    wall_s: float
    digest: str
    audit_head: str
    audit_records: int
    shadow_digest: str = ""


def summarise(parts: Parts, run_dir: Path, timing: Timing, info: TapeInfo) -> Summary:
    """Count everything up, write summary.json and return it."""
    root = parts.state.root[0]
    counts = parts.desk.counts
    span = int(root["now"]) - int(root["first_ts"])
    wall = max(timing.wall_s, 1e-9)
    parts.kernel.gate_mark(parts.state.address)
    summary = Summary(
        run_id=run_dir.name,
        run_dir=str(run_dir),
        mode=timing.mode,
        exit_reason=timing.exit_reason,
        instruments=tuple(instrument.name for instrument in parts.instruments),
        events=int(root["events"]),
        kernel_calls=parts.pipeline.kernel_calls,
        wall_s=round(timing.wall_s, 6),
        events_per_s=round(int(root["events"]) / wall, 1),
        market_span_s=span / 1e9,
        decisions=int(root["decisions"]),
        shadow_decisions=int(root["shadow_decisions"]),
        signals=_signals(parts),
        intents=counts.intents,
        approved=counts.approved - counts.reduced,  # approved as asked
        reduced=counts.reduced,
        blocked={Block(bit).name or str(bit): n for bit, n in sorted(counts.blocked.items())},
        orders=counts.orders,
        fills=counts.fills,
        rejects=counts.rejects,
        limits=_limits(parts),
        models=_model_lines(parts),
        books=_books(parts),
        reloads=parts.swaps.count,
        decision_digest=timing.digest,
        shadow_digest=timing.shadow_digest,
        audit_head=timing.audit_head,
        audit_records=timing.audit_records,
        latency_us=_latency(parts.pipeline.stages.samples()),
        assumed=msgspec.to_builtins(parts.settings.assumed),
        inferred=_inferred(parts),
        notes=_notes(parts, info),
        market_from=int(root["first_ts"]),
        market_to=int(root["now"]),
        report=str(run_dir / "report.html"),
        **_money(parts),
    )
    write_json(run_dir / SUMMARY, summary)
    return summary


def _money(parts: Parts) -> dict[str, Any]:
    gate = parts.gate.record[0]
    unit = float(MINOR_PER_UNIT)
    realized = parts.portfolio.realized.get(parts.quote, 0) / unit
    known = not math.isnan(gate["equity"])  # what is held had a price
    total = (float(gate["equity"]) - float(gate["start_equity"])) / unit if known else None
    unrealized = total - realized if total is not None else None
    return {
        "fees": {name: paid / unit for name, paid in parts.portfolio.fees.items() if paid},
        "pnl": ProfitLoss(realized=realized, unrealized=unrealized, total=total),
        "reporting_currency": parts.quote,
        "equity": float(gate["equity"]) / unit if known else None,
        "max_drawdown": float(gate["max_drawdown_seen"]),
        "exposure_max": {
            serving.settings.name: int(gate["max_seen"][serving.index]) / unit
            for serving in parts.models
        },
    }


def _books(parts: Parts) -> tuple[BookLine, ...]:
    money = parts.portfolio
    money.mark(parts.state.markets["mid"])
    models = {serving.index: serving.settings.name for serving in parts.models}
    strategies = {at: lines.name for at, (lines, _) in enumerate(parts.strategies)}
    lines = []
    for kind, books, names in (
        ("model", money.books, models),
        ("strategy", money.strategy_books, strategies),
    ):
        for (owner, at), book in sorted(books.items()):
            if book.fees or book.realized or book.position_lot:
                lines.append(_book_line(parts, (kind, names.get(owner, ""), at), book))
    return tuple(lines)


def _book_line(parts: Parts, key: tuple[str, str, int], book: Book) -> BookLine:
    kind, owner, at = key
    unit = float(MINOR_PER_UNIT)
    size = book.position_lot * parts.portfolio.grids[at].lot
    unrealized = parts.portfolio.unrealized(book, at, float(parts.state.markets["mid"][at])) / unit
    return BookLine(
        owner=owner,
        kind=kind,
        instrument=parts.instruments[at].name,
        position=size,
        average_price=book.cost / unit / size if size else None,
        realized=book.realized / unit,
        unrealized=None if math.isnan(unrealized) else unrealized,
        fees=book.fees / unit,
        max_drawdown=book.drawdown / unit,
    )


def _signals(parts: Parts) -> Signals:
    slots = parts.state.slots[: len(parts.plans)]
    slots = slots[slots["shadow"] == 0]
    by_action = slots["counts"].sum(axis=0) if len(slots) else np.zeros(3, int)
    holds = slots["holds"].sum(axis=0) if len(slots) else np.zeros(32, int)
    reasons = {
        HoldReason(at).name: int(count)
        for at, count in enumerate(holds)
        if at != HoldReason.NONE and count
    }
    return Signals(
        buy=int(by_action[Action.BUY]),
        sell=int(by_action[Action.SELL]),
        hold=int(by_action[Action.HOLD]),
        hold_reasons=reasons,
    )


def _limits(parts: Parts) -> dict[str, Any]:
    limits: dict[str, Any] = dict(msgspec.to_builtins(parts.settings.risk))
    limits["model_exposure"] = {
        serving.settings.name: int(parts.gate.record[0]["limit"][serving.index]) / MINOR_PER_UNIT
        for serving in parts.models
    }
    return limits


def _model_lines(parts: Parts) -> tuple[ModelLine, ...]:
    return tuple(
        ModelLine(
            id=serving.model_id,
            version=serving.version,
            sha256=serving.sha256,
            status=ModelStatus(serving.status).name,
            name=serving.settings.name,
            mode=serving.settings.mode,
            note=serving.note,
            placement=serving.placement,
            **_thread_counts(parts, serving.index),
            served=tuple(parts.swaps.served[serving.index].values()),
            evaluated=parts.row_by_row,
        )
        for serving in parts.models
    )


def _thread_counts(parts: Parts, model: int) -> dict[str, Any]:
    """Count a model's requests, and how they ended."""
    slots = parts.state.slots[: len(parts.plans)]
    mine = slots[(slots["model"] == model) & (slots["threaded"] == 1)]
    ended = mine["answers"].sum(axis=0)[: len(AnswerStatus)].tolist()
    return {
        "requests": int(mine["requests"].sum()),
        "answers": {AnswerStatus(at).name: count for at, count in enumerate(ended) if count},
    }


def _latency(samples: dict[str, np.ndarray]) -> dict[str, Latency]:
    found = {}
    for stage, values in sorted(samples.items()):
        if len(values):
            p50, p99, p999 = (float(v) / 1e3 for v in np.percentile(values, (50, 99, 99.9)))
            top = float(values.max()) / 1e3
            found[stage] = Latency(p50=p50, p99=p99, p999=p999, max=top)
    return found


def _inferred(parts: Parts) -> tuple[str, ...]:
    return tuple(
        f"{i.symbol}: {', '.join(f'{name} {getattr(i, name)}' for name in i.inferred)}"
        for i in parts.instruments
        if i.inferred
    )


def _notes(parts: Parts, info: TapeInfo) -> tuple[str, ...]:
    root = parts.state.root[0]
    notes = [*info.notes, *absence_notes(parts.plans, parts.instruments)]
    if any(instrument.venue == "synthetic" for instrument in parts.instruments):
        notes.insert(0, SYNTHETIC)
    for count, words in (
        (root["dropped_crossed"], "crossed or locked quotes were not believed"),
        (root["dropped_insane"], "insane prices were not believed"),
        (root["dropped_off_market"], "prints were no market trades"),
        (root["late_trades"], "prints came too late for their bar"),
    ):
        if count:
            notes.append(f"{int(count):,} {words}")
    if parts.desk.counts.blocked.get(int(Block.LOT_SIZE)):
        notes.append("some orders were smaller than one lot (LOT_SIZE): raise the strategy's size")
    if unmatched := parts.model_answers.unmatched:
        notes.append(f"{unmatched:,} answers on the tape belong to no request of this run")
    if parts.asked_again is not None and parts.asked_again.different:
        notes.append(f"{parts.asked_again.different:,} answers of the tape differ when asked again")
    notes += beyond_table(parts.state, parts.settings, parts.instruments)
    notes += [serving.note for serving in parts.models if serving.note]
    return tuple(dict.fromkeys(notes))


def command_of(argv: list[str]) -> tuple[str, ...]:
    """Return the command line as it was given, for config.json."""
    return (os.path.basename(argv[0]), *argv[1:]) if argv else ()
