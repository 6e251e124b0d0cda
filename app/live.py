"""A live session: an exchange's market data over real wires, and orders to paper or to a venue.

The pipeline is that of a replay; here its rows come from a feed, its clock is the machine's, and a
WAKE row before each drain says when it was asked. So the tape of a session replays to its digest.
What differs between paper and real orders is the `Venue` given to a session (app/live_orders.py).
"""

import asyncio
import contextlib
import gc
import os
import random
import secrets
import signal
import time
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

from app.demotion import Demotions
from app.inference import Inference, cores_of
from app.latches import Latches
from app.live_job import Job, Screen, Venue
from app.live_watch import LiveWatch
from app.log import lines_to, logger
from app.market_feed import Market, open_market
from app.notify import Notifier
from app.outcome import new_run_dir
from app.parts import Parts
from app.reload import Reloads
from app.session import Asked, close_run, end_reason, name_tape, open_run
from app.slots import window_bars
from app.strikes import Strikes
from app.terminal import has_terminal
from app.warm import warm
from app.watchdog import Watchdog
from app.wire import build, plan
from engine.audit import AuditWriter
from engine.clock import SystemClock
from engine.errors import RunError
from engine.events import Command
from engine.json_files import write_json
from engine.kernel.layout import WORD
from engine.live_tape import LiveTape
from engine.row_words import row_head
from engine.rows import NS_PER_S, Kind
from engine.run_files import TAPE_REF, Summary, TapeRef
from engine.tape_hash import tape_hash
from engine.tape_info import BLOCK_ROWS, TapeInfo
from features.feature_bars import base_bars
from features.registry import warmup_of
from venues.binance_spot.feed import SpotFeed

CURSOR = WORD["cursor"]
TIMER_S = 0.05  # bars close and signals age without data too
FLUSH_S = 1.0  # how far the audit's file may be behind
SHOW_S = 0.25
REHEARSE_AFTER_S = 0.002  # a swap: the rows that wait go first
EXTRA_BARS = 5  # fetched beyond the longest warm-up
TELL_WITHIN_S = 3.0  # what the end of a session waits for notifications
LOST = frozenset({"feed.lost", "feed.unreachable", "feed.stale"})
KILL_HEAD = row_head(int(Kind.CONTROL))
FEED_EVENT = 20  # event code of the audit for what befalls the feed


def paper(job: Job) -> Summary:
    """Run a session on paper until its time is over, it is stopped, or it cannot go on.

    Raises:
        UsageError: settings and venue do not go together; nothing was written then.
        RunError: the venue cannot be reached at the start, or the session failed.
    """
    import uvloop

    cores_of(job.settings.engine.inference_cores)  # refused before anything is written
    notifier = Notifier(job.settings.notify, os.environ)
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(_session(job, notifier))
    finally:
        notifier.close(TELL_WITHIN_S)


async def _session(job: Job, notifier: Notifier) -> Summary:
    clock = SystemClock()
    async with contextlib.AsyncExitStack() as stack:
        market, _ = await asyncio.gather(
            open_market(
                job.venue,
                job.symbols,
                bar_interval_ns=job.settings.engine.bar_interval_s * NS_PER_S,
                clock=clock,
                stack=stack,
                starting=job.exchange,
            ),
            asyncio.to_thread(warm, job.settings, job.named, job.say),
        )
        parts = plan(job.settings, market.instruments, job.named)
        run_id, run_dir = new_run_dir(Path(job.settings.runs_dir))
        session = Session(job, market, parts, (run_id, run_dir), clock=clock, notifier=notifier)
        return await session.run()


