"""`make swaps`: a paper session at full speed, minutes with twenty swaps beside minutes without.

Prints latencies of each minute and what must hold: no missed row, no doubled signal, every signal
is the answer of the version that the audit names, and the replay has the same digest.
"""

import argparse
import asyncio
import contextlib
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np

from app.live import Session
from app.live_job import Job
from app.market_feed import open_market
from app.notify import Notifier
from app.outcome import new_run_dir
from app.paper_exchange import begun
from app.parts import Parts
from app.replay import Replay, replay
from app.signal_file import send
from app.wire import plan
from config.load import load_settings
from config.settings import ReloadSettings, Settings
from engine.audit_layout import AUDIT, Record
from engine.audit_verify import verify
from engine.bus import Bus
from engine.clock import SystemClock
from engine.events import Signal
from engine.feed_health import FeedHealth
from engine.hash_words import words_hash
from engine.kernel.layout import WORD
from engine.run_files import AUDIT_RECORDS, Summary
from engine.tape import Tape
from ml.registry import View, load
from tests.app.versions import add_version, copy_artifacts, tick_mlp

CURSOR = WORD["cursor"]
PROBE_S = 0.005
VERSIONS = "1", "2", "3"  # one serves, one is kept for a rollback, the third is loaded
THRESHOLD = 0.34  # most answers are advice then: there is much to compare
FULL_SPEED = ("--rows-per-s", "600", "--speed", "4")


class Heard(NamedTuple):
    """A signal as a strategy heard it, with the row that it was made from."""

    signal_id: int
    p: tuple[float, float, float]
    x: np.ndarray


def hear(parts: Parts, heard: list[Heard], signal: Signal) -> None:
    """Keep a signal of TickMLP with its feature row, which still stands in its slot."""
    if parts.models[signal.model].settings.name == "TickMLP":
        slot = parts.state.words[WORD["slot"]]
        p = (signal.p_sell, signal.p_hold, signal.p_buy)
        heard.append(Heard(signal.signal_id, p, parts.state.slot_input(slot)[0].copy()))


class Minute(NamedTuple):
    """What was measured of a minute, microseconds."""

    swaps: int
    rows: int
    p50: float
    p99: float
    late_p50: float
    late_p99: float
    anon_mb: float


class Watched(Session):
    """A session that notes how long a burst takes from its receipt to the end of its decisions."""

    took_ns: list[int]
    late_ns: list[int]

    def wake(self) -> None:
        """Note the time from the first new row's stamp to the end of the pipeline's work."""
        cursor = self._words[CURSOR]
        stamp = 0
        if self.tape.first_row <= cursor < self.tape.rows:
            at = (cursor - self.tape.first_row) * 64 + 8
            stamp = int.from_bytes(self.tape.memory[at : at + 8], "little")
        super().wake()
        if stamp:
            self.took_ns.append(self.clock.now_ns() - stamp)

    async def probe(self) -> None:
        """Note how late the event loop wakes a sleeper."""
        while True:
            due = time.monotonic_ns() + int(PROBE_S * 1e9)
            await asyncio.sleep(PROBE_S)
            self.late_ns.append(time.monotonic_ns() - due)


class Eye:
    """Takes the counters of the feed from a session, in the place of a screen."""

    plain = True

    def __init__(self, health: FeedHealth) -> None:
        self.health = health

    def update(self) -> None:
        """Show nothing."""

    def say(self, text: str) -> None:
        """Say nothing."""

    def close(self) -> None:
        """Do nothing."""


