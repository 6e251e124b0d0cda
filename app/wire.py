"""The composition root: from settings and a tape to a pipeline that is ready to run."""

import operator
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import MappingProxyType

import numpy as np

from app.ahead import Ahead, may_run_ahead
from app.control_rows import control, sample
from app.fusing import build_ports, join
from app.kernel import load_kernel
from app.opening import Pin, load_models
from app.parts import NewVenue, Parts
from app.rules import NS_PER_MS, check_calendars, kernel_rules
from app.samples import Samples
from app.shadows import Shadows
from app.slot_ports import arrays_of
from app.slots import (
    bars_beside,
    plan_slots,
    quote_currency,
    row_by_row,
    set_slots,
)
from app.swap import Swaps
from config.settings import ModelSettings, Settings
from engine.audit import AuditWriter
from engine.errors import UsageError
from engine.events import Signal
from engine.fills import Calls, FillDesk
from engine.instruments import Instrument
from engine.kernel.layout import WORD, Reason
from engine.kernel.state import KernelState
from engine.limits import MAX_MODELS, MAX_STRATEGIES
from engine.model_answers import ModelAnswers
from engine.money import Grid, fee_rate, minor
from engine.pipeline import Pipeline
from engine.portfolio import Portfolio
from engine.ports import Asker, Venue
from engine.protection import Protection
from engine.records import Recorder
from engine.venue_answers import VenueAnswers
from risk.gate import Gate
from risk.gate_calls import GateKernel
from risk.limits import gate_record
from strategies.registry import build_strategy
from venues.paper import PaperVenue

NOW = WORD["now"]
SHADOWS_WAIT = True  # shadows are asked together; a test compares with one by one
ORDERS_IN_KERNEL = True  # orders of one owner in jitted calls; a test compares with both


def plan(
    settings: Settings,
    instruments: Sequence[Instrument],
    named: Sequence[str],
    pins: Mapping[str, Pin] = MappingProxyType({}),
) -> Parts:
    """Load models and strategies and decide the slots; nothing is compiled or written yet.

    Args:
        settings: the run's.
        instruments: of the tape.
        named: models given on the command line, `ID:VERSION`.
        pins: the versions that a recorded run had, by the model's name.
    Raises:
        UsageError: settings and tape do not go together.
    """
    parts = Parts()
    parts.settings = settings
    parts.instruments = tuple(instruments)
    parts.quote = quote_currency(instruments)
    check_calendars(settings, instruments)
    if len(settings.models) > MAX_MODELS:
        raise UsageError(f"models: {len(settings.models)} are named, {MAX_MODELS} can run")
    if len(settings.strategies) > MAX_STRATEGIES:
        raise UsageError(
            f"strategies: {len(settings.strategies)} are named, {MAX_STRATEGIES} can run"
        )
    parts.strategies = [
        (lines, build_strategy(lines.name, lines.params)) for lines in settings.strategies
    ]
    for at, (_, built) in enumerate(parts.strategies):
        built.index = at
    models = _in_order(settings.models)
    parts.models = load_models(models, Path(settings.artifacts_dir), named, pins)
    parts.swaps = Swaps(parts.models)
    parts.plans, parts.specs = plan_slots(
        settings, parts.instruments, parts.models, parts.strategies
    )
    parts.row_by_row = row_by_row(parts.models)
    parts.bars = bars_beside(settings, parts.plans, parts.specs)
    return parts


def _in_order(models: Sequence[ModelSettings]) -> list[ModelSettings]:
    """Put single models before fused ones, and shadows last: they move nobody's place.

    So the records of the models that trade are the same with shadows and without.
    """
    return sorted(models, key=lambda one: (one.mode == "shadow", one.fusion is not None))


