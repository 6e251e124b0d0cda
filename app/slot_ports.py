"""What the stops of a slot lead to: what evaluates it, what strategies see of it, what is asked."""

from collections.abc import Sequence

import numpy as np

from app.slot_outputs import form_of
from app.slots import SlotPlan, Still
from engine.kernel.state import KernelState
from engine.pipeline import SlotPort
from engine.ports import Predictor


def predictor_of(plan: SlotPlan) -> Predictor:
    """Return what evaluates a slot's input into its output, in the hot path."""
    serving = plan.serving
    if plan.window is not None:
        return plan.window
    return Still() if serving is None else serving.ort or Still()


def port_of(plan: SlotPlan, state: KernelState, at: int) -> SlotPort:
    """Make what a slot's stops lead to, bound to the input and output that stand there."""
    features, output = (rows[0].view() for rows in (state.slot_input(at), state.outputs[at]))
    for row in (features, output):
        row.flags.writeable = False
    return SlotPort(
        plan.model,
        plan.instrument,
        predictor_of(plan),
        plan.strategies,
        features,
        output=output,
        form=form_of(plan.serving),
    )


def arrays_of(
    plans: Sequence[SlotPlan], state: KernelState, at: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return what a model on a thread is asked with, float32[1, (steps,) F], and float32[1, C]."""
    window = plans[at].window
    x = state.slot_input(at) if window is None else window.whole
    return x, state.outputs[at]
