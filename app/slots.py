"""Lays a run's decision slots into the kernel: one for each model (or rule) and instrument."""

from collections.abc import Sequence

import msgspec
import numpy as np

from app.cadence import bar_of_cadence, parse_cadence
from app.hearing import common_instruments, members_of, share_out
from app.serving import Serving
from app.slot_outputs import check_outputs, hears_holds, output_columns
from app.windows import SlotWindow
from config.settings import Settings, StrategySettings
from engine.audit_layout import NO_INDEX
from engine.bar_kinds import BarKind, parse_bar, time_bar_name
from engine.books import NOBODY
from engine.errors import ConfigError, UsageError
from engine.events import AnswerStatus
from engine.instruments import Instrument, split_symbol
from engine.kernel.state import KernelState
from engine.ports import Predictor, Strategy
from engine.rows import NS_PER_S
from features.feature_bars import bars_of
from features.registry import absent_features, own_features
from features.spec import FeatureSpec, entry_of

NS_PER_MS = 1_000_000


class Still:
    """The predictor of a slot that has no model: its output never changes."""

    def run(self) -> None:
        """Leave the output as it is."""


class OwnPlan(msgspec.Struct, frozen=True):
    """Whose state a slot is told, as the OWN record says it; -1 for none."""

    owner: int
    signal_slot: int
    classifier_slot: int
    max_signal_age_ns: int


class SlotPlan:
    """What one slot is made of.

    Attributes:
        serving: its model, None for a strategy that needs none.
        instrument: index on the tape.
        spec: index of its features among the run's specs, -1 for none.
        strategies: who hears of its signals.
        absent: features whose inputs the data lacks, with these inputs.
        has: what the data, and the run for own state, hold for its features.
        own: of a slot whose model may read own state; see OwnPlan.
        told: other slots read what this one said last.
        window: of a sequence model, the ring that its session reads.
    """

    def __init__(self, serving: Serving | None, instrument: int, spec: int, cadence: str) -> None:
        self.serving = serving
        self.instrument = instrument
        self.spec = spec
        self.cadence = cadence
        self.strategies: list[Strategy] = []
        self.threshold = 0.0
        self.absent: dict[str, tuple[str, ...]] = {}
        self.has: tuple[str, ...] = ()
        self.own: OwnPlan | None = None
        self.told = False
        self.window: SlotWindow | None = None

    @property
    def is_fused(self) -> bool:
        """Its model is made of others."""
        return self.serving is not None and self.serving.settings.fusion is not None

    @property
    def model(self) -> int:
        """Owner of what is decided here."""
        return NOBODY if self.serving is None else self.serving.index

    def run(self) -> None:
        """Evaluate an input that was asked of a model on a thread."""
        asked: Predictor = self.window or self.serving or Still()
        asked.run()


def quote_currency(instruments: Sequence[Instrument]) -> str:
    """Return the one currency that the limits of a run are counted in.

    Raises:
        UsageError: the tape holds instruments of several quote currencies.
    """
    quotes = sorted({instrument.quote for instrument in instruments})
    if len(quotes) > 1:
        example = ",".join(i.symbol for i in instruments if i.quote == quotes[0])
        raise UsageError(
            f"the data is quoted in {' and '.join(quotes)}; limits are money in one currency: "
            f"choose with --symbols (for example --symbols {example})"
        )
    return quotes[0]


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
        members = common_instruments(serving, plans)
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
            spec = FeatureSpec(features=tuple(entry_of(name) for name in strategy.FEATURES))
            if own := own_features(spec):
                raise ConfigError(f"strategies.{lines.name}: {own[0]} is own state, for models")
            for at in mine:
                plan = SlotPlan(None, at, spec_at(spec), strategy.CADENCE)  # type: ignore[attr-defined]
                plan.strategies.append(strategy)
                plans.append(plan)
        else:
            _listen(lines, strategy, plans, mine)
    plans.sort(key=lambda plan: (plan.instrument, plan.is_fused))  # members before what is of them
    tell_own_state(settings, plans)
    for plan in plans:
        plan.has += data_of(settings, instruments, plan.instrument)
        if plan.spec >= 0:
            interval_ns = instruments[plan.instrument].bar_interval_ns
            plan.absent = absent_features(specs[plan.spec], plan.has, interval_ns)
        if plan.strategies and plan.serving is not None:
            least = min(getattr(s, "threshold", 0.0) for s in plan.strategies)
            plan.threshold = max(plan.threshold, least)
    share_out(settings, instruments, plans)
    return plans, specs


def tell_own_state(settings: Settings, plans: Sequence[SlotPlan]) -> None:
    """Decide whose state each model's slot is told, and who is listened to for that."""
    models = {plan.serving.settings.name: plan.model for plan in plans if plan.serving is not None}
    places = {(plan.model, plan.instrument): at for at, plan in enumerate(plans)}
    usual = settings.risk.max_signal_age_ms
    for plan in plans:
        if plan.serving is None:
            continue
        mine = plan.serving.settings
        said = [mine.signal_from, mine.classifier_from or mine.signal_from]
        slots = [places.get((models.get(name or "", -2), plan.instrument), -1) for name in said]
        for slot, word in zip(slots, ("own_signal", "own_classifier"), strict=True):
            if slot >= 0:
                plans[slot].told = True
                plan.has += (word,)
        plan.has += ("own_state",)
        plan.own = OwnPlan(
            owner=models[mine.book_from or mine.name],
            signal_slot=slots[0],
            classifier_slot=slots[1],
            max_signal_age_ns=int((mine.signal_age_ms or usual) * NS_PER_MS),
        )


