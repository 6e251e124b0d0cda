"""Evaluates the coming decisions in one batch: a second market state runs ahead of the first.

It sees the same rows through the same kernel, orders and signals switched off; it does the work on
features and collects the feature row of every decision to come. The first state follows: it moves
books, bars and orders, leaves the features alone, and takes one place of the ring for each of its
decisions. Rows evaluated together give the same bits as one by one, so nothing shows in the digest.
What comes after a swap row is the new model's: the state ahead stops behind the row until all
before it is decided.
"""

from collections.abc import Callable, Sequence

import numpy as np

from app.serving import Serving
from engine.events import Command
from engine.kernel.layout import NEVER, Collected, Reason
from engine.kernel.state import KernelState
from engine.latency import Stages
from engine.row_words import row_at
from engine.rows import Kind

FULL_OR_END = int(Reason.BATCH | Reason.HEAD)
CONTROL = int(Reason.CONTROL)
CONTROL_ROW, SWAP = int(Kind.CONTROL), int(Command.SWAP)


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
        ahead.root["ahead_all"] = int(Collected.EVERY)
        state.root["follows"] = 1

    def refill(self) -> None:
        """Collect what comes, evaluate it by model, and hand the outputs to the slots."""
        rows, first_row, head = self._window()
        count = self._run(rows, first_row, head)
        assert count > 0, "a decision is due that the state ahead has not seen"
        self._evaluate(self.ahead.collect[:count], self.ahead.collect_x[:count])
        self.batches += 1

    def finish(self) -> None:
        """Go on to the end of a segment whose decisions are all made."""
        rows, first_row, head = self._window()
        if int(self.ahead.root[0]["cursor"]) < head:
            count = self._run(rows, first_row, head)
            assert count == 0, "a segment ends before its decisions"

    def _run(self, rows: int, first_row: int, head: int) -> int:
        root = self.ahead.root[0]
        root["collect_count"] = 0
        reasons = 0
        while not reasons & FULL_OR_END:
            reasons = self._advance(self.ahead.address, rows, first_row, head)
            if reasons & CONTROL and root["collect_count"] and self._is_swap(rows, first_row):
                break  # with nothing collected the other state has passed the row already
        return int(root["collect_count"])

    def _is_swap(self, rows: int, first_row: int) -> bool:
        """Say whether the row at which the state ahead stopped swaps a model."""
        row = row_at(rows, int(self.ahead.root[0]["row"]) - first_row)
        return row["kind"] == CONTROL_ROW and row["i0"] == SWAP

    def _evaluate(self, collected: np.ndarray, x: np.ndarray) -> None:
        slots = collected["slot"]
        for at, serving in enumerate(self.models):
            mine = np.flatnonzero(slots == at) if len(self.models) > 1 else np.arange(len(slots))
            ring = self._ring(at, collected[mine], x, mine)
            if serving is None or serving.ort is None:
                ring["y"][:, : self.state.outputs[at].shape[1]] = self.state.outputs[at]
        for serving in {id(m): m for m in self.models if m is not None and m.ort}.values():
            self._infer(serving, collected, x)

    def _ring(self, at: int, rows: np.ndarray, x: np.ndarray, which: np.ndarray) -> np.ndarray:
        """Lay the decisions of a slot into its ring, outputs still to come."""
        slot = self.state.slots[at]
        start = int(slot["batch_at"])
        ring = self.state.batches[start : start + len(rows)]
        ring["row_hash"] = rows["row_hash"]
        ring["row"] = rows["row"]
        ring["reason"] = rows["reason"]
        ring["x"] = x.ctypes.data + which * x.strides[0]
        slot["batch_from"] = 0
        slot["batch_to"] = len(rows)
        return ring

    def _infer(self, serving: Serving, collected: np.ndarray, x: np.ndarray) -> None:
        """Evaluate the whole rows of a model's slots together."""
        mine = [at for at, model in enumerate(self.models) if model is serving]
        chosen = collected["valid"] == 1
        if len(mine) < len(self.models):
            chosen &= np.isin(collected["slot"], mine)
        if not chosen.any():
            return
        width = serving.x.shape[1]
        inputs = x[:, :width] if chosen.all() else x[chosen, :width]
        started = self.stages.start()
        outputs = serving.ort.run_batch(np.ascontiguousarray(inputs))
        self.stages.stop("inference_batch", started)
        for at in mine:
            of = collected["slot"] == at
            slot = self.state.slots[at]
            start = int(slot["batch_at"])
            ring = self.state.batches[start : start + int(slot["batch_to"])]
            ring["y"][chosen[of], : outputs.shape[1]] = outputs[of[chosen]]
