"""Models that answer later: what the pipeline does when one is asked, and when its answer comes.

Three cases, one order of things. In a session the `asker` hands the request to the model's thread,
and a SIGNAL row brings the answer. In the replay of a session the row is on the tape already. On
tapes from elsewhere the kernel says when the answer is due, and the model is run then.
"""

import struct
from collections.abc import Callable, Sequence

import numpy as np

from engine.kernel.layout import WORD
from engine.kernel.output_layout import OutputKind
from engine.limits import MAX_OUTPUTS
from engine.ports import Asker, Predictor
from engine.row_words import row_head
from engine.rows import ROW, Kind

SLOT = WORD["slot"]
SETTLED, KNOWN = 0, 1  # as engine/kernel/asked.py says them; else the model must be run
COLUMNS_IN_ROW = 8
MAX_PARTS = -(-MAX_OUTPUTS // COLUMNS_IN_ROW)
OUTPUT_AT = int(ROW.fields["i1"][1])  # type: ignore[index]
_THREE_FLOATS, _THREE_WORDS = struct.Struct("<3d"), struct.Struct("<3q")


class ModelAnswers:
    """The two actions of a model on a thread, and the rows that answer it.

    Args:
        words: of the kernel's state.
        calls: the kernel's `ask`, `answer`, `begin`, `end` and `close_asked`, bound to the state.
        predictors: of each slot, to be run where the tape does not answer.
        arrays_of: gives a slot's float32[1, F] and float32[1, C], as they are bound now.
        place: gives the place of the request that `begin` has taken up.
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
        arrays_of: Callable[[int], tuple[np.ndarray, np.ndarray]],
        *,
        place: Callable[[], int],
        failed: Callable[[int, Exception], None],
        advise: Callable[[], None],
        asker: Asker | None,
        from_tape: bool,
    ) -> None:
        self._words = words
        self._ask, self._answer, self._begin, self._end, self._close = calls
        self.predictors = tuple(predictors)
        self._arrays_of = arrays_of
        self._place = place
        self._partial: list[tuple[int, bytes]] = []  # columns of the answer that is being read
        self._outputs: dict[int, np.ndarray] = {}  # by the request's place
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
            self.asker(slot, request, self._arrays_of(slot)[0])

    def on_row(self, row: np.void) -> None:
        """Take a SIGNAL row, or an OUTPUT row before it."""
        if not self.from_tape:
            return
        if row["kind"] == Kind.OUTPUT:
            part = (int(row["i0"]), row.tobytes()[OUTPUT_AT:])
            self._partial = [*self._partial[1 - MAX_PARTS :], part]
            return
        output = b"".join(said for request, said in self._partial if request == row["i0"])
        self._partial = []
        status, known = int(row["i4"]), 5
        if 0 <= status < known:
            answer = (status, float(row["f1"]), float(row["f2"]), float(row["f3"]))
            if place := self._answer(int(row["i0"]), int(row["ts_event"]), *answer):
                if output:
                    self._outputs[place - 1] = np.frombuffer(output, np.float32)
                return
        self.unmatched += 1

    def close(self, slot: int) -> None:
        """End what is open of a slot as a HOLD each, because its model goes."""
        self._close(slot)

    def _bring(self, slot: int) -> None:
        """Lay the columns that the tape has brought to where the model would have left them."""
        output = self._outputs.pop(self._place(), None)
        y = self._arrays_of(slot)[1][0]
        y[:] = np.nan if output is None else output[: len(y)]

    def on_answer(self) -> None:
        """Settle the oldest answer of the stop's slot; it may become a strategy's advice."""
        slot = self._words[SLOT]
        said, failed = self._begin(slot), 0
        if said == SETTLED:
            return
        if said == KNOWN:
            self._bring(slot)
        else:
            try:
                self.predictors[slot].run()
            except Exception as error:  # a model's failure costs its own signal only
                failed = 1
                self._failed(slot, error)
        if self._end(slot, failed):
            self._advise()


def answer_of(slot: np.void, y: np.ndarray) -> tuple[float, ...]:
    """Return what a model's answer is remembered by: probabilities, or all columns of its output.

    Args:
        slot: SLOT record.
        y: float32[C].
    """
    return tuple(y.tolist()) if is_valued(slot) else probabilities(slot, y)


def is_valued(slot: np.void) -> bool:
    """Say whether the output of a slot's model is more than probabilities."""
    return bool(slot["output_kind"] > OutputKind.BINARY)


def output_head(instrument: int) -> int:
    """Return the head of an OUTPUT row, for `LiveTape.push`."""
    return row_head(int(Kind.OUTPUT), instrument)


def output_payloads(request: int, y: np.ndarray) -> list[tuple[int, int, int, int, int]]:
    """Return the slots of the OUTPUT rows of an answer as words.

    >>> output_payloads(7, np.array([1.0, 2.0], np.float32))
    [(7, 4611686019492741120, 0, 0, 0)]
    """
    parts = -(-len(y) // COLUMNS_IN_ROW)
    padded = np.zeros(parts * COLUMNS_IN_ROW, np.float32)
    padded[: len(y)] = y
    words = padded.view(np.int64).reshape(parts, 4).tolist()
    return [(request, a, b, c, d) for a, b, c, d in words]


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
