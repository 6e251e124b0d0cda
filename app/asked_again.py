"""In the replay of a session: some requests to models on threads are made again, and compared.

The replay decides by the answers on the tape. Every so many requests the model is also asked here,
so that a runtime or machine that answers otherwise is seen and told; nothing is decided by it.
"""

from collections.abc import Callable, Sequence

import numpy as np

from engine.events import AnswerStatus
from engine.model_answers import OUTPUT_AT, answer_of
from engine.ports import Predictor
from engine.rows import Kind
from engine.tape import Tape

EVERY = 16  # one request in so many is made again


class AskedAgain:
    """The asker of a session's replay.

    Args:
        tape: of the session.
        slots: SLOT records; predictors: what evaluates each slot's input.
        outputs: float32[1, C] of each slot.
        told: given a line about the first difference.
    """

    def __init__(
        self,
        tape: Tape,
        slots: np.ndarray,
        predictors: Sequence[Predictor],
        outputs: Sequence[np.ndarray],
        told: Callable[[str], None],
    ) -> None:
        self._slots = slots
        self._predictors = tuple(predictors)
        self._outputs = outputs
        self._told = told
        self._answers = _results(tape)
        self.compared = self.different = 0

    def __call__(self, slot: int, request: int, x: np.ndarray) -> None:
        """Make a request again, if it is one of those and the tape has its result."""
        known = self._answers.get(request)
        if known is None:
            return
        try:
            self._predictors[slot].run()
            found = answer_of(self._slots[slot], self._outputs[slot][0])
        except (
            Exception
        ) as error:  # it answered in the session: that it raises here is a difference
            found = (float("nan"),)
            self._tell(f"request {request}: {type(error).__name__} instead of an answer")
        self.compared += 1
        known = known[: len(found)]  # OUTPUT rows are filled up with zeros
        if np.array(found).tobytes() != np.array(known).tobytes():
            self.different += 1
            self._tell(f"request {request}: {found} instead of {known}")

    def _tell(self, line: str) -> None:
        if self.different <= 1:
            self._told(line)


def _results(tape: Tape) -> dict[int, tuple[float, ...]]:
    """Collect the results on a tape that will be compared, by request."""
    found: dict[int, tuple[float, ...]] = {}
    columns: dict[int, tuple[float, ...]] = {}
    for segment in tape.segments:
        rows = segment.rows
        chosen = np.flatnonzero(
            (rows["kind"] == Kind.OUTPUT)
            | ((rows["kind"] == Kind.SIGNAL) & (rows["i4"] == AnswerStatus.RESULT))
        )
        chosen = chosen[rows["i0"][chosen] % EVERY == 0]
        for row in rows[chosen]:
            request = int(row["i0"])
            if row["kind"] == Kind.OUTPUT:
                said = np.frombuffer(row.tobytes()[OUTPUT_AT:], np.float32)
                columns[request] = (*columns.get(request, ()), *said.tolist())
            else:
                chances = (float(row["f1"]), float(row["f2"]), float(row["f3"]))
                found[request] = columns.pop(request, chances)
    return found
