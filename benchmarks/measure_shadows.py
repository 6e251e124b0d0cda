"""Measures what four shadows cost production: CPU time per event, with and without.

The load is that of the live path: clustered ticks at a mean of 5,000 a second of market time.
Production is asked each 10th tick, row by row, and orders after each answer; the shadows are asked
four times a second, as tick models are in the default settings; their rows wait and are evaluated
together. What shadows cost that are asked as often as production stands beside it.
"""

import statistics

from benchmarks import ours, tapes
from benchmarks.artifacts import artifacts
from benchmarks.bars import Figure
from engine.errors import RunError

TICKS, RATE = 200_000, 5_000.0
CADENCES = {"none": "", "250 ms": "every:250ms", "each 10th": "every_n:10"}
BAR = 1.05
TURNS_A_ROUND = 6  # a replay is short, and 5 % are little beside what a shared machine does to it


def shadows(rounds: int) -> list[Figure]:
    """Measure replays in turns; their digests must be one.

    Raises:
        RunError: a shadow has changed what production decided.
    """
    artifacts()
    folder = tapes.paced_tape(TICKS, RATE)
    times: dict[str, list[float]] = {name: [] for name in CADENCES}
    digests = set()
    for k in range(rounds * TURNS_A_ROUND + 1):
        for name, cadence in CADENCES.items():
            found = ours.replay_once("force", folder, 1, shadows=cadence)
            digests.add(found["digest"])
            if k:  # the first turn compiles and warms up
                times[name].append(found["cpu_s"] / found["events"] * 1e9)
    if len(digests) != 1:
        raise RunError(f"four shadows have changed the decision digest: {sorted(digests)}")
    best = {name: min(values) for name, values in times.items()}
    halves = {name: statistics.median(values) for name, values in times.items()}
    note = (
        f"the same run without; medians {halves['250 ms']:,.0f} and {halves['none']:,.0f} ns; "
        f"asked each 10th tick as production is: ratio {best['each 10th'] / best['none']:.2f}"
    )
    ratio = best["250 ms"] / best["none"]
    name = f"{ours.SHADOWS} shadows asked each 250 ms at 5,000 ticks a second, CPU per event"
    return [Figure(name, best["250 ms"], best["none"], ratio, BAR, "ns", note)]


ALL = (shadows,)
