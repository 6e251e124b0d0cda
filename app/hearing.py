"""Whose advice strategies hear, where models are members of others or share the market."""

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

from app.serving import Serving
from config.settings import Settings
from engine.instruments import Instrument
from engine.rows import NS_PER_S
from ml.runtime.split import InTurn, TimeSlices, arm_of

if TYPE_CHECKING:
    from app.slots import SlotPlan


def common_instruments(serving: Serving, plans: Sequence["SlotPlan"]) -> set[int] | None:
    """Return where a fused model has members at all; None of a single model."""
    fusion = serving.settings.fusion
    if fusion is None:
        return None
    return {
        plan.instrument
        for plan in plans
        if plan.serving is not None and plan.serving.settings.name in fusion.members
    }


def members_of(plans: Sequence["SlotPlan"]) -> set[str]:
    """Return the members of fused models that trade: their advice is not heard alone as well."""
    found: set[str] = set()
    for plan in plans:
        if plan.serving is not None and not plan.serving.is_shadow:
            fusion = plan.serving.settings.fusion
            found |= set(() if fusion is None else fusion.members)
    return found


def share_out(
    settings: Settings, instruments: Sequence[Instrument], plans: Sequence["SlotPlan"]
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
