"""One thread for one model that is too slow for the hot path: pinned, latest-wins, with a deadline.

The loop's thread asks; this one answers. Each `ask` ends in exactly one entry of the ring that
`take` empties: a result, superseded, timed out, failed or closed. Nothing is allocated or queued
beyond one waiting row for each place (an instrument), so that a slow model can fall behind only by
dropping what has been overtaken. Both directions are an eventfd; the state is a few words behind a
lock that is held for well under a microsecond.
"""

import os
import sys
import threading
import time
from collections.abc import Sequence
from typing import NamedTuple, Protocol

import numpy as np

from engine.events import AnswerStatus
from engine.limits import ASKED_PLACES

RESULT, SUPERSEDED = AnswerStatus.RESULT, AnswerStatus.SUPERSEDED
TIMED_OUT, FAILED, CLOSED = AnswerStatus.TIMED_OUT, AnswerStatus.FAILED, AnswerStatus.CLOSED
SWITCH_INTERVAL_S = 5e-5  # how long one thread may keep another waiting for the interpreter
NOTHING = -1
_switch_lock = threading.Lock()
_switch_kept: list[float] = []  # the interval before the first of the threads that run now


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


class Answer(NamedTuple):
    """How one request ended; `y` is a view that is valid until the next `take`."""

    place: int
    request: int
    status: AnswerStatus
    asked_ns: int  # perf_counter
    y: np.ndarray  # float32[C]; NaN but for a RESULT
    error: str  # of FAILED