class Swapping:
    """A session, minutes with and without swaps, and what was heard and measured.

    Args:
        folder: for artifacts and runs.
        minute_s: length of a minute.
        minutes: how many; every second one has swaps.
        swaps: in a minute that has them.
    """

    def __init__(self, folder: Path, minute_s: float, minutes: int, swaps: int) -> None:
        self.folder, self.minute_s, self.minutes, self.swaps = folder, minute_s, minutes, swaps
        self.root = copy_artifacts(folder)
        for weight in (1.0, 1.5):
            add_version(self.root, tick_mlp(weight))
        self.signal = folder / "models.signal"
        self.heard: list[Heard] = []
        self.measured: list[Minute] = []
        self.asked = 0
        self.session: Watched
        self.eye: Eye

    def settings(self) -> Settings:
        """Return the first run's settings, with everything in the folder."""
        changes = {"artifacts_dir": str(self.root), "runs_dir": str(self.folder / "runs")}
        settings = load_settings(None, changes)
        lines = settings.strategies[0]
        lines = msgspec.structs.replace(lines, params={**lines.params, "threshold": THRESHOLD})
        settings = msgspec.structs.replace(settings, strategies=(lines,))
        reload = ReloadSettings(signal_file=str(self.signal))
        return msgspec.structs.replace(settings, reload=reload)

    def run(self) -> Summary:
        """Run the session to its end."""
        import uvloop

        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(self._run())

    async def _run(self) -> Summary:
        clock, settings = SystemClock(), self.settings()
        job = Job(
            settings=settings,
            named=tuple(f"TickMLP:{version}" for version in VERSIONS),
            duration_s=self.minutes * self.minute_s + 60.0,
            report=False,
            subscribe=self._listen,
            screen=self._watch,
        )
        async with contextlib.AsyncExitStack() as stack:
            starting = stack.enter_context(begun("embedded", FULL_SPEED))
            market = await open_market(
                "embedded", (), bar_interval_ns=60_000_000_000, clock=clock, stack=stack,
                starting=starting,
            )  # fmt: skip
            parts = plan(settings, market.instruments, job.named)
            run = new_run_dir(self.folder / "runs")
            notifier = Notifier(settings.notify, os.environ)
            self.session = Watched(job, market, parts, run, clock=clock, notifier=notifier)
            self.session.took_ns, self.session.late_ns = [], []
            tasks = [asyncio.create_task(work) for work in (self.session.probe(), self._drive())]
            try:
                return await self.session.run()
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)

    def _watch(
        self, parts: Parts, health: FeedHealth, title: str, now_ns: Callable[[], int]
    ) -> Eye:
        self.eye = Eye(health)
        return self.eye

    def _listen(self, bus: Bus) -> None:
        bus.topic(Signal).subscribe(self._hear)

    def _hear(self, signal: Signal) -> None:
        hear(self.session.parts, self.heard, signal)

    async def _drive(self) -> None:
        """Do what the session is there for, and end it."""
        await self._go_through()
        self.session.stop.set()

    async def _go_through(self) -> None:
        """Wait for the first signals; then minute by minute, every second one with swaps."""
        session = self.session
        while not self.heard:
            await asyncio.sleep(0.1)
        for number in range(self.minutes):
            session.took_ns.clear()
            session.late_ns.clear()
            before, rows = session.parts.swaps.count, session.tape.rows
            ends = time.monotonic() + self.minute_s
            if number % 2:
                for _ in range(self.swaps):
                    await self._swap()
                    await asyncio.sleep(max(0.0, self._pause(ends)))
            await asyncio.sleep(max(0.0, ends - time.monotonic()))
            done = session.parts.swaps.count - before
            self.measured.append(self._minute(done, session.tape.rows - rows))

    def _pause(self, ends: float) -> float:
        left = self.swaps - (self.asked - 1) % self.swaps
        return (ends - time.monotonic()) / left

    async def _swap(self) -> None:
        """Ask for the other version by the signal file, and wait until it serves."""
        self.asked += 1
        wanted = self.session.parts.swaps.count + 1
        model = next(s for s in self.session.parts.models if s.settings.name == "TickMLP")
        send(self.signal, f"TickMLP:{int(model.version) % len(VERSIONS) + 1}\n")
        async with asyncio.timeout(60.0):
            while self.session.parts.swaps.count < wanted:
                await asyncio.sleep(0.02)

    def _minute(self, swaps: int, rows: int) -> Minute:
        took = np.percentile(self.session.took_ns or [0], (50, 99)) / 1e3
        late = np.percentile(self.session.late_ns or [0], (50, 99)) / 1e3
        return Minute(swaps, rows, *map(float, (*took, *late)), anon_mb())

    def claims(self, summary: Summary) -> dict[str, bool]:
        """Return what must hold, and whether it does."""
        run = Path(summary.run_dir)
        records = np.fromfile(run / AUDIT_RECORDS, AUDIT)
        health = self.eye.health
        decisions = records[records["kind"] == Record.DECISION]
        where = decisions[["row", "instrument", "model"]]
        tape = Tape.open(run / "tape")
        tape.verify()
        given = list(answers(self.root, self.heard, records))
        again = replay(Replay(tape=tape, settings=self.settings(), run=run, report=False))
        return {
            "every wish was carried out": summary.reloads == self.asked,
            "the feed lost nothing": health.dropped_messages + health.decode_errors == 0
            and all(one.gaps == 0 for one in health.instruments),
            "every row of the tape was applied": summary.events == tape.info.rows,
            "no signal stands twice": len(np.unique(where)) == len(where),
            "every version gave signals": len({sha for sha, _ in given})
            == min(len(VERSIONS), self.asked + 1),
            "every signal is that of the version named": all(same for _, same in given),
            "the audit verifies": verify(run).ok,
            "the replay has the same digest": again.decision_digest == summary.decision_digest,
            "and as many reloads": again.reloads == summary.reloads,
        }


