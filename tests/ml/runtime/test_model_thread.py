"""A model on its thread: every request ends once, the newest wins, nothing hangs or spreads."""

import os
import select
import sys
import threading
import time
from collections import Counter

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.events import AnswerStatus
from ml import registry
from ml.runtime.model_thread import Answer, ModelThread
from ml.runtime.session import OrtModel
from ml.runtime.switching import SWITCH_INTERVAL_S
from tests.ml.conftest import toy_spec
from tests.ml.faulty_models import looping
from tests.ml.heavy_models import failing, register, stalling, wide

LONG_NS = 60_000_000_000
WITHIN_S = 30.0
RESULT, SUPERSEDED = AnswerStatus.RESULT, AnswerStatus.SUPERSEDED
TIMED_OUT, FAILED, CLOSED = AnswerStatus.TIMED_OUT, AnswerStatus.FAILED, AnswerStatus.CLOSED


class Gate:
    """A model that answers each row with twice its numbers, when it is let."""

    def __init__(self) -> None:
        self.x = np.zeros((1, 3), np.float32)
        self.y = np.zeros((1, 3), np.float32)
        self.began = threading.Semaphore(0)
        self.may_end = threading.Semaphore(0)
        self.deaf = False  # takes no notice of terminate
        self.cores: set[int] = set()
        self.runs = 0
        self._ended = False

    def run(self) -> None:
        self.runs += 1
        self.cores = os.sched_getaffinity(0)
        self.began.release()
        assert self.may_end.acquire(timeout=WITHIN_S)
        if self._ended:
            raise RuntimeError("terminated")
        self.y[:] = 2 * self.x

    def terminate(self) -> None:
        if not self.deaf:
            self._ended = True
            self.may_end.release()

    def renew(self) -> None:
        self._ended = False


class Ends:
    """Collects how requests ended."""

    def __init__(self, thread: ModelThread) -> None:
        self.thread = thread
        self.all: list[Answer] = []

    def until(self, count: int) -> list[Answer]:
        """Wait until so many requests have ended in all."""
        ends = time.monotonic() + WITHIN_S
        while len(self.all) < count:
            assert time.monotonic() < ends, f"{len(self.all)} of {count} requests have ended"
            select.select([self.thread.ready_fd], [], [], 0.02)
            self.thread.heard()
            self.thread.end_overdue()
            self.more()
        return self.all

    def more(self) -> None:
        """Take what is there."""
        self.all += [msgspec.structs.replace(a, y=a.y.copy()) for a in self.thread.take()]


def row(number: float, columns: int = 3) -> np.ndarray:
    return np.full((1, columns), number, np.float32)


def ask(thread: ModelThread, place: int, request: int, x: np.ndarray) -> None:
    """Put a row where the thread reads it, and ask."""
    np.frombuffer(thread._given[place], np.float32)[:] = x[0]
    thread.ask(place, request)


def gated(places: int = 2, **words) -> tuple[ModelThread, Gate, Ends]:
    gate = Gate()
    inputs = [np.zeros((1, 3), np.float32) for _ in range(places)]
    thread = ModelThread("gated", gate, inputs, deadline_ns=LONG_NS, **words)
    thread.start()
    return thread, gate, Ends(thread)


def test_the_newest_row_wins_and_every_request_ends_once():
    thread, gate, ends = gated()
    ask(thread, 0, 1, row(1))
    assert gate.began.acquire(timeout=WITHIN_S)
    for request in (2, 3, 4):
        ask(thread, 0, request, row(request))
        ends.more()
    ask(thread, 1, 5, row(5))  # another place waits for itself
    gate.may_end.release(3)
    found = {end.request: end for end in ends.until(5)}
    assert {r: e.status for r, e in found.items()} == {
        1: RESULT, 2: SUPERSEDED, 3: SUPERSEDED, 4: RESULT, 5: RESULT
    }  # fmt: skip
    assert gate.runs == 3
    for request in (1, 4, 5):
        assert found[request].y.tolist() == [2 * request] * 3
    assert np.isnan(found[2].y).all()
    assert found[5].place == 1
    assert thread.close()
    assert thread.counts == [3, 2, 0, 0, 0]


@pytest.mark.parametrize("deaf", [False, True])
def test_closing_ends_everything_and_waits_no_longer_than_it_may(deaf):
    thread, gate, ends = gated()
    gate.deaf = deaf
    ask(thread, 0, 1, row(1))
    assert gate.began.acquire(timeout=WITHIN_S)
    ask(thread, 0, 2, row(2))
    ask(thread, 1, 3, row(3))
    assert thread.close(0.05 if deaf else WITHIN_S) is not deaf
    ends.more()
    assert Counter(end.status for end in ends.all) == {CLOSED: 3}
    ask(thread, 0, 4, row(4))
    ends.more()
    assert [end.status for end in ends.all[3:]] == [CLOSED]
    gate.may_end.release(2)
    thread._thread.join(WITHIN_S)
    ends.more()
    assert len(ends.all) == 4, "what ends after it was given up says nothing more"


def test_it_runs_where_it_is_put_and_the_rest_stays():
    before = os.sched_getaffinity(0)
    core = max(before)
    thread, gate, ends = gated(cores=(core,))
    gate.may_end.release()
    ask(thread, 0, 1, row(1))
    ends.until(1)
    assert gate.cores == {core}
    assert os.sched_getaffinity(0) == before
    assert thread.close()