def build(
    parts: Parts,
    audit: AuditWriter,
    implied_wakes: bool = True,
    *,
    ahead: bool = True,
    new_venue: NewVenue | None = None,
    asker: Asker | None = None,
    answers_on_tape: bool = False,
) -> Parts:
    """Compile the kernel and join all parts.

    Args:
        ahead: the rows to come are known, so decisions may be evaluated ahead in batches.
        new_venue: makes a venue outside of the kernel, whose answers and opening state are rows of
            the tape; None is paper matching in the kernel, from the settings' balances.
        asker: takes the requests to models on threads.
        answers_on_tape: their answers are rows of the tape; else they come after the time that the
            registry says.
    """
    parts.kernel = load_kernel(parts.specs, bars=parts.bars)
    parts.audit = audit
    parts.window = (0, 0, 0)
    state = parts.state = new_state(parts, implied_wakes)
    state.root["answers_on_tape"] = answers_on_tape
    _build_money(parts, new_venue is None)
    _build_desk(parts, new_venue)
    parts.samples = Samples(parts.instruments, parts.plans)
    parts.ahead = _build_ahead(parts, implied_wakes) if ahead else None
    fusions, ports = build_ports(parts.plans, parts.models, state)
    parts.shadows = _build_shadows(parts)
    parts.model_answers = _build_answers(parts, asker, answers_on_tape)
    hooks: dict[Reason, Callable[[], None]] = {
        Reason.BATCH: parts.ahead.refill if parts.ahead else _nothing,
        Reason.SAMPLE: lambda: sample(parts),
        Reason.CONTROL: partial(control, parts),
        Reason.FLUSH: parts.shadows.settle,
        Reason.ASK: parts.model_answers.on_ask,
        Reason.ANSWER: parts.model_answers.on_answer,
    }
    advance = parts.kernel.advance
    parts.pipeline = Pipeline(state, advance, ports, parts.desk, audit=audit, hooks=hooks)
    join(parts.pipeline, fusions)
    parts.shadows.stages = parts.pipeline.stages
    if parts.ahead:
        parts.ahead.stages = parts.pipeline.stages
        parts.ahead.failed = parts.desk.model_failed
    return parts


def _build_answers(parts: Parts, asker: Asker | None, from_tape: bool) -> ModelAnswers:
    """Make what asks models on threads and takes their answers.

    Their own time is known: orders on their advice wait for no assumed decision latency.
    """
    state, kernel, numbers = parts.state, parts.kernel, parts.portfolio.desk[0]
    usual = int(numbers["paper_latency_ns"])
    order_ns = int(parts.settings.paper.order_latency_ms * NS_PER_MS) if usual >= 0 else usual

    def advise() -> None:
        numbers["paper_latency_ns"] = order_ns
        parts.pipeline.on_signal()
        numbers["paper_latency_ns"] = usual

    names = (kernel.ask, kernel.answer, kernel.begin, kernel.end, kernel.close_asked)
    return ModelAnswers(
        state.words,
        [partial(call, state.address) for call in names],
        parts.plans,
        partial(arrays_of, parts.plans, state),
        place=lambda: int(state.root[0]["asked_at"]),
        failed=lambda slot, error: parts.desk.model_failed(parts.plans[slot].model, error),
        advise=advise,
        asker=asker,
        from_tape=from_tape,
    )


def _build_shadows(parts: Parts) -> Shadows:
    fill_in = partial(parts.kernel.settle_shadows, parts.state.address)
    told = (parts.desk.model_failed, parts.desk.bus.topic(Signal))
    wait = SHADOWS_WAIT and parts.ahead is None
    return Shadows(parts.state, parts.plans, fill_in, told, wait=wait)


def _nothing() -> None:
    """Do nothing: no row of this kind is on a tape of market data."""


def new_state(parts: Parts, implied_wakes: bool, collect: int = 1) -> KernelState:
    """Make a kernel state with the run's slots; features at their start."""
    settings = parts.settings
    state = KernelState(
        parts.instruments,
        len(parts.plans),
        parts.kernel.features,
        kernel_rules(settings, implied_wakes, parts.bars),
        collect,
    )
    state.root["needs_levels"] = parts.kernel.needs_levels
    set_slots(state, parts.plans, settings.engine.bar_interval_s, parts.bars)
    parts.kernel.start(state.address)
    return state


