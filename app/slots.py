"""Lays a run's decision slots into the kernel: one for each model (or rule) and instrument."""

from collections.abc import Sequence
from functools import partial

import numpy as np

from app.cadence import parse_cadence
from app.serving import OUTPUT_KINDS, Serving
from config.settings import Settings, StrategySettings
from engine.audit_layout import NO_INDEX
from engine.books import NOBODY
from engine.errors import ConfigError
from engine.events import AnswerStatus
from engine.instruments import Instrument, split_symbol
from engine.kernel.layout import OutputKind
from engine.kernel.state import KernelState
from engine.ports import Strategy
from engine.rows import NS_PER_S
from features.registry import absent_features
from features.spec import FeatureSpec
from ml.runtime.split import InTurn, TimeSlices, arm_of


class Still:
    """The predictor of a slot that has no model: its output never changes."""

    def run(self) -> None:
        """Leave the output as it is."""


class SlotPlan:
    """What one slot is made of.

    Attributes:
        serving: its model, None for a strategy that needs none.
        instrument: index on the tape.
        spec: index of its features among the run's specs, -1 for none.
        strategies: who hears of its signals.
        absent: features whose inputs the data lacks, with these inputs.
    """

    def __init__(self, serving: Serving | None, instrument: int, spec: int, cadence: str) -> None:
        self.serving = serving
        self.instrument = instrument
        self.spec = spec
        self.cadence = cadence
        self.strategies: list[Strategy] = []
        self.threshold = 0.0
        self.absent: dict[str, tuple[str, ...]] = {}

    @property
    def is_fused(self) -> bool:
        """Its model is made of others."""
        return self.serving is not None and self.serving.settings.fusion is not None

    @property
    def model(self) -> int:
        """Owner of what is decided here."""
        return NOBODY if self.serving is None else self.serving.index


def chosen(symbols: Sequence[str], instruments: Sequence[Instrument], where: str) -> list[int]:
    """Return the indices of the named symbols; all for none.

    Raises:
        ConfigError: a symbol that is not on the tape.
    """
    if not symbols:
        return list(range(len(instruments)))
    wanted = [split_symbol(symbol)[0] for symbol in symbols]
    there = [instrument.symbol for instrument in instruments]
    for symbol in wanted:
        if symbol not in there:
            raise ConfigError(f"{where}: {symbol} is not on the tape; it holds {', '.join(there)}")
    return [at for at, symbol in enumerate(there) if symbol in wanted]


def data_of(settings: Settings, instruments: Sequence[Instrument], at: int) -> tuple[str, ...]:
    """Return what the data holds of an instrument, bars of the one it is paired with included."""
    instrument = instruments[at]
    peer = settings.engine.pairs.get(instrument.symbol)
    paired = any(other.symbol == peer for other in instruments)
    return (*instrument.has, "peer_bars") if paired else instrument.has


