"""`make bench-peers`: the same generated work in NautilusTrader, in hftbacktest and in our engine.

Installs the peers into environments of their own under .venvs/, then runs each case in turns, one
process each, so that a busy machine hurts all alike. Every run must give the known checksums; then
the table shows events a second and the ratio ours / peer of this one run. Nothing is downloaded but
the packages; the runs use no network.
"""

import argparse
import json
import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks import peer_models
from benchmarks.peer_venvs import HFTBACKTEST, NAUTILUS_1, NAUTILUS_2, Peer, install, nautilus
from engine.errors import RunError, TickgateError

RUN_TIMEOUT_S = 900
REPEATS = "3"  # runs in one process, of the peers and of ours; the fastest counts
TICKS, DEPTH_ROWS = 200_000, 2_000_000
PROBABILITIES = 9644.21634182334  # sum over the inferences on 200,000 ticks
IMBALANCES = -88.76240929888445  # sum of the second feature over each tenth tick
DEPTH_SUM = 8014.46664039623  # of four features over all wake-ups but the last
TOLERANCE = 1e-3  # ours sums float32 rows, the peers float64
FORCED, BANDED = 20_000, 410


@dataclass
class Case:
    """One kind of work: how a peer does it, how we do it, and what both must find."""

    title: str
    peer: list[str]  # arguments of the peer's script
    ours: dict[str, list[str]]  # label -> arguments of benchmarks.ours
    expected: dict[str, float] = field(default_factory=dict)
    bars: dict[str, float] = field(default_factory=dict)  # label -> least ratio


TICK_CASES = (
    Case("no work", ["--mode", "noop"], {"engine": ["--mode", "noop"]}),
    Case(
        "ten features",
        ["--mode", "features"],
        {"engine": ["--mode", "features"]},
        {"checksum": IMBALANCES},
    ),
    Case(
        "+ MLP each 10th event",
        ["--mode", "model"],
        {
            "row by row": ["--mode", "model", "--batch", "1"],
            "batch ahead": ["--mode", "model", "--batch", "1024"],
        },
        {"checksum": PROBABILITIES},
        {"row by row": 12.0, "batch ahead": 30.0},
    ),
    Case(
        "+ order outside the band",
        ["--mode", "trade"],
        {"row by row": ["--mode", "trade", "--batch", "1"]},
        {"checksum": PROBABILITIES, "orders": BANDED},
    ),
    Case(
        "+ order after each inference",
        ["--mode", "force"],
        {"row by row": ["--mode", "force", "--batch", "1"]},
        {"checksum": PROBABILITIES, "orders": FORCED},
        {"row by row": 15.0},
    ),
)
DEPTH_CASES = (
    Case(
        "depth, no work, vector book",
        ["--mode", "trivial", "--book", "vector"],
        {"engine": ["--mode", "depth-noop"]},
    ),
    Case(
        "depth, 12 features, vector book",
        ["--mode", "features", "--book", "vector"],
        {"engine": ["--mode", "depth"]},
        {"checksum": DEPTH_SUM},
        {"engine": 2.0},
    ),
    Case(
        "depth, 12 features, hash-map book",
        ["--mode", "features", "--book", "hashmap"],
        {"engine": ["--mode", "depth"]},
        {"checksum": DEPTH_SUM},
    ),
)


def run_json(command: list[str]) -> dict[str, Any]:
    """Run a program that prints one JSON object last.

    Raises:
        RunError: it failed, took too long or printed something else.
    """
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=RUN_TIMEOUT_S,
            check=False,
            env=environment,
        )
    except subprocess.TimeoutExpired:
        raise RunError(f"{' '.join(command)}: took more than {RUN_TIMEOUT_S} s") from None
    lines = done.stdout.strip().splitlines()
    if done.returncode or not lines:
        said = (done.stderr.strip() or done.stdout.strip() or "no message").splitlines()[-1]
        raise RunError(f"{' '.join(command)}: exit {done.returncode}: {said[:300]}")
    found: dict[str, Any] = json.loads(lines[-1])
    return found


def peer_command(peer: Peer, arguments: list[str]) -> list[str]:
    """Return the command that runs a peer's script in its environment."""
    script = "peers_nautilus.py" if peer.name == "nautilus" else "peers_hftbacktest.py"
    return [str(peer.python), str(Path("benchmarks") / script), *arguments, "--repeats", REPEATS]


