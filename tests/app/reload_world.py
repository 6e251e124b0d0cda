"""A session without an exchange: a live tape that a test fills from the sample market.

The parts are those of app/live.py; what comes over the wire there comes from a converted tape here,
a WAKE row behind each burst. What it leaves is a run folder that replays.
"""

import asyncio
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

import app.loader
from app.demotion import Demotions
from app.inference import Inference
from app.live_record import answered_by
from app.reload import Reloads
from app.replay import Replay, replay
from app.serving import Serving
from app.session import Asked, close_run, name_tape, open_run
from app.sources import open_tape
from app.strikes import Strikes
from app.wire import build, plan
from config.load import load_settings
from config.settings import ReloadSettings
from engine.audit import AuditWriter
from engine.json_files import write_json
from engine.kernel.layout import WORD
from engine.live_tape import LiveTape
from engine.run_files import TAPE_REF, Summary, TapeRef
from engine.tape import Tape
from engine.tape_hash import tape_hash
from engine.tape_info import BLOCK_ROWS
from tests.app.replay_cli import SAMPLE

WITHIN_S = 60.0
CURSOR = WORD["cursor"]
BURST = 40  # rows of a burst, about


class World:
    """A session that goes on row by row.

    Args:
        folder: gets `runs/`.
        artifacts: where its models are.
        named: `ID:VERSION` of the command line.
        cache: keeps the converted sample market.

    Attributes:
        told: what a person would have been told, code and text.
    """

    def __init__(
        self, folder: Path, artifacts: Path, named=(), *, cache: Path, **changes: Any
    ) -> None:
        settings = load_settings(
            None, {"artifacts_dir": str(artifacts), "runs_dir": str(folder / "runs")}
        )
        signal = ReloadSettings(signal_file=str(folder / "models.signal"))
        self.settings = msgspec.structs.replace(settings, reload=signal, **changes)
        source = open_tape([SAMPLE], assumed=settings.assumed, cache_dir=cache)
        self.source = Tape.open(source)
        self.rows = self.source.segments[0].rows
        self.at = 0
        self.signal = folder / "models.signal"
        self.run_dir = folder / "runs" / "session"
        self.run_dir.mkdir(parents=True)
        self.parts = plan(self.settings, self.source.instruments, named)
        self.tape = LiveTape(self.run_dir / "tape", self.source.instruments, segment_rows=1 << 16)
        self.blocks: tuple[str, ...] | None = None
        self.inference: Inference | None = None
        self.audit = AuditWriter(self.run_dir, self._hash_at)
        self.build()
        self.asked = Asked("paper", self.settings, tuple(named))
        open_run(self.parts, self.run_dir, "session", self.asked)
        self._refer("", 0)
        self.told: list[tuple[str, str]] = []
        self.reloading: asyncio.Task[None] | None = None  # of whoever lets its reloads run
        self.reloads = Reloads(
            self.parts,
            self.tape,
            self,  # type: ignore[arg-type]  # the clock: the market's time
            named,
            drain=self.drain,
            tell=lambda code, text, **_: self.told.append((code, text)),
            threads=self.inference,
        )
        hands = (self.tape, self.now_ns, self.wake)
        self.demotions = Demotions(
            self.parts.models,
            hands,
            lambda code, text: self.told.append((code, text)),
            self.reloads.fall_back,
        )
        self.strikes = Strikes(self.parts, self.demotions)

    def build(self) -> None:
        """Join the parts."""
        build(self.parts, self.audit, False, ahead=False)

    def now_ns(self) -> int:
        """Return the time of the market."""
        return max(int(self.rows["ts_event"][self.at]), int(self.rows["ts_recv"][self.at]))

    def feed(self, rows: int) -> None:
        """Let so many rows come, in bursts."""
        end = self.at + rows
        while self.at < end:
            stop = self.at + BURST
            while not self.rows["flags"][stop - 1] & 1:
                stop += 1
            for packet in np.split(
                self.rows[self.at : stop],
                np.flatnonzero(self.rows["flags"][self.at : stop - 1] & 1) + 1,
            ):
                assert self.tape.append(packet.copy())
            self.at = stop
            self.wake()
            self.strikes.look()

    def wake(self) -> None:
        """Append a WAKE row, and let the pipeline go over all that has come."""
        self.tape.wake(self.now_ns())
        self.drain()

    def drain(self) -> None:
        """Let the pipeline go over all that has come."""
        for window in self.tape.windows(self.parts.state.words[CURSOR]):
            self.parts.window = window
            self.parts.pipeline.drain(window[0], window[1], window[2], window[2])
        self.tape.cursor = self.parts.state.words[CURSOR]

    def swaps_told(self) -> int:
        """Return of how many swaps a person would have been told."""
        return sum(code == "model_swapped" for code, _ in self.told)

    def version(self) -> str:
        """Return the version of TickMLP that serves."""
        return next(s.version for s in self.parts.models if s.settings.name == "TickMLP")

    def _hash_at(self, row: int) -> str:
        if self.blocks is None:
            return self.tape.tape_hash_at(row)
        return tape_hash(self.blocks[: row // BLOCK_ROWS])

    def _refer(self, sha256: str, rows: int) -> None:
        path = str(self.run_dir / "tape")
        ref = TapeRef(path=path, sha256=sha256, rows=rows, wakes="recorded")
        write_json(self.run_dir / TAPE_REF, ref)

    def close(self) -> Summary:
        """End the session; return its summary."""
        info = self.tape.close()
        self.blocks = info.block_sha256
        self._refer(info.sha256, info.rows)
        name_tape(self.parts, info.sha256)
        return close_run(self.parts, self.run_dir, ("paper", "done", 1.0), info, False)


class ThreadWorld(World):
    """A session whose models on threads have them; who uses it starts and closes `inference`."""

    inference: Inference

    def build(self) -> None:
        """Join the parts, with threads."""
        self.inference = Inference(self.parts, self.tape, self.now_ns)
        asker = self.inference.ask
        build(self.parts, self.audit, False, ahead=False, asker=asker, answers_on_tape=True)

    def wake(self) -> None:
        """Write what the threads have said before the wake, as a session does."""
        self.inference.write()
        super().wake()

    async def go_on(self, rows: int) -> None:
        """Let rows come, and wait until every question has its row."""
        self.feed(rows)
        async with asyncio.timeout(WITHIN_S):
            while any(self.inference._asked_ts):
                await asyncio.sleep(0.002)
                self.wake()
        self.wake()
        self.strikes.look()


class HeldLoads:
    """Takes the place of a reload's loading: each version waits for a word before it is loaded.

    Attributes:
        go: the word.  began: versions whose loading has begun.
    """

    def __init__(self, monkeypatch: Any) -> None:
        self.go = threading.Event()
        self.began: list[str] = []
        self._load = app.loader.load_version
        monkeypatch.setattr(app.loader, "load_version", self)

    def __call__(self, serving: Serving, *others: Any) -> None:
        """Load a version, in the worker."""
        self.began.append(serving.version)
        assert self.go.wait(WITHIN_S)
        self._load(serving, *others)


async def until(test: Callable[[], bool]) -> None:
    """Wait until something holds."""
    async with asyncio.timeout(WITHIN_S):
        while not test():
            await asyncio.sleep(0.005)


async def swapped(world: World, wish: str) -> None:
    """Write a wish into the signal file and wait until a swap has followed, and was told."""
    count = world.swaps_told()
    world.signal.write_text(wish)
    await until(lambda: world.swaps_told() > count)


async def refused(world: World) -> str:
    """Wait for the next refusal; return what was said."""
    count = world.reloads.refused
    await until(lambda: world.reloads.refused > count)
    return world.told[-1][1]


def repeated(world: World, **changes) -> Summary:
    """Replay a session's run folder."""
    engine = msgspec.structs.replace(world.settings.engine, **changes)
    settings = msgspec.structs.replace(world.settings, engine=engine)
    tape = Tape.open(world.run_dir / "tape")
    told = answered_by(world.run_dir, settings)
    return replay(
        Replay(tape=tape, settings=settings, run=world.run_dir, report=False, answered_by=told)
    )
