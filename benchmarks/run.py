"""`make bench`: the speed bars, each beside its floor of the same run, and the committed baseline.

Every line compares two things that were measured in turns in this process or in processes started
by it: CPU time per unit (the live path: wall time), the smallest of several turns. Only ratios say
something about the code; docs/benchmarks.md says how each is measured and what the bars rest on.
"""

import argparse
import json
import os
import platform
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

from rich.console import Console
from rich.table import Table

from benchmarks import (
    measure_flood,
    measure_lateness,
    measure_live,
    measure_market,
    measure_instances,
    measure_memory,
    measure_parts,
    measure_replay,
    measure_shadows,
    measure_start,
    measure_threads,
    peer_models,
)
from benchmarks.bars import Figure
from engine.errors import TickgateError

BASELINE = Path(__file__).resolve().parent / "baseline.json"
GROUPS: dict[str, tuple[Callable[[int], list[Figure]], ...]] = {
    "parts": (*measure_parts.ALL, *measure_market.ALL),
    "replay": (*measure_replay.ALL, *measure_shadows.ALL),
    "live": measure_live.ALL + measure_start.ALL,
    "flood": measure_flood.ALL,
    "memory": (*measure_memory.ALL, *measure_instances.ALL),
    "threads": measure_threads.ALL + measure_lateness.ALL,
}
WORSE = 1.25  # a ratio this much worse than the baseline's is pointed out


def baseline() -> dict[str, float]:
    """Return the committed ratios by name; empty when there are none."""
    if not BASELINE.exists():
        return {}
    found: dict[str, float] = json.loads(BASELINE.read_text(encoding="utf-8"))["ratios"]
    return found


def against(figure: Figure, known: dict[str, float]) -> str:
    """Compare a ratio with the baseline's: `=`, or how much better or worse it is."""
    was = known.get(figure.name)
    if was is None or was <= 0.0 or figure.ratio <= 0.0:
        return ""
    better = figure.ratio / was if figure.at_least else was / figure.ratio
    if better < 1.0 / WORSE:
        return f"worse {1.0 / better:.2f}x"
    return f"better {better:.2f}x" if better > WORSE else "="


def show(figures: Sequence[Figure], known: dict[str, float]) -> None:
    """Print the table."""
    table = Table(title=f"{platform.machine()}, {os.cpu_count()} CPUs, smallest of turns")
    table.add_column("what", overflow="fold")
    for name in ("ours", "floor or peer", "ratio", "bar", "baseline"):
        table.add_column(name, justify="right")
    for figure in figures:
        beside = f"{figure.floor:,.1f} {figure.unit}" if figure.floor else ""
        table.add_row(
            figure.name,
            f"{figure.ours:,.2f} {figure.unit}",
            beside,
            f"{figure.ratio:.2f}",
            figure.verdict,
            against(figure, known),
        )
    console = Console(width=118 if not sys.stdout.isatty() else None)
    console.print(table)
    for figure in figures:
        if figure.note:
            console.print(f"  {figure.name}: {figure.note}", highlight=False)


def collect(groups: Sequence[str], rounds: int) -> list[Figure]:
    """Measure the chosen groups, one after the other."""
    figures: list[Figure] = []
    for group in groups:
        for measure in GROUPS[group]:
            started = time.perf_counter()
            print(f"measuring {group}: {measure.__name__}", file=sys.stderr, flush=True)
            figures += measure(rounds)
            took = time.perf_counter() - started
            print(f"  {took:.0f} s", file=sys.stderr, flush=True)
    return figures


def write_baseline(figures: Sequence[Figure]) -> None:
    """Write the ratios of this run over the baseline's, keeping those not measured now."""
    ratios = baseline() | {figure.name: round(figure.ratio, 4) for figure in figures}
    about = {
        "machine": platform.machine(),
        "cpus": os.cpu_count(),
        "python": platform.python_version(),
    }
    content: dict[str, Any] = {"about": about, "ratios": dict(sorted(ratios.items()))}
    temporary = BASELINE.with_suffix(".part")
    temporary.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    temporary.replace(BASELINE)


def main(given: list[str] | None = None) -> int:
    """Parse the command line, measure, print; exit 1 when a bar is missed and --strict is given."""
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--only", choices=sorted(GROUPS), action="append", help="a group alone")
    parser.add_argument("--rounds", type=int, default=5, help="turns of each case (default 5)")
    parser.add_argument("--strict", action="store_true", help="exit 1 when a bar is missed")
    parser.add_argument("--write-baseline", action="store_true", help="keep this run's ratios")
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    arguments = parser.parse_args(given)
    try:
        peer_models.make_all()
        figures = collect(arguments.only or list(GROUPS), arguments.rounds)
    except TickgateError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    show(figures, baseline())
    missed = [figure.name for figure in figures if not figure.passed]
    print(f"{len(figures) - len(missed)} of {len(figures)} bars met")
    if arguments.json:
        lines = [{**vars(figure), "passed": figure.passed} for figure in figures]
        arguments.json.write_text(json.dumps(lines, indent=2) + "\n", encoding="utf-8")
    if arguments.write_baseline:
        write_baseline(figures)
    return 1 if missed and arguments.strict else 0


if __name__ == "__main__":
    sys.exit(main())
