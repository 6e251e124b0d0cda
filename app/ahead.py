"""Evaluates the coming decisions in one batch: a second market state runs ahead of the first.

It sees the same rows through the same kernel, orders and signals switched off; it does the work on
features and collects the feature row of every decision to come. The first state follows: it moves
books, bars and orders, leaves the features alone, and takes one place of the ring for each of its
decisions. Rows evaluated together give the same bits as one by one, so nothing shows in the digest.
What comes after a swap row is the new model's, and a demotion may end the asking: the state ahead
stops behind such a row until all before it is decided.
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
WINDOWS_ALONE = "it reads a window: decisions are evaluated one by one, none in batches ahead"
CONTROL_ROW, TURNS = int(Kind.CONTROL), (int(Command.SWAP), int(Command.DEMOTE))


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
        self.failed: Callable[[int, Exception], None] = lambda model, error: None
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
            if reasons & CONTROL and root["collect_count"] and self._is_turn(rows, first_row):
                break  # with nothing collected the other state has passed the row already
        return int(root["collect_count"])

    def _is_turn(self, rows: int, first_row: int) -> bool:
        """Say whether the row at which the state ahead stopped swaps or demotes a model."""
        row = row_at(rows, int(self.ahead.root[0]["row"]) - first_row)
        return row["kind"] == CONTROL_ROW and int(row["i0"]) in TURNS

    def _evaluate(self, collected: np.ndarray, x: np.ndarray) -> None:
        slots = collected["slot"]
        several = len(self.models) > 1
        mine = [np.flatnonzero(slots == at) if several else None for at in range(len(self.models))]
        for at, serving in enumerate(self.models):
            ring = self._ring(at, collected, x, mine[at])
            if serving is None or serving.ort is None:
                ring["y"][:, : self.state.outputs[at].shape[1]] = self.state.outputs[at]
        for serving in {id(m): m for m in self.models if m is not None and m.ort}.values():
            if not serving.threaded:  # its answer is due later, and evaluated then
                self._infer(serving, collected, x, mine)

    def _ring(
        self, at: int, collected: np.ndarray, x: np.ndarray, mine: np.ndarray | None
    ) -> np.ndarray:
        """Lay the decisions of a slot (`mine`; None: all) into its ring, outputs still to come."""
        slot = self.state.slots[at]
        which = np.arange(len(collected)) if mine is None else mine
        ring = self._places(at, len(which))
        for field in ("row_hash", "row", "reason"):  # by field: whole records are slow to pick
            ring[field] = collected[field] if mine is None else collected[field][mine]
        ring["x"] = x.ctypes.data + which * x.strides[0]
        slot["batch_from"] = 0
        slot["batch_to"] = len(which)
        return ring

    def _places(self, at: int, count: int) -> np.ndarray:
        start = int(self.state.slots[at]["batch_at"])
        return self.state.batches[start : start + count]

    def _infer(
        self,
        serving: Serving,
        collected: np.ndarray,
        x: np.ndarray,
        mine: Sequence[np.ndarray | None],
    ) -> None:
        """Evaluate the whole rows of a model's slots together."""
        valid = collected["valid"] == 1
        of = [at for at, model in enumerate(self.models) if model is serving]
        chosen, rows_of = [], []
        for which in (mine[at] for at in of):
            chosen.append(np.flatnonzero(valid if which is None else valid[which]))
            rows_of.append(chosen[-1] if which is None else which[chosen[-1]])
        rows = np.concatenate(rows_of)
        if not len(rows):
            return
        width = serving.x.shape[1]
        everything = len(of) == 1 and len(rows) == len(collected)
        inputs = x[:, :width] if everything else x[rows, :width]
        started = self.stages.start()
        outputs = answers_of(serving, np.ascontiguousarray(inputs), self.failed)
        self.stages.stop("inference_batch", started)
        first = 0
        for at, places in zip(of, chosen, strict=True):
            answers = outputs[first : first + len(places)]
            first += len(places)
            ring = self._places(at, int(self.state.slots[at]["batch_to"]))["y"]
            if len(places) == len(ring):
                ring[:, : answers.shape[1]] = answers
            else:
                ring[places, : answers.shape[1]] = answers


def may_run_ahead(models: Sequence[Serving], rows: int) -> bool:
    """Say whether batches of so many rows give what single rows do, for every model that works."""
    working = [one for one in models if one.ort is not None]
    windows = [one for one in working if one.sequence_length]
    for one in windows:
        one.note = one.note or WINDOWS_ALONE
    if rows <= 1 or windows or all(one.threaded for one in working):
        return False
    return all(one.batches() for one in working)


def answers_of(
    serving: Serving, rows: np.ndarray, failed: Callable[[int, Exception], None]
) -> np.ndarray:
    """Evaluate rows together; where the runtime cannot, one by one, NaN for each that fails.

    Args:
        serving: a model that gives the same bits either way.
        rows: float32[n, F].
        failed: told of the model's index and of what it raised.
    Returns:
        float32[n, C].
    """
    ort = serving.ort
    try:
        answers: np.ndarray = ort.run_batch(rows)
        return answers
    except Exception:  # one row may be to blame; the others have their answers
        return one_by_one(serving, rows, failed)


def one_by_one(
    serving: Serving, rows: np.ndarray, failed: Callable[[int, Exception], None]
) -> np.ndarray:
    """Evaluate rows (or windows) one by one, NaN for each that fails; see `answers_of`."""
    ort = serving.ort
    answers = np.full((len(rows), ort.y.shape[1]), np.nan, np.float32)
    kept = ort.x.copy(), ort.y.copy()
    for at, row in enumerate(rows):
        ort.x[0] = row
        try:
            ort.run()
            answers[at] = ort.y[0]
        except Exception as error:  # a model's failure costs its own signal only
            failed(serving.index, error)
    ort.x[:], ort.y[:] = kept
    return answers
