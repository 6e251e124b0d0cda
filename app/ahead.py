"""Evaluates the coming decisions in one batch: a second market state runs ahead of the first.

It sees the same rows through the same kernel, orders and signals switched off, and collects the
feature rows of the next decisions. The first state uses an output only when the row it reads itself
has the same hash at the same place; so the decisions cannot depend on any of this.
"""

from collections.abc import Callable, Sequence

import numpy as np

from app.serving import Serving
from engine.kernel.layout import NEVER, WORD, Reason
from engine.kernel.state import KernelState
from engine.latency import Stages

SLOT = WORD["slot"]
FULL_OR_END = int(Reason.BATCH | Reason.HEAD)


class Ahead:
    """Refills the rings of the slots whose models take batches.

    Args:
        state: the state that trades.  ahead: the one that runs ahead, set up alike.
        advance: the compiled loop.
        models: the serving model of each slot; None for slots without one.
        window: gives (rows address, first row, head) of the segment being read.
    """

    def __init__(
        self,
        state: KernelState,
        ahead: KernelState,
        advance: Callable[[int, int, int, int], int],
        models: Sequence[Serving | None],
        window: Callable[[], tuple[int, int, int]],
    ) -> None:
        self.state = state
        self.ahead = ahead
        self.models = tuple(models)
        self._advance = advance
        self._window = window
        self.batches = 0
        self.stages = Stages()  # the run's own, once there is a pipeline
        ahead.root["ahead"] = 1
        ahead.root["next_sample"] = NEVER
        ahead.root["sample_ns"] = NEVER // 4
        batched = [bool(model is not None and model.batches) for model in models]
        state.slots["batch"][: len(batched)] = batched

    def refill(self) -> None:
        """Collect what comes, evaluate it by model, and hand the outputs to the slots."""
        ahead = self.ahead
        root = ahead.root[0]
        root["collect_count"] = 0
        rows, first_row, head = self._window()
        if int(root["cursor"]) < first_row:
            self._stop()
            return
        reasons = 0
        while not reasons & FULL_OR_END:
            reasons = self._advance(ahead.address, rows, first_row, head)
            if reasons & Reason.CONTROL:
                break
        count = int(root["collect_count"])
        self.state.slots["batch_from"] = 0
        self.state.slots["batch_to"] = 0
        if count:
            self._evaluate(ahead.collect[:count], ahead.collect_x[:count])
            self.batches += 1
        asked = self.state.slots[self.state.words[SLOT]]
        if asked["batch_to"] == 0:
            asked["batch_dry"] = 1

    def _evaluate(self, collected: np.ndarray, x: np.ndarray) -> None:
        slots = collected["slot"]
        for serving in {id(m): m for m in self.models if m is not None}.values():
            mine = [at for at, model in enumerate(self.models) if model is serving]
            chosen, inputs = collected, x
            if len(mine) < len(self.models):
                ours = np.isin(slots, mine)
                chosen, inputs = collected[ours], x[ours]
            if not serving.batches or not len(chosen):
                continue
            width = serving.x.shape[1]
            started = self.stages.start()
            outputs = serving.ort.run_batch(np.ascontiguousarray(inputs[:, :width]))
            self.stages.stop("inference_batch", started)
            for at in mine:
                rows = chosen["slot"] == at
                self._hand_over(at, chosen[rows], outputs[rows])

    def _hand_over(self, at: int, rows: np.ndarray, outputs: np.ndarray) -> None:
        slot = self.state.slots[at]
        start = int(slot["batch_at"])
        ring = self.state.batches[start : start + len(rows)]
        ring["row_hash"] = rows["row_hash"]
        ring["row"] = rows["row"]
        ring["y"][:, : outputs.shape[1]] = outputs
        slot["batch_from"] = 0
        slot["batch_to"] = len(rows)

    def _stop(self) -> None:
        """Go on one by one: the tape holds rows that this state may not pass."""
        self.state.slots["batch"] = 0
