"""The exchange as a server: market, sockets, REST and their tasks, from start to clean end."""

import asyncio
import socket
import time
from collections.abc import Iterator
from typing import Any

import msgspec
from aiohttp import web

from engine.errors import RunError
from venues.embedded.account_api import AccountApi
from venues.embedded.connection import Connection
from venues.embedded.endpoints import socket_table
from venues.embedded.exchange import Exchange
from venues.embedded.faults import FaultBook
from venues.embedded.flood import Flood
from venues.embedded.frames import frame
from venues.embedded.house import apply_event
from venues.embedded.ledger import AccountSpec
from venues.embedded.limits import Meter, RateLimits
from venues.embedded.market import QUOTE_EVENT, Market
from venues.embedded.market_sockets import MarketSockets
from venues.embedded.messages import combined
from venues.embedded.public_api import PublicApi
from venues.embedded.pump import Pump
from venues.embedded.rest import RestApi
from venues.embedded.streams import MarketStreams
from venues.embedded.user_sockets import UserSockets

HOST = "127.0.0.1"
TICK_S = 0.1
MINUTE_NS = 60_000_000_000
MAX_BODY_BYTES = 1 << 16


class ExchangeServer:
    """One exchange on one port of this machine."""

    def __init__(
        self, market: Market, accounts: tuple[AccountSpec, ...], limits: RateLimits, speed: float
    ) -> None:
        """Build everything; nothing listens yet.

        Args:
            market: who else trades. Its `live_ns` becomes the minute that is running now, so that
                minutes of the history are whole minutes of the clock.
            accounts: whose orders are taken.
            limits: request weights and order counts.
            speed: market seconds a second, above 0.
        """
        self.offset_ns = 0  # of the exchange's clock against this machine's
        self._began = time.monotonic_ns()
        self._wall_ns = time.time_ns()
        opened = self._wall_ns - self._wall_ns % MINUTE_NS
        shift_ms = (opened - market.live_ns) // 1_000_000
        self.exchange = Exchange(market, accounts, self.now_ns, shift_ms)
        self.meter = Meter(limits, lambda: self.exchange.now_ms)
        self.exchange.listeners.append(self.meter)
        self.faults = FaultBook()
        for symbol, one in zip(self.exchange.symbols.values(), market.symbols):
            apply_event(self.exchange, symbol, (0, QUOTE_EVENT, *one.touch))
        self.pump = Pump(self.exchange, market.live_ns, opened, 1.0)
        self.pump.catch_up(self.wall_ns())
        self.pump.set_speed(speed, self.wall_ns())
        self.streams = MarketStreams(self.exchange)
        public = PublicApi(self.exchange, limits)
        account = AccountApi(self.exchange, public, self.meter)
        self.rest = RestApi(self.exchange, (public, account), self.meter, self.faults)
        self.sockets = MarketSockets(self.streams, self.faults, limits.market_requests_per_s)
        table = socket_table(self.rest.table)
        self.users = UserSockets(self.exchange, table, self.meter, self.faults)
        self.flood = Flood(self.streams)
        self.port = 0
        self._stopping = asyncio.Event()
        self._runner: web.AppRunner | None = None
        self._site: web.SockSite | None = None

    def wall_ns(self) -> int:
        """Return this machine's time at the start plus what has passed since: it never steps."""
        return self._wall_ns + time.monotonic_ns() - self._began

    def now_ns(self) -> int:
        """Return the exchange's time."""
        return self.wall_ns() + self.offset_ns

    def set_speed(self, speed: float) -> None:
        """Change how fast market time runs."""
        self.pump.set_speed(speed, self.wall_ns())

    def stop(self) -> None:
        """End `run` soon."""
        self._stopping.set()

    async def start(self, port: int) -> None:
        """Listen. `port` then holds the port.

        Raises:
            RunError: the port is taken.
        """
        app = web.Application(client_max_size=MAX_BODY_BYTES)
        app.router.add_get("/ws", self.sockets.handle)
        app.router.add_get("/ws/{names:.*}", self.sockets.handle)
        app.router.add_get("/stream", self.sockets.handle)
        app.router.add_get("/stream/ws", self.sockets.handle)
        app.router.add_get("/stream/ws/{names:.*}", self.sockets.handle)
        app.router.add_get("/ws-api/v3", self.users.handle)
        app.router.add_get("/ws-api/v3/{rest:.*}", self.users.handle)
        app.router.add_route("*", "/{path:.*}", self.rest.handle)
        self._runner = runner_of(app)
        await self._runner.setup()
        self.port = port
        await self.listen(True)

    async def listen(self, wanted: bool) -> None:
        """Take new connections, or refuse them; open ones stay as they are.

        Raises:
            RunError: the port is taken.
        """
        assert self._runner is not None
        if wanted and self._site is None:
            self._site, self.port = await open_site(self._runner, self.port)
        elif not wanted and self._site is not None:
            await self._site.stop()
            self._site = None

    async def run(self) -> None:
        """Let the market run until `stop`, then close everything."""
        tasks = [asyncio.create_task(self._run_market()), asyncio.create_task(self._run_clock())]
        stopping = asyncio.create_task(self._stopping.wait())
        try:
            await asyncio.wait([*tasks, stopping], return_when=asyncio.FIRST_COMPLETED)
            for task in tasks:
                if task.done():
                    task.result()  # a task that ended has failed: say why
        finally:
            for task in (*tasks, stopping, *([self.flood.task] if self.flood.task else [])):
                task.cancel()
            await asyncio.gather(*tasks, stopping, return_exceptions=True)
            await self._close()

    async def _close(self) -> None:
        """Close sockets and listener."""
        for connection in list(self.connections()):
            connection.close(1001, "shutdown")
        if self._runner is not None:
            await self._runner.cleanup()

    async def _run_market(self) -> None:
        """Apply the market's events when they are due."""
        while True:
            wait_s = self.pump.run(self.wall_ns())
            await asyncio.sleep(max(wait_s, 0.001) if wait_s else 0)

    async def _run_clock(self) -> None:
        """Send what goes out each 100 ms."""
        loop = asyncio.get_running_loop()
        due = loop.time()
        while True:
            due = max(due + TICK_S, loop.time())
            await asyncio.sleep(due - loop.time())
            self.streams.tick()
            if self.exchange.late:
                self.exchange.tell_late()

    def connections(self) -> Iterator[Connection]:
        """Yield the open sockets."""
        yield from self.streams.connections
        yield from self.users.connections

    def end_connections(self, target: str, how: str) -> int:
        """Announce a shutdown to open sockets, close or reset them. Returns how many."""
        now = self.exchange.now_ms
        chosen = [c for c in self.connections() if target in ("all", c.target)]
        notice = f'{{"e":"serverShutdown","E":{now}}}'
        for connection in chosen:
            if how == "close":
                connection.close(1001)
            elif how == "reset":
                connection.reset()
            elif connection.target == "user":
                connection.write(frame(f'{{"event":{notice}}}'.encode()))
            else:
                text = combined("!serverShutdown", notice) if connection.combined else notice
                connection.write(frame(text.encode()))
        return len(chosen)

    def state(self) -> dict[str, Any]:
        """Return counters for tests and people."""
        return {
            "market": self.exchange.market.name,
            "seed": self.exchange.market.seed,
            "speed": self.pump.speed,
            "serverTime": self.exchange.now_ms,
            "events": self.pump.applied,
            "published": self.streams.published,
            "requests": self.rest.requests,
            "weight": self.meter.weight,
            "connections": {
                "market": len(self.streams.connections), "user": len(self.users.connections),
            },
            "subscriptions": sorted(self.streams.subscribers),
            "faults": self.faults.described(),
            "symbols": {
                one.name: {"status": one.status, "update_id": one.book.update_id}
                for one in self.exchange.symbols.values()
            },
        }  # fmt: skip


def runner_of(app: web.Application) -> web.AppRunner:
    """Return a runner without access log, that ends at once."""
    return web.AppRunner(app, access_log=None, shutdown_timeout=0.2, handle_signals=False)


async def open_site(runner: web.AppRunner, port: int) -> tuple[web.SockSite, int]:
    """Listen on this machine. Returns the site and its port.

    Raises:
        RunError: the port cannot be had.
    """
    try:
        listener = socket.create_server((HOST, port), backlog=512)
    except OSError as error:
        raise RunError(f"exchange: port {port} cannot be opened ({error.strerror})") from None
    site = web.SockSite(runner, listener)
    await site.start()
    return site, int(listener.getsockname()[1])


def encode_line(value: dict[str, Any]) -> str:
    """Return the one line that says where the exchange is."""
    return msgspec.json.encode(value).decode()