def plan_slots(
    settings: Settings,
    instruments: Sequence[Instrument],
    models: Sequence[Serving],
    strategies: Sequence[tuple[StrategySettings, Strategy]],
) -> tuple[list[SlotPlan], list[FeatureSpec]]:
    """Decide which slots a run has, ordered by instrument, and which specs they read.

    Raises:
        ConfigError: a strategy or model names what is not there.
    """
    specs: list[FeatureSpec] = []

    def spec_at(spec: FeatureSpec | None) -> int:
        if spec is None:
            return -1
        if spec not in specs:
            specs.append(spec)
        return specs.index(spec)

    plans: list[SlotPlan] = []
    for serving in models:
        where = f"models.{serving.settings.name}.symbols"
        members = _common(serving, plans)
        for at in chosen(serving.settings.symbols, instruments, where):
            if members is not None and at not in members:
                continue
            plan = SlotPlan(serving, at, spec_at(serving.spec), serving.settings.cadence)
            fusion = serving.settings.fusion
            floor = 0.0 if fusion is None else fusion.threshold
            plan.threshold = max(serving.settings.min_confidence, floor)
            plans.append(plan)
    for lines, strategy in strategies:
        where = f"strategies.{lines.name}.symbols"
        mine = chosen(lines.symbols, instruments, where)
        if hasattr(strategy, "FEATURES"):
            spec = FeatureSpec(features=tuple((name, {}) for name in strategy.FEATURES))
            for at in mine:
                plan = SlotPlan(None, at, spec_at(spec), strategy.CADENCE)  # type: ignore[attr-defined]
                plan.strategies.append(strategy)
                plans.append(plan)
        else:
            _listen(lines, strategy, plans, mine)
    for plan in plans:
        if plan.spec >= 0:
            has = data_of(settings, instruments, plan.instrument)
            plan.absent = absent_features(specs[plan.spec], has)
        if plan.strategies and plan.serving is not None:
            least = min(getattr(s, "threshold", 0.0) for s in plan.strategies)
            plan.threshold = max(plan.threshold, least)
    _share_out(settings, instruments, plans)
    return sorted(plans, key=lambda plan: (plan.instrument, plan.is_fused)), specs


def _common(serving: Serving, plans: Sequence[SlotPlan]) -> set[int] | None:
    """Return where a fused model has members at all; None of a single model."""
    fusion = serving.settings.fusion
    if fusion is None:
        return None
    return {
        plan.instrument
        for plan in plans
        if plan.serving is not None and plan.serving.settings.name in fusion.members
    }


def _share_out(
    settings: Settings, instruments: Sequence[Instrument], plans: Sequence[SlotPlan]
) -> None:
    """Let each arm of an A/B split be heard in its instruments, or in its slices of time, only."""
    for name, split in settings.splits.items():
        arms = [model for model in settings.models if model.split == name]
        weights = [model.weight for model in arms]
        order = {model.name: at for at, model in enumerate(arms)}
        for plan in plans:
            if plan.serving is None or plan.serving.settings.split != name:
                continue
            arm = order[plan.serving.settings.name]
            if split.by == "instrument":
                symbol = instruments[plan.instrument].symbol
                if arm_of(split.seed, name, symbol, weights) != arm:
                    plan.strategies = []
                continue
            slices = TimeSlices(split.seed, name, weights, split.slice_s * NS_PER_S)
            mine = partial(_is_turn, slices, arm)
            plan.strategies = [InTurn(strategy, mine) for strategy in plan.strategies]


def _is_turn(slices: TimeSlices, arm: int, ts: int) -> bool:
    return slices.arm(ts) == arm


def _listen(
    lines: StrategySettings, strategy: Strategy, plans: Sequence[SlotPlan], mine: Sequence[int]
) -> None:
    names = {plan.serving.settings.name for plan in plans if plan.serving is not None}
    fused = {plan.serving.settings.name for plan in plans if plan.serving and plan.is_fused}
    wants_fused = bool(getattr(strategy, "HEARS_FUSED", False))
    members = _members(plans)
    for name in lines.models:
        if name in names and (name in fused) != wants_fused:
            text = "a fused model: strategy ensemble hears it" if name in fused else "no fused one"
            raise ConfigError(f"strategies.{lines.name}.models: {name} is {text}")
        if name not in names:
            known = ", ".join(sorted(names)) or "none"
            raise ConfigError(f"strategies.{lines.name}.models: no model {name}; there are {known}")
    for plan in plans:
        if plan.serving is None or plan.instrument not in mine:
            continue
        name = plan.serving.settings.name
        if plan.serving.is_shadow or plan.is_fused != wants_fused:
            continue
        if name in lines.models or (not lines.models and name not in members):
            plan.strategies.append(strategy)


def _members(plans: Sequence[SlotPlan]) -> set[str]:
    """Return the members of fused models that trade: their advice is not heard alone as well."""
    found: set[str] = set()
    for plan in plans:
        if plan.serving is not None and not plan.serving.is_shadow:
            fusion = plan.serving.settings.fusion
            found |= set(() if fusion is None else fusion.members)
    return found


