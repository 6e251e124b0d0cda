"""A paper session of this process that trades on an exchange whose faults a test sets."""

import asyncio
import subprocess
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tests.app.lively  # noqa: F401  (it registers the strategy of CONFIG)
from app.live import Session
from app.live_job import Job
from app.live_numbers import LiveView
from app.live_view import Collector
from app.market_feed import open_market
from app.notify import Notifier
from app.outcome import new_run_dir
from app.terminal import short_reason
from app.warm import warm
from app.wire import plan
from config.load import load_settings
from engine.clock import SystemClock
from engine.events import HoldReason
from engine.feed_health import FeedHealth
from engine.live_tape import LiveTape
from engine.rows import ROW, ROW_BYTES, Kind
from engine.run_files import Summary
from tests.app.live_world import CONFIG
from venues.binance_spot.feed import FeedParams
from venues.embedded.launcher import RunningExchange, start_exchange
from venues.lines import IntakeLimits

OPTIONS = ("--seed", "7", "--rows-per-s", "60", "--history-hours", "1",
           "--weight-per-minute", "1000000")  # fmt: skip
MAX_DATA_AGE_MS = 600
SILENT_NS = 3_000_000_000  # of an instrument, until it is stale
QUIET_WAKES = 12  # twelve times 50 ms: longer than the strategy's 250 ms
WITHIN_S = 60.0  # of a condition that must come true, on a slow machine
BTC, ETH = "BTCUSDT", "ETHUSDT"


class FeedWorld:
    """The session, its exchange, and what a person would see of it."""

    plain = True  # a screen's: see app/live.py

    def __init__(self, exchange: RunningExchange) -> None:
        self.exchange = exchange
        self.events: list[tuple[str, dict[str, Any]]] = []  # of the feed
        self.wakes = 0
        self.session: Session
        self.running: asyncio.Task[Summary]
        self.health: FeedHealth
        self._collector: Collector

    def __call__(
        self, parts: Any, health: FeedHealth, title: str, now_ns: Callable[[], int]
    ) -> "FeedWorld":
        """Take the place of the terminal's screen."""
        self.health = health
        self._collector = Collector(parts, health, title, now_ns)
        return self

    def update(self) -> None:
        """Show nothing: the test looks."""

    def say(self, text: str) -> None:
        """Say nothing."""

    def close(self) -> None:
        """Leave nothing behind."""

    @property
    def codes(self) -> list[str]:
        """The codes of the feed's events so far."""
        return [code for code, _ in self.events]

    def view(self) -> LiveView:
        """Return what the status would show now."""
        return self._collector.collect()

    def orders(self) -> int:
        """Count the orders so far."""
        return self.view().risk.orders

    def _holding(self, reason: HoldReason) -> set[str]:
        """Return the instruments whose last decision was a HOLD for this reason."""
        word = short_reason(reason.name)
        return {s for line in self.view().waiting if line.reason == word for s in line.symbols}

    def ask(self, path: str, **body: Any) -> Any:
        """Ask the control port."""
        return self.exchange.control("POST", path, body)

    def heal(self) -> None:
        """Take every fault away."""
        self.exchange.control("DELETE", "/faults")
        self.ask("/listen", open=True)

    async def until(self, holds: Callable[[], bool]) -> None:
        """Wait for something to come true."""
        until = time.monotonic() + WITHIN_S
        while not holds():
            assert time.monotonic() < until, f"did not come true; {told(self)}"
            await asyncio.sleep(0.02)

    async def held(self, reason: HoldReason, *symbols: str) -> None:
        """Wait until exactly these instruments HOLD for a reason."""
        wanted = set(symbols or (BTC, ETH))
        await self.until(lambda: self._holding(reason) == wanted)

    async def quiet(self, *symbols: str) -> None:
        """Wait until so many wakes have passed that decisions of these instruments were due.

        Without a believable quote there is none, and no order: old data is not decided on.
        """
        wanted = symbols or (BTC, ETH)
        while True:
            decided, wakes = self.decided(*wanted), self.wakes
            await self.until(lambda: self.wakes >= wakes + QUIET_WAKES)  # noqa: B023
            if self.decided(*wanted) == decided:
                return

    async def trading(self) -> None:
        """Wait until orders come again and nothing holds, with a book that is in sync."""
        before = self.orders()
        await self.until(
            lambda: (
                self.orders() > before
                and not self.view().waiting
                and all(one.book_synced and not one.halted for one in self.health.instruments)
            )
        )

    def decided(self, *symbols: str) -> int:
        """Count the decisions on these instruments, of all kinds."""
        return sum(int(self.reasons(symbol).sum()) for symbol in symbols)

    def reasons(self, symbol: str) -> np.ndarray:
        """Count the decisions on an instrument by HoldReason; at NONE are those that may act."""
        parts = self.session.parts
        mine = [plan.instrument == index_of(self, symbol) for plan in parts.plans]
        counts: np.ndarray = parts.state.slots["holds"][: len(mine)][mine].sum(axis=0)
        return counts

    def dropped(self, what: str) -> int:
        """Count quotes that were not believed: `dropped_crossed`, `dropped_insane`."""
        return int(self.session.parts.state.root[0][what])

    async def end(self) -> Summary:
        """Let the session end, and return how it did."""
        self.session.stop.set()
        return await asyncio.shield(self.running)

    def price(self, symbol: str) -> float:
        """Return the last trade's price that the kernel knows."""
        return float(self.session.parts.state.markets["trade_price"][index_of(self, symbol)])


