"""The watch of a session: a process that reads its tape and audit as they grow, and says what it
sees.

    python -m app.watch_worker RUN

Started by the session (app/live_watch.py), at the lowest priority. One line of JSON for each look
at each model; it ends when its standard input is closed, which a dying session does too.
"""

import os
import select
import sys
from pathlib import Path

import msgspec

from app.watching import Look, Records, Watching, settings_of_run
from engine.errors import TickgateError
from engine.tape_follow import TapeFollower
from engine.tape_info import read_info

NICE = 19


class Line(msgspec.Struct, frozen=True, omit_defaults=True):
    """What the worker says: a look, or why it ends."""

    look: Look | None = None
    failed: str = ""


def asked_to_end(within_s: float) -> bool:
    """Wait; True as soon as standard input is closed."""
    ready, _, _ = select.select([sys.stdin], [], [], within_s)
    return bool(ready) and not os.read(sys.stdin.fileno(), 1)


def say(line: Line) -> None:
    """Write one line."""
    sys.stdout.buffer.write(msgspec.json.encode(line) + b"\n")
    sys.stdout.buffer.flush()


def watch(run: Path) -> None:
    """Look at the run's models each period until the session ends."""
    settings = settings_of_run(run)
    follower, records = TapeFollower(run / "tape"), Records(run)
    watching = Watching(run, settings, read_info(run / "tape").instruments, False)
    while not asked_to_end(settings.watch.period_s):
        while len(rows := follower.read()):
            watching.take_rows(rows, follower.cursor - len(rows))
        for block in records.new():
            watching.take_records(block)
        for look in watching.look():
            say(Line(look))
    watching.close()


def main(argv: list[str]) -> int:
    """Watch one run."""
    os.nice(NICE)
    try:
        watch(Path(argv[0]))
    except TickgateError as error:
        say(Line(failed=str(error)))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
