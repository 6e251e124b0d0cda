"""Asks shadows together: rows that wait in the kernel's state are evaluated by model, in batches.

Nothing in the engine waits for what a shadow says, so the kernel does not stop where one decides:
engine/kernel/pending.py keeps its row, and its place in the audit. The rows are evaluated before
the audit's buffer is written, before a row that swaps or demotes a model, and live each time
somebody looks at the counts. When that happens shows nowhere: the records stand as if each row had
been evaluated where it was read.
"""

from collections.abc import Callable, Sequence

import numpy as np

from app.ahead import one_by_one
from app.serving import Serving
from app.slots import SlotPlan
from engine.audit_layout import Record
from engine.bus import Topic
from engine.events import Signal
from engine.kernel.layout import ROOT
from engine.kernel.state import KernelState
from engine.latency import Stages

STAGE = "inference_shadows"  # one model's rows that waited, evaluated together
COUNT_AT = int(ROOT.fields["pending_count"][1]) // 8  # type: ignore[index]


class Shadows:
    """The shadows of a run whose rows may wait.

    Args:
        state: the one that trades.
        plans: of its slots.
        fill_in: the kernel's `settle_shadows`, bound to the state.
        told: of a model's index and of what it raised; and the topic of advice.
        wait: rows may wait; where another state runs ahead they come in batches already.
    """

    def __init__(
        self,
        state: KernelState,
        plans: Sequence[SlotPlan],
        fill_in: Callable[[], None],
        told: tuple[Callable[[int, Exception], None], Topic[Signal]],
        *,
        wait: bool,
    ) -> None:
        self._state = state
        self._plans = tuple(plans)
        self._fill_in = fill_in
        self._failed, self._advice = told
        self._wait = wait
        self._waits: dict[int, Serving] = {}  # by model's index
        self.stages = Stages()  # the run's own, once there is a pipeline
        self.batches = 0
        for at in range(len(self._plans)):
            self.admit(at)

    def admit(self, at: int) -> None:
        """Decide whether the rows of a slot may wait; none does when this is called."""
        plan, slot = self._plans[at], self._state.slots[at]
        assert self._state.words[COUNT_AT] == 0, "a row waits for the version before"
        waiting = plan.serving.waiting if plan.serving is not None and self._wait else None
        slot["waits"] = waiting.address if waiting is not None and may_wait(plan, slot) else 0
        self._waits = {
            one.model: one.serving
            for one, other in zip(self._plans, self._state.slots, strict=False)
            if one.serving is not None and other["waits"] != 0
        }

    def settle(self) -> None:
        """Evaluate the rows that wait, and fill in their records."""
        state = self._state
        count = state.words[COUNT_AT]
        if not count:
            return
        for serving in self._waits.values():
            self._evaluate(serving)
        self._fill_in()
        if self._advice.handlers:
            for place in np.flatnonzero(state.pending["heard"][:count]).tolist():
                self._advice.publish(self._signal(place))

    def _evaluate(self, serving: Serving) -> None:
        """Evaluate one model's rows together; where that fails, one by one."""
        waiting = serving.waiting
        assert waiting is not None, "its rows may not wait"
        count = waiting.count
        if not count:
            return
        started = self.stages.start()
        try:
            waiting.run(count)
        except Exception:  # one row may be to blame; the others have their answers
            waiting.y[:count] = one_by_one(serving, waiting.x[:count], self._failed)
        self.stages.stop(STAGE, started)
        self.batches += 1

    def _signal(self, place: int) -> Signal:
        """Make the advice of a row that waited."""
        pending = self._state.pending[place]
        record = self._state.audit[pending["record"]]
        assert record["kind"] == Record.SHADOW, "only shadows wait"
        words = ("id", "ts", "row", "instrument", "model", "code", "aux")
        said = [float(record[name]) for name in ("f0", "f1", "f2")]
        said += [float(pending["value"]), float(pending["position"])]
        return Signal(*(int(record[name]) for name in words), *said)


def may_wait(plan: SlotPlan, slot: np.void) -> bool:
    """Say whether the rows of a slot may wait: nobody needs what its model says at once.

    A fused model hears its members, and a slot may read what another said last.
    """
    heard = plan.is_fused or plan.told or bool(plan.strategies) or slot["wants_holds"] != 0
    return plan.serving is not None and plan.serving.is_shadow and not heard
