"""Runs the real feed against the scripted venue and looks at the tape it writes."""

import asyncio
import contextlib
import ctypes
import random
import tempfile
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import msgspec
import numpy as np

from engine.clock import SystemClock
from engine.instruments import Instrument
from engine.live_tape import LiveTape
from engine.rows import LAST, ROW, ROW_BYTES, Kind
from engine.tape import Tape
from tests.venues.scripted_venue import LOT, TICK, Market, ScriptedVenue, scripted_venue
from venues.binance_spot.feed import FeedParams, SpotFeed
from venues.binance_spot.history import HistoryNeed
from venues.binance_spot.rest import SpotRest
from venues.lines import IntakeLimits
from venues.transport import TransportLimits, WebsocketTransport

START = 1_700_000_040_000_000_000 + 20_000_000_000  # twenty seconds into a minute
HAS = ("quotes", "quote_sizes", "trades", "trade_sides", "depth")
FAST = FeedParams(
    limits=IntakeLimits(stale_ns=60_000_000_000),
    confirm_timeout_s=0.3,
    snapshot_pause_s=0.05,
    backoff_base_s=0.02,
    backoff_cap_s=0.1,
)
WITH_HISTORY = msgspec.structs.replace(FAST, history=HistoryNeed(bars=3))


def instrument(symbol: str, has: tuple[str, ...] = HAS) -> Instrument:
    return Instrument(
        venue="binance_spot", symbol=symbol, base=symbol[:3], quote=symbol[3:], tick=TICK, lot=LOT,
        has=has, bar_interval_ns=60_000_000_000,
    )  # fmt: skip


class Session:
    """A feed that runs, and what came of it."""

    def __init__(self, venue: ScriptedVenue, tape: LiveTape, clock: SystemClock) -> None:
        self.venue = venue
        self.tape = tape
        self.clock = clock
        self.events: list[tuple[str, dict]] = []
        self.wakes = 0
        self.fails = False  # the test expects the feed to end by an error
        self.exhausted: list[str] = []
        self.feed: SpotFeed
        self.task: asyncio.Task[None]

    def wake(self) -> None:
        self.wakes += 1
        self.tape.wake(self.clock.now_ns())

    def market(self, symbol: str = "BTCUSDT") -> Market:
        return self.venue.markets[symbol]

    def codes(self) -> list[str]:
        return [code for code, _ in self.events]

    def rows(self, kind: Kind | None = None) -> np.ndarray:
        """Return what is on the tape now, all or one kind."""
        parts = []
        for address, first_row, stop in self.tape.windows(0):
            size = (stop - first_row) * ROW_BYTES
            parts.append(bytes((ctypes.c_char * size).from_address(address)))
        found = np.frombuffer(b"".join(parts), ROW)
        return found if kind is None else found[found["kind"] == kind]

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait for something to come true."""
        for _ in range(2000):
            if self.task.done():
                self.task.result()
            if condition():
                return
            await asyncio.sleep(0.005)
        raise AssertionError(f"did not come true; events: {self.events[-8:]}")

    async def saw(self, code: str, count: int = 1) -> dict:
        """Wait for an event; return its fields."""
        await self.until(lambda: self.codes().count(code) >= count)
        return [fields for found, fields in self.events if found == code][count - 1]

    async def settled(self, count: int = 1) -> None:
        """Wait until every instrument lives, and has a book where it wants one."""
        await self.until(
            lambda: (
                self.feed.health.connects == count
                and "feed.subscribed" in self.codes()
                and len(self.venue.connections) == 1
            )
        )


@contextlib.asynccontextmanager
async def running(
    params: FeedParams = FAST,
    symbols: tuple[str, ...] = ("BTCUSDT",),
    *,
    prepare: Callable[[ScriptedVenue], None] = lambda venue: None,
    segment_rows: int = 1 << 15,
    has: tuple[str, ...] = HAS,
    folder: Path | None = None,
) -> AsyncIterator[Session]:
    """Start the venue and a feed on it; at the end the tape, in `folder`/t, must be whole."""
    clock = SystemClock(wall_ns=lambda: START)
    markets = {name: Market(name, lambda: clock.now_ns() // 1_000_000) for name in symbols}
    with tempfile.TemporaryDirectory() as scratch:
        async with scripted_venue(markets) as venue, contextlib.AsyncExitStack() as stack:
            prepare(venue)
            table = [instrument(name, has) for name in symbols]
            path = (folder or Path(scratch)) / "t"
            said: list[str] = []
            tape = LiveTape(path, table, segment_rows=segment_rows, on_exhausted=said.append)
            stack.callback(check_closed, tape, path)
            session = Session(venue, tape, clock)
            session.exhausted = said
            rest = SpotRest(clock.monotonic_ns, venue.rest_url, timeout_s=2.0)
            await stack.enter_async_context(rest)
            session.feed = SpotFeed(
                msgspec.structs.replace(params, base_ws=venue.ws_url),
                tape,
                clock=clock,
                transport=WebsocketTransport(
                    TransportLimits(open_timeout_s=1.0, close_timeout_s=0.2)
                ),
                rest=rest,
                wake=session.wake,
                on_event=lambda code, fields: session.events.append((code, fields)),
                randomness=random.Random(1),
            )
            session.task = asyncio.create_task(session.feed.run())
            try:
                yield session
            finally:
                session.task.cancel()
                await asyncio.wait([session.task])
                if not session.task.cancelled():
                    assert session.task.exception() is None or session.fails


def check_closed(tape: LiveTape, path: Path) -> None:
    """Close the tape and verify every row, packet and hash."""
    tape.close()
    opened = Tape.open(path)
    opened.verify()
    for segment in opened.segments:
        assert len(segment.rows) == 0 or segment.rows["flags"][-1] & LAST
