"""`make bench-peers`: the live path beside NautilusTrader's live node, on the same ticks and model.

Ours is timed from a message's bytes until its order is journalled and handed to the adapter; theirs
from a tick object that was made beforehand until the order reaches the execution client. So theirs
is spared decoding and journal. Both run without network, in turns, one process each.
"""

import sys
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.peer_venvs import NAUTILUS_2, Peer
from benchmarks.peers import TOLERANCE, run_json

TURNS, STRETCH = 5, 10_000  # of ours; their sum is what the peer gets
RATES = (0, 5_000)
FIGURES = ("p50", "p99")


def peer_run(peer: Peer, rate: int) -> dict[str, Any]:
    """Run the peer's node once."""
    words = ["--rate", str(rate), "--n", str(TURNS * STRETCH)]
    return run_json([str(peer.python), "benchmarks/nautilus_live.py", *words])


def our_run(rate: int) -> dict[str, Any]:
    """Run our session once; the best of its turns."""
    words = ["--rate", str(rate), "--turns", str(TURNS), "--stretch", str(STRETCH)]
    found = run_json([sys.executable, "-m", "benchmarks.live_turns", *words])
    best = {
        f"{name}_us": min(turn[at] for turn in found["ours"]) for at, name in enumerate(FIGURES)
    }
    return {**found, **best}


def run_live(peer: Peer, rounds: int) -> list[str]:
    """Run both and print the table; return what is wrong with the work that was done."""
    if peer is not NAUTILUS_2:
        print(f"live: the script is for {NAUTILUS_2.version} of {peer.name}; left out")
        return []
    table = Table(title=f"live: tick -> order, {peer.name} {peer.version} and this engine")
    for heading in ("pacing", "who", "p50 us", "p99 us", "ratio p50"):
        table.add_column(heading, justify="left" if heading in ("pacing", "who") else "right")
    wrong: list[str] = []
    for rate in RATES:
        pacing = f"{rate:,} a second" if rate else "one by one"
        print(f"{peer.name} {peer.version}: live, {pacing}", file=sys.stderr, flush=True)
        theirs: list[dict[str, Any]] = []
        mine: list[dict[str, Any]] = []
        for _ in range(rounds):
            theirs.append(peer_run(peer, rate))
            mine.append(our_run(rate))
            pair = theirs[-1], mine[-1]
            if abs(pair[0]["checksum"] - pair[1]["checksum"]) > TOLERANCE:
                wrong.append(f"live, {pacing}: checksums {[one['checksum'] for one in pair]}")
            if pair[0]["orders"] != pair[1]["orders"]:
                wrong.append(f"live, {pacing}: orders {[one['orders'] for one in pair]}")
        best = [[min(run[f"{f}_us"] for run in runs) for f in FIGURES] for runs in (theirs, mine)]
        shown = [[f"{value:,.1f}" for value in line] for line in best]
        table.add_row(pacing, f"{peer.name} {peer.version}", *shown[0], "1")
        table.add_row("", "ours", *shown[1], f"{best[0][0] / best[1][0]:.1f}")
    Console(width=110).print(table)
    return wrong
