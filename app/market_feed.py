"""Where a paper session's market comes from: an exchange of our own, or a real one's data."""

import asyncio
import contextlib
import random
from collections.abc import Callable, Sequence
from typing import Any

from app.live_urls import EMBEDDED, VENUES, stream_base
from app.log import logger
from engine.clock import SystemClock
from engine.errors import RunError, UsageError
from engine.instruments import Instrument, split_symbol
from engine.live_tape import LiveTape
from venues.binance_spot.feed import FeedParams, SpotFeed
from venues.binance_spot.history import HistoryNeed
from venues.binance_spot.rest import RestError, SpotRest
from venues.embedded.launcher import RunningExchange, StartingExchange
from venues.transport import TransportLimits, WebsocketTransport

HAS = ("quotes", "quote_sizes", "trades", "trade_sides", "depth")
DEFAULT_SYMBOLS = ("BTCUSDT",)
LOOK_S = 0.2
SYNTHETIC = (
    "the embedded exchange's market is synthetic: a run on it shows that the plumbing works, and "
    "nothing about profit on any real market"
)


class Market:
    """A venue's instruments, and how to follow them.

    Args:
        instruments: the tape's table.
        rest: for books and history.
        base_ws: of the streams; None for the real ones.
        exchange: our own, which ends with the session.
        clock: stamps rows.
        bar_interval_ns: of the engine.
    """

    def __init__(
        self,
        instruments: tuple[Instrument, ...],
        rest: SpotRest,
        base_ws: str | None,
        exchange: RunningExchange | None,
        *,
        clock: SystemClock,
        bar_interval_ns: int,
    ) -> None:
        self.instruments = instruments
        self.exchange = exchange
        self._rest = rest
        self._base_ws = base_ws
        self._clock = clock
        self._bar_interval_ns = bar_interval_ns

    def feed(
        self,
        tape: LiveTape,
        *,
        wake: Callable[[], None],
        on_event: Callable[[str, dict[str, Any]], None],
        history: tuple[int, int],
        randomness: random.Random,
    ) -> SpotFeed:
        """Return the feed onto the tape; history = (bars, ns of trades) to fetch at the start."""
        bars, trades_ns = history
        need = HistoryNeed(bars=bars, bar_interval_ns=self._bar_interval_ns, trades_ns=trades_ns)
        params = FeedParams(history=need if bars or trades_ns else None)
        if self._base_ws is not None:
            params = FeedParams(base_ws=self._base_ws, history=params.history)
        return SpotFeed(
            params,
            tape,
            clock=self._clock,
            transport=WebsocketTransport(TransportLimits()),
            rest=self._rest,
            wake=wake,
            on_event=on_event,
            randomness=randomness,
        )

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader of the tape must know of the market."""
        return (SYNTHETIC,) if self.exchange is not None else ()

    async def watch(self) -> None:
        """Return when our own exchange has ended; never, where there is none.

        Raises:
            RunError: it ended.
        """
        while self.exchange is None or self.exchange.process.poll() is None:
            await asyncio.sleep(LOOK_S)
        code = self.exchange.process.returncode
        raise RunError(f"the embedded exchange ended (code {code})")

    def kill(self) -> None:
        """End our own exchange at once."""
        if self.exchange is not None:
            self.exchange.process.kill()


async def open_market(
    venue: str,
    symbols: Sequence[str],
    *,
    bar_interval_ns: int,
    clock: SystemClock,
    stack: contextlib.AsyncExitStack,
    base_url: str = "",
    starting: StartingExchange | None = None,
) -> Market:
    """Reach the venue and ask for its instruments.

    Args:
        venue: one of VENUES.
        symbols: in any usual form; empty takes the embedded exchange's all.
        bar_interval_ns: of the engine.
        clock: stamps rows.
        stack: gets what must be ended.
        base_url: http://127.0.0.1:PORT of an embedded exchange that runs already.
        starting: our own exchange, for the venue `embedded` without a base_url.
    Raises:
        UsageError: a symbol that the venue does not have, or a venue that is not known.
        RunError: the venue cannot be reached.
    """
    if venue not in VENUES:
        raise UsageError(f"--venue {venue}: there are {', '.join(VENUES)}")
    exchange = None
    wanted = [split_symbol(symbol)[0] for symbol in symbols]
    base_rest = base_ws = None
    if base_url:
        base_rest, base_ws = base_url, stream_base(base_url)
    elif venue == EMBEDDED:
        assert starting is not None
        exchange = await asyncio.to_thread(starting.ready)
        stack.push_async_callback(asyncio.to_thread, exchange.stop)
        base_rest, base_ws = exchange.rest_url, exchange.streams_url
        logger("live").info("exchange", port=exchange.port, pid=exchange.process.pid)
        wanted = wanted or list(exchange.symbols)
    rest = SpotRest(clock.monotonic_ns, base_rest) if base_rest else SpotRest(clock.monotonic_ns)
    stack.push_async_callback(rest.close)
    try:
        instruments = await rest.instruments(wanted or list(DEFAULT_SYMBOLS), HAS, bar_interval_ns)
    except RestError as error:
        raise RunError(f"{venue} cannot be used: {error}") from None
    return Market(
        instruments, rest, base_ws, exchange, clock=clock, bar_interval_ns=bar_interval_ns
    )