def _build_money(parts: Parts, paper: bool) -> None:
    settings, state, kernel = parts.settings, parts.state, parts.kernel
    grids = [Grid(instrument) for instrument in parts.instruments]
    currencies = [(instrument.base, instrument.quote) for instrument in parts.instruments]
    parts.portfolio = Portfolio(
        grids,
        currencies,
        {
            currency: minor(amount) if paper else 0
            for currency, amount in settings.portfolio.balances.items()
        },
        fee_rate(settings.paper.maker_fee_bps),
        fee_rate(settings.paper.taker_fee_bps),
    )
    limits = [
        settings.risk.max_model_exposure
        if serving.settings.max_exposure is None
        else serving.settings.max_exposure
        for serving in parts.models
    ]
    record = gate_record(settings.risk, limits, parts.portfolio.total[parts.quote])
    for at, instrument in enumerate(parts.instruments):
        record["min_notional"][0][at] = minor(instrument.min_notional)
    state.root["gate"] = record.ctypes.data
    parts.portfolio.give_records(state.root[0])
    address = state.address
    mids = memoryview(state.markets.view(np.uint8)).cast("B").cast("d")
    width = state.markets.dtype.itemsize // 8
    mid_at = state.markets.dtype.fields["mid"][1] // 8  # type: ignore[index]
    ticks = [grid.tick for grid in grids]
    functions = GateKernel(
        lambda at: mids[at * width + mid_at] / ticks[at],
        partial(kernel.gate_check, address),
        partial(kernel.gate_fill, address),
        partial(kernel.gate_end, address),
        partial(kernel.gate_rest, address),
    )
    may_trade = [serving.may_trade for serving in parts.models]
    parts.gate = Gate(record, parts.portfolio, may_trade, functions, settings.risk.reduce_to_fit)


def _build_desk(parts: Parts, new_venue: NewVenue | None) -> None:
    paper, state, kernel = parts.settings.paper, parts.state, parts.kernel
    address, words = state.address, state.words
    latency = int((paper.decision_latency_ms + paper.order_latency_ms) * NS_PER_MS)
    numbers = parts.portfolio.desk[0]
    numbers["fast"] = int(ORDERS_IN_KERNEL)
    numbers["paper_latency_ns"] = latency if new_venue is None else -1
    venue: Venue
    if new_venue is None:
        venue = PaperVenue(
            partial(kernel.place, address),
            partial(kernel.cancel, address),
            lambda: words[NOW],
            lambda: int(numbers["paper_latency_ns"]),
            int(paper.cancel_latency_ms * NS_PER_MS),
        )
    else:
        venue = new_venue(partial(words.__getitem__, NOW))
    protection = Protection(
        partial(kernel.protect, address),
        partial(kernel.unprotect, address),
        parts.portfolio.count_leg,
        partial(operator.setitem, state.triggers["lots"]),
    )
    parts.recorder = Recorder(partial(kernel.push, address), parts.audit, lambda: words[NOW])
    parts.desk = FillDesk(
        state,
        parts.portfolio,
        (parts.gate, venue, protection),
        parts.recorder,
        Calls(
            partial(kernel.gate_expose, address),
            kernel.send,
            partial(kernel.settle_at, address),
            partial(kernel.end_at, address),
            partial(kernel.ask_cancel, address),
        ),
    )
    parts.answers = None if new_venue is None else VenueAnswers(parts.desk, parts.gate)


def _build_ahead(parts: Parts, implied_wakes: bool) -> Ahead | None:
    rows = parts.settings.engine.batch_rows
    serving = [plan.serving for plan in parts.plans if plan.serving is not None]
    if not may_run_ahead([*serving, *parts.swaps.coming], rows) or parts.row_by_row:
        return None
    parts.state.set_batches(rows)
    ahead = new_state(parts, implied_wakes, rows)
    models = [plan.serving for plan in parts.plans]
    return Ahead(parts.state, ahead, parts.kernel.advance, models, lambda: parts.window)
