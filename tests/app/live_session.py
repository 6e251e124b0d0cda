"""A session of real parts that a test moves on row by row, as the feed of a live run would."""

from pathlib import Path

import msgspec

from app.outcome import Timing, summarise
from app.parts import Parts
from app.sources import open_tape
from app.wire import build, plan
from config.load import load_settings
from engine.audit import AuditWriter
from engine.feed_health import FeedHealth, FeedState, InstrumentHealth
from engine.kernel.layout import WORD
from engine.run_files import Summary
from engine.tape import Tape
from tests.app.replay_cli import ROOT, SAMPLE

CURSOR = WORD["cursor"]


class Session:
    """The sample market through the whole pipeline, without batches ahead, as a live run has it.

    Attributes:
        parts: the session's parts.
        health: counters of a feed that delivered the rows so far.
        clock_ns: the monotonic time; a test moves it.
    """

    def __init__(self, folder: Path, paths=(SAMPLE,), **changes) -> None:
        settings = load_settings(None, {"artifacts_dir": str(ROOT / "artifacts")})
        engine = msgspec.structs.replace(settings.engine, batch_rows=1)
        settings = msgspec.structs.replace(settings, engine=engine, **changes)
        cache = folder / "tapes"
        self.folder = folder
        self.tape = Tape.open(open_tape(list(paths), assumed=settings.assumed, cache_dir=cache))
        self.parts: Parts = plan(settings, self.tape.instruments, ())
        (folder / "run").mkdir(parents=True)
        self.audit = AuditWriter(folder / "run", lambda _: "")
        build(self.parts, self.audit, self.tape.info.wakes == "implied")
        self.health = FeedHealth(
            instruments=[InstrumentHealth(symbol=one.symbol) for one in self.tape.instruments]
        )
        self.clock_ns = 5_000_000_000

    def monotonic_ns(self) -> int:
        """Return the time that the test has set."""
        return self.clock_ns

    def connect(self) -> None:
        """Let the feed be connected and its instruments live."""
        self.health.connected = True
        self.health.connects += 1
        for one in self.health.instruments:
            one.state = FeedState.LIVE

    def advance(self, rows: int) -> int:
        """Apply up to so many rows more; return how many there were."""
        words, before = self.parts.state.words, self.parts.state.words[CURSOR]
        for segment in self.tape.segments:
            stop = min(segment.stop_row, before + rows)
            if words[CURSOR] >= stop:
                continue
            self.parts.window = (segment.address, segment.first_row, segment.stop_row)
            self.parts.pipeline.drain(segment.address, segment.first_row, segment.stop_row, stop)
        came = words[CURSOR] - before
        self.health.messages += came
        for one in self.health.instruments:
            one.messages += came
            one.last_ns = self.clock_ns
        return came

    def summary(self) -> Summary:
        """Return what the end of the run says of the session."""
        timing = Timing("paper", "done", 1.0, "", "", 0)
        return summarise(self.parts, self.folder / "run", timing, self.tape.info)
