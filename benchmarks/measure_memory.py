"""Measures anonymous memory over long replays: it must not grow with the tape."""

import argparse
import json
import sys

from numba.core.runtime import _nrt_python, rtsys

from benchmarks import ours, tapes
from benchmarks.bars import Figure
from benchmarks.peers import run_json
from benchmarks.proc_memory import rss_anon_mib

SHORT, LONG = 1_000_000, 20_000_000
SLACK_MIB = 8.0  # allocator noise between two processes
BLOCKS_BAR = 1000.0


def memory(_rounds: int) -> list[Figure]:
    """Replay one and twenty million events in processes of their own; compare their memory."""
    command = [sys.executable, "-m", "benchmarks.measure_memory", "--rows"]
    for n in (SHORT, LONG):
        run_json([*command, str(n), "--make"])
    run_json([*command, str(SHORT)])  # compiles, so that the next two only load
    short, long = (run_json([*command, str(n)]) for n in (SHORT, LONG))
    grown = long["rss_anon_mib"] - short["rss_anon_mib"]
    inside = long["rss_anon_mib"] - long["rss_anon_early_mib"]
    note = (
        f"{short['rss_anon_mib']:.1f} MiB after 1 M, {long['rss_anon_mib']:.1f} after 20 M events, "
        f"{inside:+.1f} MiB since its second million"
    )
    return [
        Figure("RssAnon, 20 M less 1 M events", grown, 0.0, grown, SLACK_MIB, "MiB", note),
        Figure(
            "Python blocks a million rows of replay",
            float(long["blocks"]),
            0.0,
            float(long["blocks"]),
            BLOCKS_BAR,
            "",
            "bounded curves for the report are in it; nothing a tick",
        ),
        Figure(
            "NRT allocations of a replay after its second million",
            float(long["nrt"]),
            0.0,
            float(long["nrt"]),
            0.0,
            "",
            f"features, decisions, audit: {long['rows'] - 2_000_000:,} rows",
        ),
    ]


def main() -> int:
    """Replay `--rows` events and print the memory at the end and at the second million."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=SHORT)
    parser.add_argument("--make", action="store_true", help="make the tape and stop")
    given = parser.parse_args()
    folder = tapes.long_tape(given.rows)
    if given.make:
        print("{}")
        return 0
    marks: list[tuple[int, float, int, int]] = []
    _nrt_python.memsys_enable_stats()

    def mark(done: int, _total: int, _now: int) -> None:
        if not marks or done - marks[-1][0] >= 1_000_000:
            nrt = rtsys.get_allocation_stats().alloc
            marks.append((done, rss_anon_mib(), sys.getallocatedblocks(), nrt))

    found = ours.replay_once("model", folder, 1024, progress=mark)
    early = marks[min(1, len(marks) - 1)]
    millions = max(1, (marks[-1][0] - early[0]) // 1_000_000)
    print(
        json.dumps(
            {
                "rows": found["events"],
                "rss_anon_mib": found["rss_anon_mib"],
                "rss_anon_early_mib": early[1],
                "nrt": marks[-1][3] - early[3],
                "blocks": max(0, marks[-1][2] - early[2]) // millions,
                "digest": found["digest"],
            }
        )
    )
    return 0


ALL = (memory,)

if __name__ == "__main__":
    sys.exit(main())
