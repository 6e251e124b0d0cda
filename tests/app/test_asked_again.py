"""A session's replay makes some requests again: what differs is counted and told, once."""

from types import SimpleNamespace

import numpy as np

from app.asked_again import EVERY, AskedAgain
from engine.events import AnswerStatus
from engine.kernel.layout import SLOT
from engine.rows import ROW, Kind

REQUESTS = 4 * EVERY


class Model:
    """Answers the same, until it is told to raise."""

    def __init__(self, y: np.ndarray) -> None:
        self.y = y
        self.runs = 0
        self.broken = False

    def run(self) -> None:
        self.runs += 1
        if self.broken:
            raise RuntimeError("gone")
        self.y[0] = (0.25, 0.25, 0.5)


def world(status: AnswerStatus = AnswerStatus.RESULT):
    """Return the asker over a tape of answers, its model and what it tells."""
    rows = np.zeros(REQUESTS, ROW)
    rows["kind"], rows["i0"], rows["i4"] = Kind.SIGNAL, np.arange(REQUESTS), status
    rows["f1"], rows["f2"], rows["f3"] = 0.25, 0.25, 0.5
    tape = SimpleNamespace(segments=[SimpleNamespace(rows=rows)])
    slots = np.zeros(1, SLOT)
    slots["hold_at"], slots["buy_at"] = 1, 2
    y, told = np.zeros((1, 3), np.float32), []
    model = Model(y)
    again = AskedAgain(tape, slots, [model], [y], told.append)  # type: ignore[arg-type]
    return again, model, rows, told


def ask_all(again: AskedAgain) -> None:
    for request in range(REQUESTS):
        again(0, request, np.zeros((1, 3), np.float32))


def test_one_request_in_so_many_is_made_again():
    again, model, _, told = world()
    ask_all(again)
    assert model.runs == again.compared == REQUESTS // EVERY
    assert (again.different, told) == (0, [])


def test_what_differs_in_a_bit_is_told():
    again, model, _, told = world()
    model.run = lambda: model.y.__setitem__(0, (0.25, 0.25, np.nextafter(np.float32(0.5), 1)))
    ask_all(again)
    assert again.different == again.compared == REQUESTS // EVERY
    assert len(told) == 1
    assert "request 0" in told[0]


def test_a_model_that_raises_now_differs_and_the_replay_goes_on():
    again, model, _, told = world()
    model.broken = True
    ask_all(again)
    assert again.different == REQUESTS // EVERY
    assert "RuntimeError" in told[0]


def test_requests_that_came_to_nothing_are_not_made_again():
    again, model, _, _ = world(AnswerStatus.TIMED_OUT)
    ask_all(again)
    assert model.runs == again.compared == 0
