"""One thread for one model that is too slow for the hot path: pinned, latest-wins, with a deadline.

The loop's thread asks; this one answers. Each `ask` ends in exactly one entry of the ring that
`take` empties: a result, superseded, timed out, failed or closed. Nothing is allocated or queued
beyond one waiting row for each place (an instrument), so that a slow model can fall behind only by
dropping what has been overtaken. Both directions are an eventfd; the state is a few words behind a
lock that is held for well under a microsecond.
"""

import os
import threading
from collections import deque
from collections.abc import Sequence
from os import eventfd_read, eventfd_write
from time import perf_counter_ns
from typing import Protocol

import msgspec
import numpy as np

from engine.events import AnswerStatus
from engine.limits import ASKED_PLACES
from ml.runtime import switching

RESULT, SUPERSEDED, TIMED_OUT, FAILED, CLOSED = (int(status) for status in AnswerStatus)
NOTHING = -1


class Runnable(Protocol):
    """A model over arrays of its own that another thread can end. Given by ml/runtime/session."""

    x: np.ndarray  # float32[1, F]
    y: np.ndarray  # float32[1, C]

    def run(self) -> object:
        """Evaluate x into y."""

    def terminate(self) -> None:
        """Let the run that goes on raise soon; called by another thread."""

    def renew(self) -> None:
        """Make runs possible again after `terminate`."""


class Answer(msgspec.Struct, gc=False):
    """How one request ended; `y` is a view that is valid until the next `take`."""

    place: int
    request: int
    status: int  # AnswerStatus
    asked_ns: int  # perf_counter
    y: np.ndarray  # float32[C]; NaN but for a RESULT
    error: str  # of FAILED


