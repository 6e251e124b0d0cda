"""Measures the live path beside its floor: from a message's bytes to an order handed over."""

import statistics
import sys
from typing import Any

from benchmarks import peer_models
from benchmarks.artifacts import artifacts
from benchmarks.bars import Figure
from benchmarks.peers import run_json
from engine.errors import RunError

RATE = 5_000
TURNS_BEHIND = 1  # the first turn of a run warms up
STRETCH = {0: 10_000, RATE: 5_000}
P50_BAR, P99_BAR = 1.6, 2.0
TOLERANCE = 1e-3
AT = {"p50": 0, "p99": 1}


def turns(rate: int, rounds: int, policy: str) -> dict[str, Any]:
    """Run floor and engine in turns in a process of their own.

    Raises:
        RunError: they did not do the same work.
    """
    command = [sys.executable, "-m", "benchmarks.live_turns", "--rate", str(rate)]
    command += ["--turns", str(rounds + TURNS_BEHIND), "--stretch", str(STRETCH[rate])]
    found = run_json([*command, "--policy", policy])
    same = abs(found["checksum"] - found["floor_checksum"]) < TOLERANCE
    orders = found["orders"] == found["fills"] == found["floor_orders"]
    if not same or not orders or found["blocked"]:
        raise RunError(f"live path: floor and engine did not do the same work: {found}")
    return found


def best(found: dict[str, Any], who: str, which: str) -> float:
    """Return the smallest figure of all turns, us."""
    return float(min(turn[AT[which]] for turn in found[who]))


def middle(found: dict[str, Any], who: str, which: str) -> float:
    """Return the median of all turns, us."""
    return float(statistics.median(turn[AT[which]] for turn in found[who]))


def live(rounds: int) -> list[Figure]:
    """Measure back to back and at 5,000 clustered ticks a second; the rest stands in the notes."""
    peer_models.make_all()
    artifacts()
    rounds = max(rounds, 5) * 2
    hot, paced = turns(0, rounds, "written"), turns(RATE, rounds, "written")
    synced = turns(RATE, 2, "synced")
    beside = (
        "from there to the exchange library's call, at 5,000 a second: adapter "
        f"{middle(paced, 'adapter', 'p50'):.0f} us p50, under `synced` "
        f"{middle(synced, 'adapter', 'p50'):,.0f} us"
    )
    figures = []
    for name, found in (("back to back", hot), ("5,000 a second", paced)):
        for which, bar in (("p50", P50_BAR), ("p99", P99_BAR)):
            ours, floor = best(found, "ours", which), best(found, "floor", which)
            medians = middle(found, "ours", which), middle(found, "floor", which)
            note = (
                f"medians of the turns {medians[0]:.1f} and {medians[1]:.1f} us, "
                f"ratio {medians[0] / medians[1]:.2f}"
            )
            if which == "p50" and found is hot:
                note = f"{note}; {beside}"
            title = f"live, bytes -> journalled order, {name}, {which}"
            figures.append(Figure(title, ours, floor, ours / floor, bar, "us", note))
    return figures


ALL = (live,)