def test_a_thread_that_cannot_run_fails_its_requests_and_nothing_else():
    thread, _, ends = gated(cores=(4095,))
    ask(thread, 0, 1, row(1))
    ask(thread, 1, 2, row(2))
    ends.until(2)
    ask(thread, 1, 3, row(3))
    ends.until(3)
    assert {end.status for end in ends.all} == {FAILED}
    assert "OSError" in thread.failure
    assert thread.close()


def test_the_interpreter_switches_faster_only_while_a_thread_lives():
    before = sys.getswitchinterval()
    first, second = gated()[0], gated()[0]
    assert sys.getswitchinterval() == pytest.approx(SWITCH_INTERVAL_S)
    first.close()
    assert sys.getswitchinterval() == pytest.approx(SWITCH_INTERVAL_S)
    second.close()
    assert sys.getswitchinterval() == pytest.approx(before)
    assert first.close(), "closing again does nothing"


@settings(max_examples=25, deadline=None)
@given(st.lists(st.sampled_from(["ask 0", "ask 1", "ask 2", "let", "take"]), max_size=40))
def test_whatever_comes_every_request_ends_exactly_once(steps):
    thread, gate, ends = gated(places=3)
    asked: list[int] = []
    for step in steps:
        if step == "let":
            gate.may_end.release()
        elif step == "take":
            ends.more()
        else:
            ends.more()  # as a session does before each wake
            asked.append(len(asked))
            ask(thread, int(step[-1]), asked[-1], row(asked[-1]))
    gate.may_end.release(len(steps) + 1)
    assert thread.close(WITHIN_S)
    ends.more()
    assert sorted(end.request for end in ends.all) == asked
    for end in ends.all:
        assert (end.status == RESULT) == bool(np.isfinite(end.y).all())
        assert end.status != RESULT or end.y[0] == 2 * end.request
    newest = {end.place: end.request for end in sorted(ends.all, key=lambda e: e.request)}
    assert all(e.status != SUPERSEDED or e.request != newest[e.place] for e in ends.all)


@pytest.fixture(scope="module")
def artifacts(tmp_path_factory):
    root = tmp_path_factory.mktemp("heavy") / "artifacts"
    for name, data in (("Wide", wide(4)), ("Stalls", stalling(4)), ("Fails", failing(4))):
        register(root, name, data, toy_spec(), placement="thread")
    return root


def served(artifacts, name: str, deadline_ns: int) -> tuple[ModelThread, Ends, np.ndarray]:
    """Start the thread of a registered model; return a row that it answers, too."""
    loaded = registry.load(artifacts, name, "1")
    x = np.zeros((1, 4), np.float32)
    thread = ModelThread(name, loaded.open(), [x], deadline_ns=deadline_ns)
    thread.start()
    return thread, Ends(thread), np.abs(loaded.golden.x[:1])


def test_it_answers_as_the_model_does_in_the_hot_path(artifacts):
    thread, ends, good = served(artifacts, "Wide", LONG_NS)
    model = registry.load(artifacts, "Wide", "1").open()
    for request in range(5):
        x = good * (1 + request)
        ask(thread, 0, request, x)
        ends.until(request + 1)
        model.x[:] = x
        model.run()
        assert ends.all[-1].y.tobytes() == model.y[0].tobytes()
    assert thread.close()


def test_fault_M10_what_stalls_is_ended_at_its_deadline_and_the_next_row_is_answered(artifacts):
    thread, ends, good = served(artifacts, "Stalls", 100_000_000)
    for request in range(0, 4, 2):
        ask(thread, 0, request, -good)
        ends.until(request + 1)
        ask(thread, 0, request + 1, good)
        ends.until(request + 2)
    assert [end.status for end in ends.all] == [TIMED_OUT, RESULT] * 2
    ask(thread, 0, 4, -good)
    assert thread.close(WITHIN_S), "it ends at the next node, long before the row is done"
    ends.more()
    assert ends.all[-1].status == CLOSED


def test_fault_M11_what_the_runtime_cannot_carry_out_costs_that_request_only(artifacts):
    thread, ends, good = served(artifacts, "Fails", LONG_NS)
    for request, x in enumerate((good, -good, good)):
        ask(thread, 0, request, x)
        ends.until(request + 1)
    assert [end.status for end in ends.all] == [RESULT, FAILED, RESULT]
    assert "out of data bounds" in ends.all[1].error
    assert thread.close()


def test_fault_M10_a_loop_without_an_end_is_ended_at_its_deadline_and_the_next_row_is_answered():
    x, y = np.ones((1, 4), np.float32), np.zeros((1, 3), np.float32)
    endless = OrtModel(looping(4), x=x, y=y)  # no scan lets it come so far
    place = np.zeros((1, 4), np.float32)
    thread = ModelThread("endless", endless, [place], deadline_ns=30_000_000)
    thread.start()
    ends = Ends(thread)
    for request, number in enumerate((-1.0, 1.0, -1.0, 1.0)):
        ask(thread, 0, request, row(number, 4))
        ends.until(request + 1)
    assert [end.status for end in ends.all] == [TIMED_OUT, RESULT] * 2
    ask(thread, 0, 4, row(-1.0, 4))
    assert thread.close(WITHIN_S)