def answers(root: Path, heard: Sequence[Heard], records: np.ndarray) -> Iterator[tuple[str, bool]]:
    """Yield, for each signal, the sha256 that the audit names, and whether that version gave it.

    Args:
        root: artifacts with versions of TickMLP.
        heard: signals of TickMLP.
        records: of the audit.
    """
    view = View(root)
    opened: dict[str, Any] = {}
    for entry in view.registry.entries:
        if entry.model_id != "TickMLP":
            continue
        loaded = load(root, "TickMLP", entry.version, view=view)
        opened[loaded.sha256] = loaded.open()
    models = records[records["kind"] == Record.MODEL]
    decisions = records[records["kind"] == Record.DECISION]
    by_id = dict(zip(decisions["id"].tolist(), range(len(decisions))))
    for one in heard:
        decision = decisions[by_id[one.signal_id]]
        mine = models[(models["model"] == decision["model"]) & (models["seq"] < decision["seq"])]
        sha256 = words_hash([int(mine[-1][f"i{k}"]) for k in range(4)])
        answer = opened[sha256].run_rows(one.x[None])[0].astype(np.float64)
        yield sha256, tuple(answer.tolist()) == one.p


def anon_mb() -> float:
    """Return this process's anonymous memory."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) / 1024
    return 0.0


def main() -> int:
    """Run the minutes; print them and the claims."""
    parser = argparse.ArgumentParser(prog="make swaps", description=__doc__)
    parser.add_argument("--minutes", type=int, default=4, help="every second one has swaps")
    parser.add_argument("--minute-s", type=float, default=60.0, help="length of a minute")
    parser.add_argument("--swaps", type=int, default=20, help="in a minute that has them")
    args = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="tickgate-swaps-"))
    swapping = Swapping(folder, args.minute_s, args.minutes, args.swaps)
    summary = swapping.run()
    print("minute  swaps   rows/s    decided p50/p99 us    loop late p50/p99 us   anon MB")
    for number, one in enumerate(swapping.measured, 1):
        print(
            f"{number:>6}{one.swaps:>7}{one.rows / args.minute_s:>9,.0f}"
            f"{one.p50:>14,.1f}/{one.p99:<9,.1f}{one.late_p50:>12,.1f}/{one.late_p99:<9,.1f}"
            f"{one.anon_mb:>8.1f}"
        )
    print_ratios(swapping.measured)
    claims = swapping.claims(summary)
    for claim, holds in claims.items():
        print(f"{'ok  ' if holds else 'FAIL'} {claim}")
    print(f"{len(swapping.heard):,} signals; the run lies in {summary.run_dir}")
    return 0 if all(claims.values()) else 1


def print_ratios(measured: list[Minute]) -> None:
    """Compare minutes with swaps and those without; said, and not judged: machines are shared."""
    with_swaps = [one for one in measured if one.swaps]
    without = [one for one in measured if not one.swaps]
    if not with_swaps or not without:
        return
    for name, field in (("decided", "p50"), ("loop late", "late_p50")):
        ratio = np.mean([getattr(o, field) for o in with_swaps]) / np.mean(
            [getattr(o, field) for o in without]
        )
        print(f"{name} p50: minutes with swaps are {ratio:.3f} of those without")
    for name, field in (("decided", "p99"), ("loop late", "late_p99")):
        spread = [getattr(o, field) for o in without]
        mine = [getattr(o, field) for o in with_swaps]
        print(
            f"{name} p99: {min(mine):,.0f} to {max(mine):,.0f} us with swaps, "
            f"{min(spread):,.0f} to {max(spread):,.0f} us without"
        )


if __name__ == "__main__":
    sys.exit(main())
