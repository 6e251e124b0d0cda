"""Models that answer later: what the pipeline does when one is asked, and when its answer comes.

Three cases, one order of things. In a session the `asker` hands the request to the model's thread,
and a SIGNAL row brings the answer. In the replay of a session the row is on the tape already. On
tapes from elsewhere the kernel says when the answer is due, and the model is run then.
"""

import struct
from collections.abc import Callable, Sequence

import numpy as np

from engine.kernel.layout import WORD, OutputKind
from engine.ports import Asker, Predictor
from engine.row_words import row_head
from engine.rows import Kind

SLOT = WORD["slot"]
SETTLED, KNOWN, RUN_MODEL = 0, 1, 2  # as engine/kernel/asked.py says them
_THREE_FLOATS, _THREE_WORDS = struct.Struct("<3d"), struct.Struct("<3q")


class ModelAnswers:
    """The two actions of a model on a thread, and the rows that answer it.

    Args:
        words: of the kernel's state.
        calls: the kernel's `ask`, `answer`, `begin`, `end` and `close_asked`, bound to the state.
        predictors: of each slot, to be run where the tape does not answer.
        input_of: gives a slot's float32[1, F], as it is bound now.
        failed: told of a slot whose model raised.
        advise: shows the signal to the strategies.
        asker: takes requests; None where nobody need be asked.
        from_tape: SIGNAL rows answer.
    """

    def __init__(
        self,
        words: memoryview,
        calls: Sequence[Callable[..., int]],
        predictors: Sequence[Predictor],
        input_of: Callable[[int], np.ndarray],
        *,
        failed: Callable[[int, Exception], None],
        advise: Callable[[], None],
        asker: Asker | None,
        from_tape: bool,
    ) -> None:
        self._words = words
        self._ask, self._answer, self._begin, self._end, self._close = calls
        self.predictors = tuple(predictors)
        self._input_of = input_of
        self._failed = failed
        self._advise = advise
        self.asker = asker
        self.from_tape = from_tape
        self.unmatched = 0  # rows that answer no request of this run

    def on_ask(self) -> None:
        """Ask the model of the stop's slot."""
        slot = self._words[SLOT]
        request = self._ask(slot)
        if request >= 0 and self.asker is not None:
            self.asker(slot, request, self._input_of(slot))

    def on_row(self, row: np.void) -> None:
        """Take a SIGNAL row."""
        if not self.from_tape:
            return
        status, known = int(row["i4"]), 5
        if 0 <= status < known:
            answer = (status, float(row["f1"]), float(row["f2"]), float(row["f3"]))
            if self._answer(int(row["i0"]), int(row["ts_event"]), *answer):
                return
        self.unmatched += 1

    def close(self, slot: int) -> None:
        """End what is open of a slot as a HOLD each, because its model goes."""
        self._close(slot)

    def on_answer(self) -> None:
        """Settle the oldest answer of the stop's slot; it may become a strategy's advice."""
        slot = self._words[SLOT]
        said, failed = self._begin(slot), 0
        if said == SETTLED:
            return
        if said == RUN_MODEL:
            try:
                self.predictors[slot].run()
            except Exception as error:  # a model's failure costs its own signal only
                failed = 1
                self._failed(slot, error)
        if self._end(slot, failed):
            self._advise()


def probabilities(slot: np.void, y: np.ndarray) -> tuple[float, float, float]:
    """Return (sell, hold, buy) of a model's output, as the kernel reads it.

    Args:
        slot: SLOT record, for the places of the classes.
        y: float32[C].
    """
    if slot["output_kind"] == OutputKind.BINARY:
        up = float(y[0])
        return 1.0 - up, 0.0, up
    return float(y[slot["sell_at"]]), float(y[slot["hold_at"]]), float(y[slot["buy_at"]])


def signal_head(instrument: int) -> int:
    """Return the head of a SIGNAL row, for `LiveTape.push`."""
    return row_head(int(Kind.SIGNAL), instrument)


def signal_payload(
    request: int, chances: tuple[float, float, float], status: int
) -> tuple[int, int, int, int, int]:
    """Return the slots of a SIGNAL row as words.

    >>> signal_payload(7, (0.0, 0.0, 1.0), 0)
    (7, 0, 0, 4607182418800017408, 0)
    """
    sell, hold, buy = _THREE_WORDS.unpack(_THREE_FLOATS.pack(*chances))
    return request, sell, hold, buy, status
