"""Measures anonymous memory over long replays: it must not grow with the tape."""

import argparse
import json
import sys

from benchmarks import ours, tapes
from benchmarks.bars import Figure
from benchmarks.peers import run_json
from benchmarks.proc_memory import rss_anon_mib
from engine.tape import Tape

SHORT, LONG = 1_000_000, 20_000_000
SLACK_MIB = 8.0  # allocator noise between two processes


def memory(_rounds: int) -> list[Figure]:
    """Replay one and twenty million events in processes of their own; compare their memory."""
    command = [sys.executable, "-m", "benchmarks.measure_memory", "--rows"]
    short, long = (run_json([*command, str(n)]) for n in (SHORT, LONG))
    grown = long["rss_anon_mib"] - short["rss_anon_mib"]
    note = (
        f"{short['rss_anon_mib']:.1f} MiB after 1 M, {long['rss_anon_mib']:.1f} after 20 M events; "
        f"{long['blocks']:,} Python blocks a million rows"
    )
    return [Figure("RssAnon, 20 M less 1 M events", grown, 0.0, grown, SLACK_MIB, "MiB", note)]


def main() -> int:
    """Replay `--rows` events and print the memory at the end and after a million rows."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=SHORT)
    given = parser.parse_args()
    folder = tapes.long_tape(given.rows)
    tapes_rows = Tape.open(folder).info.rows
    marks: list[tuple[int, float, int]] = []

    def mark(done: int, _total: int, _now: int) -> None:
        if not marks or done - marks[-1][0] >= 1_000_000:
            marks.append((done, rss_anon_mib(), sys.getallocatedblocks()))

    found = ours.replay_once("model", folder, 1024, progress=mark)
    steps = max(1, len(marks) - 1)
    print(
        json.dumps(
            {
                "rows": tapes_rows,
                "rss_anon_mib": found["rss_anon_mib"],
                "blocks": (marks[-1][2] - marks[0][2]) // steps if marks else 0,
                "digest": found["digest"],
            }
        )
    )
    return 0


ALL = (memory,)

if __name__ == "__main__":
    sys.exit(main())
