"""A load through the feed's intake onto a live tape of its own, as often as a benchmark asks."""

import shutil
import tempfile
from pathlib import Path

from benchmarks import tapes
from benchmarks.live_session import Load
from engine.book_sync import FIRST_TO_LAST
from engine.live_tape import LiveTape
from venues.intake import Intake
from venues.lines import IntakeLimits


class LiveTapeCase:
    """Takes the whole load once a call; its ids begin anew with each.

    Args:
        load: of benchmarks/live_session.py.
    """

    def __init__(self, load: Load) -> None:
        self._load = load
        self._folder = Path(tempfile.mkdtemp(prefix="tickgate-bench-"))
        instruments = tapes.tick_instruments()
        self._tape = LiveTape(self._folder / "tape", instruments)
        self._intake = Intake(
            self._tape,
            range(len(instruments)),
            FIRST_TO_LAST,
            IntakeLimits(),
            on_event=lambda code, fields: None,
            wants=lambda want, line: None,
        )

    def __call__(self) -> int:
        """Take every message."""
        take = self._intake.take
        self._intake.connected(self._load[0][2])
        for message, _, ts in self._load:
            take(message, ts)
        self._tape.cursor = self._tape.rows
        return len(self._load)

    def __enter__(self) -> "LiveTapeCase":
        return self

    def __exit__(self, *_: object) -> None:
        self._tape.abandon()
        shutil.rmtree(self._folder, ignore_errors=True)