def ours_command(arguments: list[str]) -> list[str]:
    """Return the command that runs our engine on the same work."""
    return [sys.executable, "-m", "benchmarks.ours", *arguments, "--repeats", REPEATS]


def check_result(case: Case, who: str, found: dict[str, Any]) -> str:
    """Compare a run's checksums with the known ones; return what is wrong, or nothing."""
    for name, value in case.expected.items():
        if abs(found[name] - value) > TOLERANCE:
            return f"{who}: {name} is {found[name]}, expected {value}"
    return ""


def run_case(case: Case, peer: Peer, rounds: int) -> tuple[dict[str, dict[str, Any]], list[str]]:
    """Run peer and engine in turns; return the fastest run of each by CPU time, and complaints."""
    commands = {"peer": peer_command(peer, case.peer)}
    commands |= {label: ours_command(given) for label, given in case.ours.items()}
    best: dict[str, dict[str, Any]] = {}
    wrong: list[str] = []
    for _ in range(rounds):
        for who, command in commands.items():
            found = run_json(command)
            if complaint := check_result(case, who, found):
                wrong.append(f"{case.title}: {complaint}")
            known = best.get(who)
            if known is None or found["cpu_us_per_event"] < known["cpu_us_per_event"]:
                best[who] = found
    return best, wrong


def show(peer: Peer, results: list[tuple[Case, dict[str, dict[str, Any]]]]) -> list[str]:
    """Print one peer's table; return the bars that were missed."""
    table = Table(title=f"{peer.name} {peer.version} and this engine, one run, one machine")
    for heading in ("work", "who", "events/s", "ns an event (CPU)", "ratio", "bar"):
        table.add_column(heading, justify="left" if heading in ("work", "who") else "right")
    missed = []
    for case, best in results:
        base = best["peer"]["cpu_us_per_event"]
        for who, found in best.items():
            mine = found["cpu_us_per_event"]
            bar = case.bars.get(who)
            ratio = base / mine
            verdict = "" if bar is None else f">= {bar:g} {'PASS' if ratio >= bar else 'MISS'}"
            if bar is not None and ratio < bar:
                missed.append(f"{case.title}, {who}: {ratio:.1f} x, bar {bar:g} x")
            table.add_row(
                case.title if who == "peer" else "",
                f"{found['peer']} {found['version']}" if who == "peer" else f"ours, {who}",
                f"{1e6 / mine:,.0f}",
                f"{mine * 1e3:,.1f}",
                "1" if who == "peer" else f"{ratio:.1f}",
                verdict,
            )
    Console(width=110).print(table)
    return missed


def run(peers: list[Peer], rounds: int) -> int:
    """Install and run the peers; return the number of failures of checksums."""
    missed: list[str] = []
    wrong: list[str] = []
    for peer in peers:
        install(peer)
        cases = DEPTH_CASES if peer is HFTBACKTEST else TICK_CASES
        results = []
        for case in cases:
            print(f"{peer.name} {peer.version}: {case.title}", file=sys.stderr, flush=True)
            best, complaints = run_case(case, peer, rounds)
            results.append((case, best))
            wrong += complaints
        missed += show(peer, results)
        if peer.name == "nautilus":
            wrong += live(peer, rounds)
    for line in missed:
        print(f"MISS {line}")
    for line in wrong:
        print(f"WRONG {line}")
    return len(wrong)


def live(peer: Peer, rounds: int) -> list[str]:
    """Run the live path of a peer and of ours; return what is wrong."""
    from benchmarks.peers_live import run_live

    return run_live(peer, rounds)


def main(given: list[str] | None = None) -> int:
    """Parse the command line and run."""
    parser = argparse.ArgumentParser(prog="make bench-peers", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3, help="turns of each case (default 3)")
    parser.add_argument("--only", choices=("nautilus", "hftbacktest"), help="one peer alone")
    parser.add_argument("--nautilus", choices=("1", "2"), help="version line instead of the newest")
    arguments = parser.parse_args(given)
    chosen = {"1": NAUTILUS_1, "2": NAUTILUS_2, None: nautilus()}[arguments.nautilus]
    peers = [p for p in (chosen, HFTBACKTEST) if arguments.only in (None, p.name)]
    try:
        peer_models.make_all()
        return 1 if run(peers, arguments.rounds) else 0
    except TickgateError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
