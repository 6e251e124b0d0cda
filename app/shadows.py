"""Asks shadows together: rows that wait in the kernel's state are evaluated by model, in batches.

Nothing in the engine waits for what a shadow says, so the kernel does not stop where one decides:
engine/kernel/pending.py keeps its row, and its place in the audit. The rows are evaluated before
the audit's buffer is written, before a row that swaps or demotes a model, and live each time
somebody looks at the counts. When that happens shows nowhere: the records stand as if each row had
been evaluated where it was read.
"""

from collections.abc import Callable, Sequence

import numpy as np

from app.ahead import answers_of
from app.slots import SlotPlan
from engine.audit_layout import Record
from engine.bus import Topic
from engine.events import Signal
from engine.kernel.layout import ROOT
from engine.kernel.state import KernelState
from engine.latency import Stages

STAGE = "inference_shadows"  # one model's rows that waited, evaluated together
COUNT_AT = int(ROOT.fields["pending_count"][1]) // 8  # type: ignore[index]
UNKNOWN = float("nan")


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
        self._models = np.array([plan.model for plan in plans], np.int64)
        self.stages = Stages()  # the run's own, once there is a pipeline
        self.batches = 0
        for at in range(len(self._plans)):
            self.admit(at)

    def admit(self, at: int) -> None:
        """Decide whether the rows of a slot may wait; none does when this is called."""
        pends = self._wait and may_wait(self._plans[at], self._state.slots[at])
        self._state.let_wait(at, pends)

    def settle(self) -> None:
        """Evaluate the rows that wait, and fill in their records."""
        state = self._state
        count = state.words[COUNT_AT]
        if not count:
            return
        models = self._models[state.pending["slot"][:count]]
        for index in np.unique(models).tolist():
            self._evaluate(index, np.flatnonzero(models == index))
        self._fill_in()
        if self._advice.handlers:
            for place in np.flatnonzero(state.pending["heard"][:count]).tolist():
                self._advice.publish(self._signal(place))
        state.words[COUNT_AT] = 0

    def _evaluate(self, index: int, places: np.ndarray) -> None:
        """Evaluate one model's rows together."""
        state = self._state
        slot = int(state.pending["slot"][places[0]])
        serving = self._plans[slot].serving
        assert serving is not None and serving.ort is not None, "its rows may not wait"
        rows = state.pending_x[places, : serving.x.shape[1]]
        started = self.stages.start()
        answers = answers_of(serving, rows, self._failed)
        self.stages.stop(STAGE, started)
        state.pending_y[places, : answers.shape[1]] = answers
        self.batches += 1

    def _signal(self, place: int) -> Signal:
        """Make the advice of a row that waited."""
        pending = self._state.pending[place]
        record = self._state.audit[pending["record"]]
        assert record["kind"] == Record.SHADOW, "only shadows wait"
        return Signal(
            *(int(record[name]) for name in ("id", "ts", "row", "instrument", "model", "code")),
            int(record["aux"]),
            *(float(record[name]) for name in ("f0", "f1", "f2")),
            float(pending["value"]),
            float(pending["position"]),
        )


def may_wait(plan: SlotPlan, slot: np.void) -> bool:
    """Say whether the rows of a slot may wait: nobody needs what its model says at once.

    A fused model hears its members, a slot may read what another said last; a window moves on, and
    a thread answers by rows of its own. Batches must give the bits of single rows.
    """
    serving = plan.serving
    if serving is None or not serving.is_shadow or serving.ort is None:
        return False
    heard = plan.is_fused or plan.told or bool(plan.strategies) or slot["wants_holds"] != 0
    alone = serving.threaded or serving.sequence_length > 0
    return not heard and not alone and serving.batches()