class Session:
    """One session: tape, pipeline, feed, and the tasks that keep them going.

    Args:
        job: what was asked.
        market: the venue's instruments and how to follow them.
        parts: the run's parts, planned and not built.
        run: id and folder.
        clock: stamps everything.
        notifier: tells people who are not watching.
        venue: where orders go; None is paper matching.
    """

    def __init__(
        self,
        job: Job,
        market: Market,
        parts: Parts,
        run: tuple[str, Path],
        *,
        clock: SystemClock,
        notifier: Notifier,
        venue: Venue | None = None,
    ) -> None:
        self.job = job
        self.market = market
        self.parts = parts
        self.run_id, self.run_dir = run
        self.clock = clock
        self.notifier = notifier
        self.log, self.feed_log = logger("live"), logger("feed")
        self.venue = venue or Venue()
        self.stop = asyncio.Event()
        self.reason = ""
        self._stops = 0
        self._blocks: tuple[str, ...] | None = None
        self._beat = Watchdog(self._blocked)
        self.tape = LiveTape(
            self.run_dir / "tape", market.instruments, on_exhausted=self._exhausted
        )
        audit = AuditWriter(self.run_dir, self._tape_hash_at)
        self.inference = Inference(parts, self.tape, clock.now_ns)
        build(
            parts,
            audit,
            False,
            ahead=False,
            new_venue=self.venue.new_venue,
            asker=self.inference.ask,
            answers_on_tape=True,
        )
        asked = Asked(self.venue.mode, job.settings, job.named, (job.venue,), job.command)
        open_run(parts, self.run_dir, self.run_id, asked)
        self._refer(TapeInfo(wakes="recorded"))
        if job.subscribe is not None:
            job.subscribe(parts.desk.bus)
        self._words = parts.state.words
        self._threads = self.inference.threads
        self._now_ns = clock.now_ns
        self.reloads = Reloads(
            parts,
            self.tape,
            clock,
            job.named,
            drain=self._go_over,
            tell=self.tell_person,
            threads=self.inference,
        )
        hands = (self.tape, clock.now_ns, self.wake)
        self.demotions = Demotions(parts.models, hands, self.tell_person, self.reloads.fall_back)
        self.strikes = Strikes(parts, self.demotions)
        self.latches = Latches(parts.gate.record[0], self.tell_person)
        self.venue.begin(self)

    def wake(self) -> None:
        """Append a WAKE row stamped now, and let the pipeline go over all that has come."""
        if self._threads:
            self.inference.write()
        tape = self.tape
        tape.wake(self._now_ns())
        first = tape.first_row
        if self._words[CURSOR] < first:
            self.drain()
            return
        head, address = first + tape.at, tape.address  # all of it lies in the open segment
        self.parts.window = (address, first, head)
        self.parts.pipeline.drain(address, first, head, head)
        tape.cursor = self._words[CURSOR]
        self.venue.send()

    def drain(self) -> None:
        """Let the pipeline go over all that has come; decisions wait for a WAKE row."""
        parts, tape, words = self.parts, self.tape, self._words
        for window in tape.windows(words[CURSOR]):
            parts.window = window
            parts.pipeline.drain(window[0], window[1], window[2], window[2])
        tape.cursor = words[CURSOR]
        self.venue.send()

    def _go_over(self) -> None:
        """Come to a swap's row, and fetch the new version's code and weights."""
        self.drain()
        asyncio.get_running_loop().call_later(REHEARSE_AFTER_S, self.rehearse)  # rows go first

    def rehearse(self) -> None:
        """Run small models over nothing, so that the next row does not wait for caches.

        Other work drives their code and weights out of the processor: an order's answers, a
        screen, another process. See docs/decisions/0049.
        """
        for serving in self.parts.models:
            if serving.native is not None and serving.waiting is None:  # shadows are not in the way
                with contextlib.suppress(OSError):  # it fails on nothing: so be it
                    serving.native.rehearse()

    async def run(self) -> Summary:
        """Run until something ends the session; leave the summary."""
        job, started = self.job, time.perf_counter()
        feed = self.market.feed(
            self.tape,
            wake=self.wake,
            on_event=self._on_feed,
            history=self._history(),
            randomness=random.Random(secrets.randbits(64)),
        )
        title = f"{self.venue.mode} on {job.venue}, run {self.run_id}"
        screen = None
        if job.screen is not None:
            screen = job.screen(self.parts, feed.health, title, self.clock.now_ns)
        settings, models = job.settings, self.parts.models
        works = [
            ("feed", feed.run()),
            ("timer", self._timer()),
            ("exchange", self.market.watch()),
            ("orders", self.venue.watch()),
            ("inference", self.inference.watch(self.wake)),
            ("models", self.reloads.run()),
            ("watch", LiveWatch(self.run_dir, settings.watch, models, self.demotions).run()),
            ("stop", self.stop.wait()),
        ]
        if screen is not None:
            works.append(("screen", self._show(screen, feed)))
            if not screen.plain:
                lines_to(screen.say)
        self._listen()
        gc.collect()
        gc.freeze()  # what is loaded now is not looked through again while orders wait
        gc.enable()
        self._beat.start()
        self.inference.start()
        self.notifier.notify("start", f"{title} begins")
        try:
            await self._until_one_ends(works)
            self._beat.stop()
            self.inference.close()
            self.inference.write()
            self.drain()
            await self.venue.finish()
        finally:
            self._beat.stop()
            self.inference.close()
            gc.unfreeze()
            if screen is not None:
                screen.close()
            lines_to(None)
        try:
            return self._close(time.perf_counter() - started)
        except OSError as error:
            raise RunError(
                f"{self.run_dir}: its end cannot be written ({error.strerror})"
            ) from None

    async def _until_one_ends(self, works: list[tuple[str, Coroutine[Any, Any, Any]]]) -> None:
        """Run tasks until one ends or the time is over; then end all, the feed first."""
        tasks = {name: asyncio.create_task(work, name=name) for name, work in works}
        try:
            timeout = self.job.duration_s or None
            done, _ = await asyncio.wait(
                tasks.values(), timeout=timeout, return_when=asyncio.FIRST_COMPLETED
            )
        finally:
            for task in tasks.values():
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError, Exception):
                    await task
        for task in done:
            if task.get_name() != "stop":
                error = task.exception()
                what = f"{type(error).__name__}: {error}" if error else "it ended by itself"
                self.reason = "failed"
                self.log.error("failed", part=task.get_name(), cause=what)
                self.parts.recorder.event(21, "live.failed", f"{task.get_name()}: {what}"[:300])

    def _history(self) -> tuple[int, int]:
        """Return how much history the models need: (bars, ns of trades)."""
        needs = [warmup_of(spec) for spec in self.parts.specs]
        interval_ns = self.job.settings.engine.bar_interval_s * NS_PER_S
        bars = max((base_bars(need, interval_ns) for need in needs), default=0)
        bars += max((window_bars(plan, interval_ns) for plan in self.parts.plans), default=0)
        seconds = max((need.get("seconds", 0) for need in needs), default=0)
        return (bars + EXTRA_BARS if bars else 0), seconds * NS_PER_S

    async def _timer(self) -> None:
        flushed = time.monotonic()
        while True:
            await asyncio.sleep(TIMER_S)
            self._beat.beat()
            self.wake()
            self.strikes.look()
            self.latches.look()
            self.rehearse()
            if time.monotonic() - flushed >= FLUSH_S:
                flushed = time.monotonic()
                self.parts.pipeline.on_flush()

    async def _show(self, screen: Screen, feed: SpotFeed) -> None:
        while True:
            _ = feed.health  # brings the counters that the screen holds up to date
            screen.update()
            await asyncio.sleep(SHOW_S)

    def _listen(self) -> None:
        loop = asyncio.get_running_loop()
        for number, reason in ((signal.SIGINT, "interrupted"), (signal.SIGTERM, "stopped")):
            loop.add_signal_handler(number, self._on_signal, reason)
        ends = signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN and has_terminal()
        loop.add_signal_handler(signal.SIGHUP, self._on_hangup, ends)

    def _on_signal(self, reason: str) -> None:
        """End cleanly; the second time at once: tape and audit stand as after a crash."""
        self._stops += 1
        if self._stops > 1:
            self.market.kill()
            os._exit(130)
        self.reason = reason
        self.stop.set()

    def _on_hangup(self, ends: bool) -> None:
        """Look at the registry again; end where the terminal that it was started on is gone."""
        if ends and not has_terminal():
            self._on_signal("stopped")
        else:
            self.reloads.ask_production("SIGHUP")

    def _on_feed(self, code: str, fields: dict[str, Any]) -> None:
        self.feed_log.info(code.removeprefix("feed."), **fields)
        if code in LOST:
            self.tell_person("feed_lost", code, **fields)
        text = " ".join(f"{name}={value}" for name, value in fields.items())
        self.parts.recorder.event(FEED_EVENT, code, text[:300])

    def tell_person(self, code: str, text: str, **fields: Any) -> None:
        """Tell people who are not watching; `code` is a `ToldEvent` of the settings."""
        self.notifier.notify(code, f"run {self.run_id}: {text}", **fields)

    def _blocked(self, seconds: float) -> None:
        """Say that the loop stood still; called by the watchdog's thread."""
        self.log.error("blocked", seconds=round(seconds, 1), remedy="signals age and HOLD")

    def _exhausted(self, reason: str) -> None:
        """Let no new order out: the tape has no room for the market that it would be made on."""
        self.log.error("tape_full", cause=reason, remedy="kill switch latched")
        self.tell_person("halt", f"the tape takes no more rows ({reason}), no new orders")
        now = self.clock.now_ns()
        self.tape.push(KILL_HEAD, now, now, (int(Command.KILL), 0, 0, 0, 0))

    def _tape_hash_at(self, row: int) -> str:
        if self._blocks is None:
            return self.tape.tape_hash_at(row)
        return tape_hash(self._blocks[: row // BLOCK_ROWS])

    def _refer(self, info: TapeInfo) -> None:
        path = str((self.run_dir / "tape").resolve())
        ref = TapeRef(path=path, sha256=info.sha256, rows=info.rows, wakes=info.wakes)
        write_json(self.run_dir / TAPE_REF, ref)

    def _close(self, wall_s: float) -> Summary:
        info = self.tape.close(notes=self.market.notes)
        self._blocks = info.block_sha256
        self._refer(info)
        name_tape(self.parts, info.sha256)
        reason = self.reason or end_reason(self.parts)
        self.latches.look()
        self.notifier.notify("stop", f"run {self.run_id} ends: {reason}")
        report = self.job.report and reason != "interrupted"
        return close_run(self.parts, self.run_dir, (self.venue.mode, reason, wall_s), info, report)
