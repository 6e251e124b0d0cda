"""`lab.py data record`: compact a run's tape, also while it is written, into a data folder."""

import argparse
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from engine.errors import DataError, UsageError

POLL_S = 0.2  # between two looks at a tape on which nothing is new
BATCH_ROWS = 65_536
CLOSED = "the tape is closed and complete here"
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(s|m|h)")
DESCRIPTION = """\
Write trades, quotes, depth and bars of a run's tape as Parquet files of a data
folder. A tape that is still written is followed until it is closed, its writer
is gone, or --duration is over. The same command goes on where it was stopped.
"""


def add_record_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Register `record` below `data`."""
    parser = subparsers.add_parser(
        "record", help="a run's tape into a data folder", description=DESCRIPTION
    )
    parser.add_argument("tape", type=Path, metavar="RUN|TAPE", help="run folder or tape")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="the data folder")
    parser.add_argument("--duration", metavar="T", help="follow so long at most: 30s, 10m, 2h")
    parser.set_defaults(run=main_record)


def main_record(args: argparse.Namespace) -> int:
    """Record and say what is there now.

    Raises:
        UsageError: an option cannot be used.
        DataError: no tape, or the folder belongs to something else.
    """
    from app.data import progress_bar
    from engine.tape_info import is_tape

    folder = args.tape if is_tape(args.tape) else args.tape / "tape"
    if not is_tape(folder):
        raise DataError(f"{args.tape}: neither a tape nor a run with one")
    limit_s = parse_duration(args.duration) if args.duration is not None else None
    with progress_bar() as progress:
        recording, how = record(folder, args.out, limit_s, progress)
    counts = [f"{count:,} {name}" for name, count in recording.counts.items() if count]
    print(
        f"{args.out}: {', '.join(counts) or 'nothing new'} written; {recording.state.rows:,} rows"
    )
    print(f"  of the tape are recorded; {how}")
    return 0


def parse_duration(text: str) -> float:
    """Return seconds.

    Raises:
        UsageError: not a duration.
    Example:
        >>> parse_duration("1.5m")
        90.0
    """
    found = _DURATION.fullmatch(text)
    if found is None:
        raise UsageError(f"--duration {text}: write a number and s, m or h, such as 90s")
    return float(found[1]) * {"s": 1, "m": 60, "h": 3600}[found[2]]


def record(
    folder: Path, out: Path, limit_s: float | None, progress: Callable[[str, int, int], None]
) -> tuple[Any, str]:
    """Follow a tape into a data folder; return (the recording, why it ended)."""
    from engine.tape_follow import TapeFollower
    from engine.tape_info import read_info
    from store.record import Recording, claimed

    deadline = None if limit_s is None else time.monotonic() + limit_s
    follower = TapeFollower(folder)
    with claimed(out):
        recording = Recording(out, read_info(folder).instruments)
        try:
            how = _follow(follower, recording, deadline, progress)
        except BaseException:
            if recording.state.mark:
                recording.flush(closed=False)
            raise
        if recording.state.mark:
            recording.flush(closed=how == CLOSED)
    return recording, how


def _follow(
    follower: Any, recording: Any, deadline: float | None, progress: Callable[[str, int, int], None]
) -> str:
    """Hand over rows until there will be no more; return why."""
    from engine.tape_follow import is_being_written
    from engine.tape_info import read_info

    start = recording.next_row
    while True:
        closed = read_info(follower.folder).closed
        living = closed or is_being_written(follower.folder)
        before = follower.cursor
        rows = follower.read(min(BATCH_ROWS, start - before) if before < start else BATCH_ROWS)
        if len(rows):
            if before == 0:
                recording.check_first(rows[:1])
            if before >= start:
                recording.add(rows)
            progress("recording", follower.cursor, follower.cursor)
        elif closed:
            return _complete(follower, start)
        elif not living and not read_info(follower.folder).closed:
            return "its writer ended without closing the tape (lab.py data repair TAPE)"
        over = deadline is not None and time.monotonic() >= deadline
        if over and (before >= start or not len(rows)):
            return "stopped by --duration; the same command goes on"
        if not len(rows):
            time.sleep(POLL_S)


def _complete(follower: Any, start: int) -> str:
    """Compare what was read with what the closed tape says of itself.

    Raises:
        DataError: rows are missing.
    """
    from engine.tape_info import read_info

    rows = read_info(follower.folder).rows
    if follower.cursor != rows or rows < start:
        raise DataError(f"{follower.folder}: torn, {follower.cursor} of {rows} rows are there")
    return CLOSED
