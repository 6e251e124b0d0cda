"""Measures how late market data is processed while a transformer is asked, or a model is loaded.

One paper session in a process of its own, fed over a websocket at a fixed rate by another one
(benchmarks/lateness_session.py). The three kinds of stretches take turns in it; the floor is the
stretch in which neither happens.
"""

import statistics
import sys
from typing import Any

from benchmarks import peer_models
from benchmarks.bars import Figure
from benchmarks.peers import run_json
from engine.errors import RunError

TURNS_A_ROUND = 3
BAR = 2.0
P50, P99 = 0, 1
TITLES = {
    "transformer": "market data lateness p99, a transformer asked on its thread",
    "loading": "market data lateness p99, while a 10 MB model loads and is swapped in",
}


def figure(found: dict[str, Any], kind: str, note: str) -> Figure:
    """Compare the smallest p99 of a kind's stretches with that of the idle ones."""
    mine, idle = found["ours"][kind], found["ours"]["idle"]
    best, floor = (min(turn[P99] for turn in turns) for turns in (mine, idle))
    halves = [
        statistics.median(turn[at] for turn in turns) for at in (P50, P99) for turns in (mine, idle)
    ]
    sender = min(turn[P99] for turn in found["sender"][kind])
    said = (
        f"medians of the turns: p50 {halves[0]:.0f} and {halves[1]:.0f} us, p99 {halves[2]:,.0f} "
        f"and {halves[3]:,.0f} us; the sender itself was {sender:,.0f} us late at p99; {note}"
    )
    return Figure(TITLES[kind], best, floor, best / floor, BAR, "us", said)


def lateness(rounds: int) -> list[Figure]:
    """Measure both beside the idle stretches of the same session.

    Raises:
        RunError: no transformer answered, or no model was loaded.
    """
    peer_models.make_all()
    command = [sys.executable, "-m", "benchmarks.lateness_session"]
    found = run_json([*command, "--turns", str(rounds * TURNS_A_ROUND)])
    answers, loads = found["transformer"]["answers"], found["load_ms"]
    if not answers.get("RESULT") or not loads or found["refused"]:
        raise RunError(f"lateness: the models did not do their work: {found}")
    answered = found["stages"]["inference_thread"]["p50"] / 1e3
    memory = found["anon_mib"]
    whole = [turn[P99] for turn in found["ours"]["pauses"]]
    notes = {
        "transformer": f"{answers['RESULT']:,} answers, {answered:.1f} ms each at p50",
        "loading": (
            f"{len(loads)} loads and swaps, {statistics.median(loads):.0f} ms each; with the "
            f"pauses, in which versions are freed, p99 {min(whole):,.0f} us; anonymous memory "
            f"{memory[1]:.0f} MiB after the first stretch, {memory[-1]:.0f} at the end"
        ),
    }
    return [figure(found, kind, note) for kind, note in notes.items()]


ALL = (lateness,)