def _listen(
    lines: StrategySettings, strategy: Strategy, plans: Sequence[SlotPlan], mine: Sequence[int]
) -> None:
    names = {plan.serving.settings.name for plan in plans if plan.serving is not None}
    fused = {plan.serving.settings.name for plan in plans if plan.serving and plan.is_fused}
    wants_fused = bool(getattr(strategy, "HEARS_FUSED", False))
    members = members_of(plans)
    for name in lines.models:
        if name in names and (name in fused) != wants_fused:
            text = "a fused model: strategy ensemble hears it" if name in fused else "no fused one"
            raise ConfigError(f"strategies.{lines.name}.models: {name} is {text}")
        if name not in names:
            known = ", ".join(sorted(names)) or "none"
            raise ConfigError(f"strategies.{lines.name}.models: no model {name}; there are {known}")
    heard: list[Serving] = []
    for plan in plans:
        if plan.serving is None or plan.instrument not in mine:
            continue
        name = plan.serving.settings.name
        if plan.serving.is_shadow or plan.is_fused != wants_fused:
            continue
        if name in lines.models or (not lines.models and name not in members):
            plan.strategies.append(strategy)
            heard.append(plan.serving)
    check_outputs(lines.name, strategy, heard)


def bars_beside(
    settings: Settings, plans: Sequence[SlotPlan], specs: Sequence[FeatureSpec]
) -> tuple[str, ...]:
    """List the bars that features or cadences want beside the base bars.

    Raises:
        ConfigError: there are too many, or a cadence names none.
    """
    base = time_bar_name(settings.engine.bar_interval_s)
    named = [bar_of_cadence(plan.cadence) for plan in plans]
    return bars_of(specs, [bar for bar in named if bar and bar != base])


def set_slots(
    state: KernelState, plans: Sequence[SlotPlan], bar_interval_s: int, bars: Sequence[str] = ()
) -> None:
    """Write the plans into the kernel's state; a model's slots share its input and output.

    Args:
        bars: beside the base bars, as the kernel counts them.
    Raises:
        ConfigError: a cadence that cannot be.
    """
    inputs: dict[tuple[int, int], np.ndarray] = {}
    for at, plan in enumerate(plans):
        cadence, number = parse_cadence(plan.cadence, bar_interval_s * NS_PER_S, bars)
        values = {
            "model": NO_INDEX if plan.serving is None else plan.serving.index,
            "instrument": plan.instrument,
            "spec": max(0, plan.spec),
            "cadence": int(cadence),
            "cadence_n": number,
            "threshold": plan.threshold,
            "absent": int(bool(plan.absent)),
            "shadow": int(plan.serving is not None and plan.serving.is_shadow),
            "told": int(plan.told),
            "own": own_record(state, at, plan),
        }
        if plan.serving is None:
            width = 2 if plan.spec < 0 else _width(state, plan)
            x = inputs.setdefault((plan.spec, -1), np.zeros((1, width), np.float32))
            y = np.array([[0.0, 1.0, 0.0]], np.float32)
            values |= {"wants_holds": 1, "sell_at": 0, "hold_at": 1, "buy_at": 2}
        else:
            x, y = plan.serving.x, plan.serving.y
            values |= model_values(plan.serving)
            values["wants_holds"] = int(any(hears_holds(one) for one in plan.strategies))
        state.set_slot(at, values, x, y)
    for plan, at, place in places_of(plans):
        plan.window = plan.serving.window(place) if plan.serving is not None else None
        if plan.window is not None:
            plan.window.bind(state, at)


def window_bars(plan: SlotPlan, bar_interval_ns: int) -> int:
    """Return how many base bars of the past fill a slot's window, once its features are warm."""
    steps = 0 if plan.serving is None else plan.serving.sequence_length
    name = bar_of_cadence(plan.cadence)
    if steps < 2 or not name or (bar := parse_bar(name)).kind != BarKind.TIME:
        return 0
    return (steps - 1) * max(1, bar.size // bar_interval_ns)


def places_of(plans: Sequence[SlotPlan]) -> list[tuple[SlotPlan, int, int]]:
    """Return each plan with its slot, and its number among the slots of its model."""
    seen: dict[int, int] = {}
    found = []
    for at, plan in enumerate(plans):
        found.append((plan, at, seen.get(plan.model, 0)))
        seen[plan.model] = found[-1][2] + 1
    return found


def columns_of(serving: Serving) -> tuple[str, ...]:
    """Name a model's features in order where own state is among them, else none."""
    spec = serving.spec
    return () if spec is None or not own_features(spec) else spec.names


def row_by_row(models: Sequence[Serving]) -> str:
    """Say why a run decides row by row, "" where nothing stands against batches ahead.

    Own state hangs on the orders of the decisions before, which a state that runs ahead has not.
    """
    names = [serving.settings.name for serving in models if columns_of(serving)]
    return f"row by row: own state is read by {', '.join(names)}" if names else ""


def own_record(state: KernelState, at: int, plan: SlotPlan) -> int:
    """Say in a slot's OWN record whose state it is; return its address, 0 where none is read."""
    if plan.own is None or plan.serving is None or not columns_of(plan.serving):
        return 0
    record = state.owns[at]
    for name in OwnPlan.__struct_fields__:
        record[name] = getattr(plan.own, name)
    return state.own_address(at)


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
        **output_columns(serving),
        **_thread_times(serving),
        "status": int(serving.obstacle),
        "run": 0 if native is None else native.function,
        "run_arguments": 0 if native is None else native.arguments,
    }


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