def set_slots(state: KernelState, plans: Sequence[SlotPlan], bar_interval_s: int) -> None:
    """Write the plans into the kernel's state; a model's slots share its input and output.

    Raises:
        ConfigError: a cadence that cannot be.
    """
    inputs: dict[tuple[int, int], np.ndarray] = {}
    for at, plan in enumerate(plans):
        cadence, number = parse_cadence(plan.cadence, bar_interval_s * NS_PER_S)
        values = {
            "model": NO_INDEX if plan.serving is None else plan.serving.index,
            "instrument": plan.instrument,
            "spec": max(0, plan.spec),
            "cadence": int(cadence),
            "cadence_n": number,
            "threshold": plan.threshold,
            "absent": int(bool(plan.absent)),
            "shadow": int(plan.serving is not None and plan.serving.is_shadow),
        }
        if plan.serving is None:
            width = 2 if plan.spec < 0 else _width(state, plan)
            x = inputs.setdefault((plan.spec, -1), np.zeros((1, width), np.float32))
            y = np.array([[0.0, 1.0, 0.0]], np.float32)
            values |= {"wants_holds": 1, "sell_at": 0, "hold_at": 1, "buy_at": 2}
        else:
            x, y = plan.serving.x, plan.serving.y
            values |= model_values(plan.serving)
        state.set_slot(at, values, x, y)


def _thread_times(serving: Serving) -> dict[str, int]:
    """Return what a slot says of a model on a thread: how long it takes by the registry's word."""
    if not serving.threaded:
        return {"threaded": 0, "service_ns": 1, "service_status": 0}
    late = serving.latency_ns > serving.deadline_ns
    return {
        "threaded": 1,
        "service_ns": max(1, min(serving.latency_ns, serving.deadline_ns)),
        "service_status": int(AnswerStatus.TIMED_OUT if late else AnswerStatus.RESULT),
    }


def _width(state: KernelState, plan: SlotPlan) -> int:
    strategy = plan.strategies[0]
    return len(strategy.FEATURES)  # type: ignore[attr-defined]


def model_values(serving: Serving) -> dict[str, int | float]:
    """Return the fields of a slot that follow from the version that serves there."""
    native = serving.native
    return {
        **_output_columns(serving),
        **_thread_times(serving),
        "status": int(serving.hold),
        "run": 0 if native is None else native.function,
        "run_arguments": 0 if native is None else native.arguments,
    }


def _output_columns(serving: Serving) -> dict[str, int]:
    if serving.settings.fusion is not None:
        return {"output_kind": int(OutputKind.FUSED)}
    if serving.loaded is None:
        return {"sell_at": 0, "hold_at": 1, "buy_at": 2}
    columns = {"output_kind": int(OUTPUT_KINDS[serving.loaded.output_kind])}
    for name, field in (("SELL", "sell_at"), ("HOLD", "hold_at"), ("BUY", "buy_at")):
        if name in serving.loaded.classes:
            columns[field] = serving.loaded.classes.index(name)
    return columns


def absence_notes(plans: Sequence[SlotPlan], instruments: Sequence[Instrument]) -> list[str]:
    """Say which models hold for which instruments because the data lacks an input."""
    found: dict[tuple[str, str], list[str]] = {}
    for plan in plans:
        if plan.absent and plan.serving is not None:
            name, missing = next(iter(plan.absent.items()))
            what = ", ".join(missing)
            words = f"{name} needs {what}, which the data lacks ({len(plan.absent)} in all)"
            key = (plan.serving.settings.name, words)
            found.setdefault(key, []).append(instruments[plan.instrument].symbol)
    return [
        f"{model} holds on {', '.join(symbols[:4])}"
        f"{f' and {len(symbols) - 4} more' if len(symbols) > 4 else ''}: {words}"
        for (model, words), symbols in found.items()
    ]