class ModelThread:
    """Runs a model for a number of places; see above.

    Args:
        name: shown by tools that list threads.
        model: nobody else may run it while the thread lives.
        places: how many rows may wait, one each.
        deadline_ns: a run that takes longer is ended by `end_overdue`.
        cores: where the thread may run; empty leaves it where it is.

    Attributes:
        ready_fd: readable when `take` has something; -1 before `start` and after `close`.
        counts: ended requests by AnswerStatus.
        failure: why the thread has ended by itself, "" while it has not.
    """

    def __init__(
        self,
        name: str,
        model: Runnable,
        places: int,
        *,
        deadline_ns: int,
        cores: Sequence[int] = (),
    ) -> None:
        assert places > 0
        assert deadline_ns > 0
        self.name = name
        self.deadline_ns = deadline_ns
        self.failure = ""
        self.counts = [0] * len(AnswerStatus)
        self._model = model
        self._cores = tuple(cores)
        width, columns = model.x.shape[1], model.y.shape[1]
        self._x = np.zeros((places, width), np.float32)
        self._waiting = [NOTHING] * places  # request of each place
        self._asked = [0] * places
        self._turns = [0] * places  # ring of the places that wait, the oldest first
        self._turn_from = self._turn_count = 0
        self._running, self._running_place = NOTHING, 0
        self._running_asked = self._started = 0
        self._ended_early = False
        self._room = places * ASKED_PLACES + 2
        self._done_y = [np.full((self._room, columns), np.nan, np.float32) for _ in range(2)]
        self._done: list[list[Answer]] = [[], []]  # filled, and being read
        self._closing = False
        self._lock = threading.Lock()
        self._go_fd = self.ready_fd = -1
        self._thread = threading.Thread(target=self._main, name=name, daemon=True)
        self._open = False

    def start(self) -> None:
        """Begin to serve."""
        self._go_fd = os.eventfd(0, os.EFD_CLOEXEC)
        self.ready_fd = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        _shorten_switch_interval()
        self._open = True
        self._thread.start()

    def ask(self, place: int, request: int, x: np.ndarray) -> None:
        """Let a row wait for the model; one of the same place that still waits is superseded.

        Args:
            place: 0 <= place < places.
            request: a number that comes back with the answer.
            x: float32[1, F], copied.
        """
        asked = time.perf_counter_ns()
        with self._lock:
            assert len(self._done[0]) <= 3 * len(self._waiting), "nobody takes the answers"
            if self._closing or self.failure:
                status = CLOSED if self._closing else FAILED
                self._end(place, request, status, asked, self.failure)
                return
            before = self._waiting[place]
            if before != NOTHING:
                self._end(place, before, SUPERSEDED, self._asked[place])
            else:
                at = (self._turn_from + self._turn_count) % len(self._turns)
                self._turns[at] = place
                self._turn_count += 1
            self._x[place] = x[0]
            self._waiting[place] = request
            self._asked[place] = asked
        os.eventfd_write(self._go_fd, 1)

    def take(self) -> list[Answer]:
        """Return what has ended since the last call, oldest first; its arrays live until the next.

        Called by the thread that asks, or after `close`.
        """
        with self._lock:
            taken = self._done[0]
            if not taken:
                return taken
            self._done.reverse()
            self._done_y.reverse()
            self._done[0].clear()
            if self.ready_fd >= 0:
                os.eventfd_read(self.ready_fd)
        return taken

    def end_overdue(self) -> int:
        """End the run that goes on if its deadline is over.

        Returns:
            ns until the run that goes on now is overdue; 0 when there is none.
        """
        with self._lock:
            if self._running == NOTHING and self._turn_count == 0:
                return 0
            if self._running == NOTHING or self._ended_early:
                return self.deadline_ns
            left = self._started + self.deadline_ns - time.perf_counter_ns()
            if left > 0:
                return left
            self._ended_early = True
            self._model.terminate()
            return self.deadline_ns

    def stop(self) -> None:
        """Let what waits end as closed and what runs end soon; `close` waits for it."""
        with self._lock:
            if self._closing or not self._open:
                return
            self._closing = True
            self._end_waiting(CLOSED)
            if self._running != NOTHING and not self._ended_early:
                self._ended_early = True
                self._model.terminate()
        os.eventfd_write(self._go_fd, 1)

    def close(self, within_s: float | None = None) -> bool:
        """End the thread; what it still runs after `within_s` (the deadline) is left to itself.

        Returns:
            True when the thread is over.
        """
        if not self._open:
            return True
        self.stop()
        self._thread.join(self.deadline_ns / 1e9 if within_s is None else within_s)
        with self._lock:
            if self._running != NOTHING:
                self._end(self._running_place, self._running, CLOSED, self._running_asked)
                self._running = NOTHING
        ended = not self._thread.is_alive()
        if ended:
            os.close(self._go_fd)
        os.close(self.ready_fd)
        self.ready_fd = -1
        self._open = False
        _restore_switch_interval()
        return ended

    def _end(
        self, place: int, request: int, status: AnswerStatus, asked: int, error: str = ""
    ) -> None:
        """Enter an end into the ring; the lock is held."""
        done = self._done[0]
        y = self._done_y[0][len(done) % len(self._done_y[0])]
        y[:] = self._model.y[0] if status == RESULT else np.nan
        done.append(Answer(place, request, status, asked, y, error))
        self.counts[status] += 1
        if self.ready_fd >= 0:
            os.eventfd_write(self.ready_fd, 1)

    def _end_waiting(self, status: AnswerStatus) -> None:
        """End all that waits; the lock is held."""
        while self._turn_count:
            place = self._next_turn()
            self._end(place, self._waiting[place], status, self._asked[place], self.failure)
            self._waiting[place] = NOTHING

    def _next_turn(self) -> int:
        place = self._turns[self._turn_from]
        self._turn_from = (self._turn_from + 1) % len(self._turns)
        self._turn_count -= 1
        return place

    def _main(self) -> None:
        """Serve until closed; what goes wrong here fails all that waits, and nothing else."""
        try:
            if self._cores:
                os.sched_setaffinity(0, self._cores)  # of this thread alone
            while not self._closing:
                os.eventfd_read(self._go_fd)
                while self._begin():
                    self._finish(self._run())
        except Exception as error:
            with self._lock:
                self.failure = f"{type(error).__name__}: {error}"
                if self._running != NOTHING:
                    place, request = self._running_place, self._running
                    self._end(place, request, FAILED, self._running_asked, self.failure)
                    self._running = NOTHING
                self._end_waiting(FAILED)

    def _begin(self) -> bool:
        """Take the oldest waiting row into the model's input; False when there is none."""
        with self._lock:
            if self._closing or self._turn_count == 0:
                return False
            place = self._next_turn()
            self._running, self._waiting[place] = self._waiting[place], NOTHING
            self._running_place = place
            self._running_asked = self._asked[place]
            self._model.x[0] = self._x[place]
            self._started = time.perf_counter_ns()
            return True

    def _run(self) -> str:
        try:
            self._model.run()
        except Exception as error:
            return f"{type(error).__name__}: {str(error)[:200]}"
        return ""

    def _finish(self, error: str) -> None:
        """Enter how the run ended."""
        with self._lock:
            early, self._ended_early = self._ended_early, False
            if self._running != NOTHING:  # else it was given up while it ran
                status = FAILED if error else RESULT
                if early:
                    status = CLOSED if self._closing else TIMED_OUT
                place, request = self._running_place, self._running
                self._end(place, request, status, self._running_asked, error)
                self._running = NOTHING
        if early:
            self._model.renew()


def _shorten_switch_interval() -> None:
    with _switch_lock:
        _switch_kept.append(sys.getswitchinterval())
        sys.setswitchinterval(SWITCH_INTERVAL_S)


def _restore_switch_interval() -> None:
    """Put the interval back that was before the first thread, once the last has ended."""
    with _switch_lock:
        before = _switch_kept.pop()
        if not _switch_kept:
            sys.setswitchinterval(before)
