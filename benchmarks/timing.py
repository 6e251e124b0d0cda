"""Timing that holds on a shared machine: rounds in which every case takes its turn, and ratios.

A case is a function that does its work once and returns how many units (rows, calls, events) it
did. Per unit we keep CPU time of the process (threads included), which a busy neighbour disturbs
least, and wall time. Absolute figures of a shared machine mean little; the ratio of two cases of
one run does.
"""

import gc
import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

Case = Callable[[], int]


class Timing(NamedTuple):
    """What one case took per unit, in nanoseconds."""

    cpu_min: float
    cpu_median: float
    wall_min: float
    wall_median: float

    @property
    def per_s(self) -> float:
        """Units a second at the smallest CPU time."""
        return 1e9 / self.cpu_min


def measure(cases: Mapping[str, Case], *, rounds: int = 7, warm: int = 1) -> dict[str, Timing]:
    """Time cases in turns.

    Args:
        cases: by name; each call does the same work.
        rounds: how often each case has its turn.
        warm: turns before that, not counted.
    Returns:
        Timing by name.
    """
    for _ in range(warm):
        for case in cases.values():
            case()
    cpu: dict[str, list[float]] = {name: [] for name in cases}
    wall: dict[str, list[float]] = {name: [] for name in cases}
    gc.collect()
    for _ in range(rounds):
        for name, case in cases.items():
            wall_from, cpu_from = time.perf_counter_ns(), time.process_time_ns()
            units = case()
            cpu[name].append((time.process_time_ns() - cpu_from) / units)
            wall[name].append((time.perf_counter_ns() - wall_from) / units)
    return {
        name: Timing(
            min(cpu[name]),
            statistics.median(cpu[name]),
            min(wall[name]),
            statistics.median(wall[name]),
        )
        for name in cases
    }


def repeated(call: Callable[[], Any], count: int) -> Case:
    """Make a case of `count` calls of a function without arguments."""

    def case() -> int:
        for _ in range(count):
            call()
        return count

    return case


def entry_point(compiled: Any) -> Callable[..., Any]:
    """Return the C entry of an eagerly compiled numba function: integers in and out."""
    (overload,) = compiled.overloads.values()
    entry: Callable[..., Any] = overload.entry_point
    return entry
