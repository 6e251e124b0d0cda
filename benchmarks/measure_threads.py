"""Measures the hand-off to a model's thread: a question there, an answer back, nothing computed.

Floor: a bare thread on the same core that reads one eventfd and writes another. Both sides of both
wait the same way (a read there, poll and read here), in turns, so that the ratio is our own work:
the copy of the row, the lock, the ring of answers.
"""

import os
import select
import sys
import threading
import time
from collections.abc import Callable
from functools import partial

import numpy as np

from benchmarks.bars import Figure
from ml.runtime.model_thread import ModelThread
from ml.runtime.switching import SWITCH_INTERVAL_S

TRIPS = 2_000
FEATURES, COLUMNS = 28, 3
BAR = 1.5
DEADLINE_NS = 10_000_000_000


class NoModel:
    """A model that answers at once, always the same."""

    def __init__(self) -> None:
        self.x = np.zeros((1, FEATURES), np.float32)
        self.y = np.full((1, COLUMNS), 1.0 / COLUMNS, np.float32)

    def run(self) -> None:
        """Do nothing."""

    def terminate(self) -> None:
        """Do nothing: no run takes time."""

    def renew(self) -> None:
        """Do nothing."""


class BareThread:
    """The floor: one eventfd there, one back."""

    def __init__(self, core: int) -> None:
        self._core, self._closing = core, False
        self._go_fd, self.ready_fd = os.eventfd(0), os.eventfd(0)
        self._thread = threading.Thread(target=self._main, daemon=True)
        self._thread.start()

    def _main(self) -> None:
        os.sched_setaffinity(0, (self._core,))
        while True:
            os.eventfd_read(self._go_fd)
            if self._closing:
                return
            os.eventfd_write(self.ready_fd, 1)

    def ask(self) -> None:
        """Wake the thread."""
        os.eventfd_write(self._go_fd, 1)

    def heard(self) -> None:
        """Read what woke us."""
        os.eventfd_read(self.ready_fd)

    def take(self) -> None:
        """There is nothing to take."""

    def close(self) -> None:
        """End the thread."""
        self._closing = True
        self.ask()
        self._thread.join()
        os.close(self._go_fd)
        os.close(self.ready_fd)


def trips(
    ask: Callable[[], object],
    heard: Callable[[], object],
    take: Callable[[], object],
    fd: int,
) -> np.ndarray:
    """Time round trips one after the other, in ns."""
    poller = select.poll()
    poller.register(fd, select.POLLIN)
    poll, clock = poller.poll, time.perf_counter_ns
    taken = np.zeros(TRIPS, np.int64)
    for at in range(TRIPS):
        started = clock()
        ask()
        poll()
        heard()
        take()
        taken[at] = clock() - started
    return taken


def hand_off(rounds: int) -> list[Figure]:
    """Measure the median hand-off beside the floor's, in turns."""
    core = max(os.sched_getaffinity(0))
    x = np.zeros((1, FEATURES), np.float32)
    ours = ModelThread("hand-off", NoModel(), [x], deadline_ns=DEADLINE_NS, cores=(core,))
    ours.start()
    bare = BareThread(core)
    assert sys.getswitchinterval() <= 2 * SWITCH_INTERVAL_S, "both run under the same interval"
    found: dict[str, list[np.ndarray]] = {"ours": [], "floor": []}
    ask = partial(ours.ask, 0, 1)
    try:
        for _ in range(rounds + 1):
            found["ours"].append(trips(ask, ours.heard, ours.take, ours.ready_fd))
            found["floor"].append(trips(bare.ask, bare.heard, bare.take, bare.ready_fd))
    finally:
        ours.close()
        bare.close()
    halves = {name: [np.median(one) / 1e3 for one in all_[1:]] for name, all_ in found.items()}
    mine, floor = (float(np.median(halves[name])) for name in ("ours", "floor"))
    tail = float(np.percentile(np.concatenate(found["ours"][1:]), 99)) / 1e3
    floor_tail = float(np.percentile(np.concatenate(found["floor"][1:]), 99)) / 1e3
    note = f"floor: two eventfds and a bare thread; p99 {tail:.1f} us beside {floor_tail:.1f} us"
    name = "hand-off to a model's thread and back, p50"
    return [Figure(name, mine, floor, mine / floor, BAR, "us", note)]


ALL = (hand_off,)