def index_of(world: FeedWorld, symbol: str) -> int:
    """Return an instrument's place on the tape."""
    return [one.symbol for one in world.session.parts.instruments].index(symbol)


def entries(world: FeedWorld, symbol: str) -> list[int]:
    """Return the open orders of an instrument that would open a position."""
    at, orders = index_of(world, symbol), world.session.parts.desk.open_orders
    return [n for n, one in orders.items() if one.instrument == at and one.opening_lot > 0]


def traded(world: FeedWorld, symbol: str, price: float) -> bool:
    """Tell whether a trade at exactly this price stands on the tape (of one segment)."""
    tape = world.session.tape
    rows = np.frombuffer(bytes(tape.memory[: tape.at * ROW_BYTES]), ROW)
    mine = rows[(rows["kind"] == Kind.TRADE) & (rows["instrument"] == index_of(world, symbol))]
    return bool((mine["f0"] == price).any())


def age_ns(world: FeedWorld) -> int:
    """Return how old the first instrument's last message is."""
    return world.health.age_ns(0, world.session.clock.now_ns())


def told(world: FeedWorld) -> str:
    """Say how things stand, for a test that fails."""
    view = world.view()
    books = [(one.book_synced, one.halted) for one in world.health.instruments]
    waits = [(line.reason, line.symbols) for line in view.waiting]
    return f"books {books}, waiting {waits}, {view.risk}, last events {world.codes[-8:]}"


@asynccontextmanager
async def feed_world(folder: Path, segment_rows: int = 1 << 20) -> AsyncIterator[FeedWorld]:
    """Start exchange and session, whose tape has segments of so many rows; end both."""
    clock = SystemClock()
    path = folder / "feed.yaml"
    text = CONFIG.replace("PAUSE", "1").replace("STALL", "0").replace('USDT: "0"', 'USDT: "50000"')
    path.write_text(f"{text}\nengine: {{max_data_age_ms: {MAX_DATA_AGE_MS}}}\n"
                    f"runs_dir: {folder / 'runs'}\n")  # fmt: skip
    settings = load_settings(path)
    warm(settings, (), lambda _: None)
    async with AsyncExitStack() as stack:
        exchange = stack.enter_context(start_exchange(options=OPTIONS, stderr=subprocess.DEVNULL))
        market = await open_market(
            "embedded", (BTC, ETH), bar_interval_ns=settings.engine.bar_interval_s * 10**9,
            clock=clock, stack=stack, base_url=exchange.rest_url,
        )  # fmt: skip
        world = FeedWorld(exchange)
        job = Job(settings=settings, screen=world, report=False)
        notifier = Notifier(settings.notify, {})
        stack.callback(notifier.close, 1.0)
        patch = stack.enter_context(pytest.MonkeyPatch.context())
        patch.setattr("app.live.LiveTape", partial(LiveTape, segment_rows=segment_rows))
        limits = IntakeLimits(stale_ns=SILENT_NS)
        params = partial(FeedParams, stable_s=0.0, limits=limits)  # no long delays to reconnect
        patch.setattr("app.market_feed.FeedParams", params)
        patch.setattr("venues.binance_spot.statuses.HALTED_POLL_S", 1.0)
        world.session = session = Session(
            job, market, plan(settings, market.instruments, ()),
            new_run_dir(Path(settings.runs_dir)), clock=clock, notifier=notifier,
        )  # fmt: skip
        told, wake = session._on_feed, session.wake

        def counted() -> None:
            world.wakes += 1
            wake()

        session.wake = counted  # type: ignore[method-assign]

        def listen(code: str, fields: dict[str, Any]) -> None:
            world.events.append((code, fields))
            told(code, fields)

        session._on_feed = listen  # type: ignore[method-assign]
        world.running = asyncio.create_task(session.run())
        await asyncio.sleep(0)  # the session begins, and makes its screen
        try:
            yield world
        finally:
            await world.end()