class ModelThread:
    """Runs a model for a number of places; see above.

    Args:
        name: shown by tools that list threads.
        model: nobody else may run it while the thread lives.
        inputs: of each place (an instrument), float32[1, F]; read by `ask`. They may be one array.
        deadline_ns: a run that takes longer is ended by `end_overdue`.
        cores: where the thread may run; empty leaves it where it is.

    Attributes:
        ready_fd: readable when `take` has something, until `heard`; -1 when there is no thread.
        counts: ended requests by AnswerStatus.
        failure: why the thread has ended by itself, "" while it has not.
    """

    def __init__(
        self,
        name: str,
        model: Runnable,
        inputs: Sequence[np.ndarray],
        *,
        deadline_ns: int,
        cores: Sequence[int] = (),
    ) -> None:
        assert inputs
        assert deadline_ns > 0
        self.name = name
        self.deadline_ns = deadline_ns
        self.failure = ""
        self.counts = [0] * len(AnswerStatus)
        self._model = model
        self._cores = tuple(cores)
        places = len(inputs)
        self._given = [_bytes_of(x) for x in inputs]
        self._kept = [_bytes_of(np.zeros_like(x)) for x in inputs]
        self._model_x, self._model_y = _bytes_of(model.x), _bytes_of(model.y)
        assert all(len(given) == len(self._model_x) for given in self._given)
        self._waiting = [NOTHING] * places  # request of each place
        self._asked = [0] * places
        self._turns: deque[int] = deque(maxlen=places)  # which wait, the oldest first
        self._running, self._running_place = NOTHING, 0
        self._running_asked = self._started = 0
        self._ended_early = False
        ends = range(places * ASKED_PLACES + 2)
        self._ys = [[np.zeros_like(model.y[0]) for _ in ends] for _ in range(2)]  # as `_done`
        self._y_bytes = [[_bytes_of(y) for y in ys] for ys in self._ys]
        self._no_y = np.full_like(model.y[0], np.nan)
        self._done: list[list[Answer]] = [[], []]  # filled, and being read
        self._most = 3 * places  # ends that may stand there when somebody asks
        self._closing = False
        self._lock = threading.Lock()
        self._go_fd = self._ready_fd = self.ready_fd = -1
        self._thread = threading.Thread(target=self._main, name=name, daemon=True)
        self._open = False

    def start(self) -> None:
        """Begin to serve."""
        self._go_fd = os.eventfd(0, os.EFD_CLOEXEC)
        self._ready_fd = self.ready_fd = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        switching.shorten()
        self._open = True
        self._thread.start()

    def ask(self, place: int, request: int) -> None:
        """Let a place's input wait for the model; what still waits of that place is superseded.

        Args:
            place: 0 <= place < places.
            request: a number that comes back with the answer.
        """
        asked = perf_counter_ns()
        with self._lock:
            assert len(self._done[0]) <= self._most, "nobody takes the answers"
            if self._closing or self.failure:
                status = CLOSED if self._closing else FAILED
                self._end(place, request, status, asked, self.failure)
                self._signal()
                return
            before = self._waiting[place]
            if before != NOTHING:
                self._end(place, before, SUPERSEDED, self._asked[place])
                self._signal()
            else:
                self._turns.append(place)
            self._kept[place][:] = self._given[place]
            self._waiting[place] = request
            self._asked[place] = asked
        eventfd_write(self._go_fd, 1)

    def take(self) -> list[Answer]:
        """Return what has ended since the last call, oldest first; its arrays live until the next.

        Called by the thread that asks. Costs next to nothing where there is nothing.
        """
        taken = self._done[0]
        if taken:
            with self._lock:
                self._done.reverse()
                self._ys.reverse()
                self._y_bytes.reverse()
                self._done[0].clear()
        return taken

    def heard(self) -> None:
        """Let `ready_fd` be readable no more until something else has ended."""
        try:
            eventfd_read(self.ready_fd)
        except BlockingIOError:
            return

    def end_overdue(self) -> int:
        """End the run that goes on if its deadline is over.

        Returns:
            ns until the run that goes on now is overdue; 0 when there is none.
        """
        with self._lock:
            if self._running == NOTHING and not self._turns:
                return 0
            if self._running == NOTHING or self._ended_early:
                return self.deadline_ns
            left = self._started + self.deadline_ns - perf_counter_ns()
            if left > 0:
                return left
            self._ended_early = True
            self._model.terminate()
            return self.deadline_ns

    def stop(self) -> None:
        """End all requests as closed, now; what runs is told to end, `close` waits for it."""
        with self._lock:
            if self._closing or not self._open:
                return
            self._closing = True
            self._end_waiting(CLOSED)
            if self._running != NOTHING:
                self._end(self._running_place, self._running, CLOSED, self._running_asked)
                self._running = NOTHING
                self._ended_early = True
                self._model.terminate()
            self._signal()
        eventfd_write(self._go_fd, 1)

    def close(self, within_s: float | None = None) -> bool:
        """End the thread; what it still runs after `within_s` (the deadline) is left to itself.

        Returns:
            True when the thread is over.
        """
        if not self._open:
            return True
        self.stop()
        self._thread.join(self.deadline_ns / 1e9 if within_s is None else within_s)
        ended = not self._thread.is_alive()
        if ended:  # else it will still write into one of them
            os.close(self._go_fd)
            os.close(self.ready_fd)
        self.ready_fd = -1
        self._open = False
        switching.restore()
        return ended

    def _end(self, place: int, request: int, status: int, asked: int, error: str = "") -> None:
        """Enter an end into the ring; the lock is held."""
        done = self._done[0]
        y = self._no_y
        if status == RESULT:
            at = len(done)
            self._y_bytes[0][at][:] = self._model_y
            y = self._ys[0][at]
        done.append(Answer(place, request, status, asked, y, error))
        self.counts[status] += 1

    def _signal(self) -> None:
        """Make `ready_fd` readable."""
        if self._open:
            eventfd_write(self._ready_fd, 1)

    def _end_waiting(self, status: int) -> None:
        """End all that waits; the lock is held."""
        while self._turns:
            place = self._turns.popleft()
            self._end(place, self._waiting[place], status, self._asked[place], self.failure)
            self._waiting[place] = NOTHING

    def _main(self) -> None:
        """Serve until closed; what goes wrong here fails all that waits, and nothing else."""
        try:
            if self._cores:
                os.sched_setaffinity(0, self._cores)  # of this thread alone
            self._serve()
        except Exception as error:
            with self._lock:
                self.failure = f"{type(error).__name__}: {error}"
                if self._running != NOTHING:
                    place, request = self._running_place, self._running
                    self._end(place, request, FAILED, self._running_asked, self.failure)
                    self._running = NOTHING
                self._end_waiting(FAILED)
            self._signal()

    def _serve(self) -> None:
        model, go_fd = self._model, self._go_fd
        while not self._closing:
            eventfd_read(go_fd)
            with self._lock:
                more = self._begin()
            while more:
                error = ""
                try:
                    model.run()
                except Exception as raised:
                    error = f"{type(raised).__name__}: {str(raised)[:200]}"
                more = self._finish(error)

    def _begin(self) -> bool:
        """Take the oldest waiting row into the model's input, if there is one; the lock is held."""
        if self._closing or not self._turns:
            return False
        place = self._turns.popleft()
        self._running, self._waiting[place] = self._waiting[place], NOTHING
        self._running_place = place
        self._running_asked = self._asked[place]
        self._model_x[:] = self._kept[place]
        self._started = perf_counter_ns()
        return True

    def _finish(self, error: str) -> bool:
        """Enter how the run ended, and begin with the next; False when there is none.

        The signal comes last: whoever waits for it wants the interpreter that we hold.
        """
        with self._lock:
            early = self._ended_early
            if self._running != NOTHING:  # else `stop` has given it up
                status = FAILED if error else RESULT
                if early:
                    status = TIMED_OUT
                place, request = self._running_place, self._running
                self._end(place, request, status, self._running_asked, error)
                self._running = NOTHING
            if early:
                self._ended_early = False
                self._model.renew()
            more = len(self._turns) > 0 and self._begin()
        eventfd_write(self._ready_fd, 1)
        return more


def _bytes_of(x: np.ndarray) -> memoryview:
    """View an array as bytes: copies of those take half the time of NumPy's."""
    assert x.dtype == np.float32
    assert x.flags.c_contiguous
    return memoryview(x).cast("B")
