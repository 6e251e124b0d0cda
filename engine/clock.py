"""The one clock of a live run: wall time at the start plus what the monotonic clock has run since.

A step of the wall clock (an hour back, a leap second) can then neither reorder nor expire anything.
It is made once, in the shell, and given to all that stamps.
"""

import time
from collections.abc import Callable
from typing import Protocol


class Clock(Protocol):
    """Tells the time. Given by SystemClock; tests give their own."""

    @property
    def now_ns(self) -> Callable[[], int]:
        """A function that returns ns since the epoch, UTC, never less than before: the stamp."""

    @property
    def monotonic_ns(self) -> Callable[[], int]:
        """A function that returns ns of the monotonic clock: for ages and deadlines only."""


class SystemClock:
    """The machine's clock. `now_ns` and `monotonic_ns` are functions: a call costs about 100 ns."""

    def __init__(
        self,
        wall_ns: Callable[[], int] = time.time_ns,
        monotonic_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        """Read the wall clock for the first and last time."""
        base = wall_ns() - monotonic_ns()
        self.monotonic_ns = monotonic_ns
        self.now_ns: Callable[[], int] = lambda: base + monotonic_ns()
