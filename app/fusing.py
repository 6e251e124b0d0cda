"""Makes the pipeline's ports; lays in fused models: their predictors, and who marks them due."""

from collections.abc import Sequence

from app.cadence import bar_of_cadence, parse_cadence
from app.serving import Serving
from app.slot_outputs import hears_holds
from app.slot_ports import port_of
from app.slots import SlotPlan
from engine.bar_kinds import BarKind, parse_bar
from engine.events import Action, HoldReason, Intent, Signal
from engine.kernel.layout import WORD, Cadence
from engine.kernel.state import KernelState
from engine.pipeline import Pipeline, SlotPort
from engine.ports import Strategy
from engine.rows import NS_PER_S
from engine.view import View
from ml.runtime.fusion import Fusion, Member, Rules

NS_PER_MS = 1_000_000
HOLD, NAN = int(Action.HOLD), int(HoldReason.MODEL_NAN)
NOW = WORD["now"]
LASTS = 2  # advice of a model that is asked by time lasts for so many periods, or seconds


class Nudge:
    """Hears a member's signals and marks the fused slot due, which the kernel then comes to.

    The kernel stands between the member's slot and the fused one, which lies behind it; so members
    that decide at one wake make one fused decision.
    """

    name = "fusion"
    index = -1

    def __init__(self, state: KernelState, at: int) -> None:
        self._slot = state.slots[at]
        self._root = state.root[0]

    def decide(self, view: View) -> tuple[Intent, ...]:
        """Mark the fused slot due; nothing is wanted of the venue."""
        if self._slot["due"] == 0:
            self._slot["due"] = 1
            self._root["due_count"] += 1
        return ()


class AsAlone:
    """A strategy that hears a member of a fused model as if it were none.

    Fused models hear every decision of their members. The strategies beside hear advice, closes,
    and where they want to, HOLDs of a model that was asked; so no fused shadow changes an order.
    """

    def __init__(self, strategy: Strategy) -> None:
        self._strategy = strategy
        self._holds = hears_holds(strategy)
        self.name = strategy.name
        self.index = strategy.index

    def decide(self, view: View) -> tuple[Intent, ...]:
        """Return what the strategy wants."""
        signal = view.signal
        if signal.action == HOLD and not signal.close and not (self._holds and _asked(signal)):
            return ()
        return self._strategy.decide(view)


def _asked(signal: Signal) -> bool:
    """Tell whether a model said this: else the probabilities are all 0."""
    return signal.reason == NAN or signal.p_sell + signal.p_hold + signal.p_buy > 0.0


def new_fusion(plan: SlotPlan, models: Sequence[Serving], state: KernelState) -> Fusion:
    """Make the predictor of a fused model's slot.

    Args:
        plan: of the slot.
        models: of the run.
        state: the run's.
    """
    serving = plan.serving
    assert serving is not None
    fusion = serving.settings.fusion
    assert fusion is not None
    by_name = {one.settings.name: one for one in models}
    usual_ns = int(state.root[0]["max_answer_age_ns"])
    members = []
    for member in (by_name[name] for name in fusion.members):
        given = fusion.max_age_ms
        lasts = advice_lasts(member.settings.cadence, usual_ns)
        age_ns = lasts if given is None else int(given * NS_PER_MS)
        members.append(Member(member.index, member.settings.weight, age_ns))
    all_of_them = len(members) if fusion.rule == "stacking" else 1
    rules = Rules(
        fusion.rule,
        plan.threshold,
        all_of_them if fusion.min_members is None else fusion.min_members,
        fusion.opposed == "weigh",
    )
    shadow = serving.is_shadow
    made = Fusion(
        members,
        rules,
        plan.instrument,
        lambda model: shadow or models[model].may_trade,
        stacker=serving.stacker,
        x=serving.x,
        y=serving.y,
    )
    words = state.words
    made.now = lambda: words[NOW]
    return made


def advice_lasts(cadence: str, usual_ns: int) -> int:
    """Return how old advice of a model may be that is asked at a cadence, ns.

    Args:
        cadence: as in the config.
        usual_ns: for what is asked by events, which come when they come.
    Example:
        >>> [advice_lasts(word, 1) // NS_PER_S for word in ("every:250ms", "bar:5m")]
        [2, 600]
        >>> advice_lasts("bar:ticks:500", 1), advice_lasts("quote", 1)
        (1, 1)
    """
    if name := bar_of_cadence(cadence):
        bar = parse_bar(name)
        period = bar.size if bar.kind == BarKind.TIME else 0
    else:
        kind, number = parse_cadence(cadence, 0)
        period = number if kind == Cadence.EVERY_NS else 0
    return LASTS * max(period, NS_PER_S) if period else usual_ns


def listen(plans: Sequence[SlotPlan], state: KernelState) -> dict[int, list[Nudge]]:
    """Return who hears each slot's signals for the fused models of its instrument."""
    heard: dict[int, list[Nudge]] = {}
    for at, plan in enumerate(plans):
        if plan.serving is None or plan.serving.settings.fusion is None:
            continue
        for other, member in enumerate(plans):
            if (
                member.serving is not None
                and member.instrument == plan.instrument
                and member.serving.settings.name in plan.serving.settings.fusion.members
            ):
                assert other < at, "members decide before what is made of them"
                heard.setdefault(other, []).append(Nudge(state, at))
                state.slots[other]["wants_holds"] = 2
    return heard


def join(pipeline: Pipeline, fusions: dict[int, Fusion]) -> None:
    """Let fused models read the run's latest signals."""
    for fusion in fusions.values():
        fusion.signals = pipeline.signals


def build_ports(
    plans: Sequence[SlotPlan], models: Sequence[Serving], state: KernelState
) -> tuple[dict[int, Fusion], list[SlotPort]]:
    """Make one port for each slot; those of fused models know whose advice they stand on.

    Returns:
        the fused models' predictors by slot, still to be joined to the pipeline; and the ports.
    """
    heard = listen(plans, state)
    fusions: dict[int, Fusion] = {}
    ports = []
    for at, plan in enumerate(plans):
        port = port_of(plan, state, at)
        if at in heard:
            port.strategies = (*heard[at], *map(AsAlone, plan.strategies))
        if plan.is_fused and plan.serving is not None and not plan.serving.hold:
            fusion = fusions[at] = new_fusion(plan, models, state)
            port.predictor = port.source = fusion
            port.members = tuple(member.model for member in fusion.members)
        if plan.serving is not None:
            port.size_quote = plan.serving.settings.size_quote or 0.0
        ports.append(port)
    return fusions, ports
