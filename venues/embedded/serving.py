"""Run an exchange in this process until it is told to end: ports, signals, lifeline, duration."""

import asyncio
import os
import signal
from collections.abc import Callable

import msgspec
from aiohttp import web

from venues.embedded.control import Control
from venues.embedded.ledger import AccountSpec
from venues.embedded.lifeline import watch_pipe, watch_process
from venues.embedded.limits import RateLimits
from venues.embedded.market import Market
from venues.embedded.server import HOST, ExchangeServer, encode_line, open_site, runner_of


class ServingSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How an exchange is run."""

    port: int = 0
    control_port: int = 0
    control_token: str = ""  # empty: no control port
    speed: float = 1.0
    duration_s: float = 0.0  # 0: until it is told to end
    parent_pid: int = 0
    lifeline_fd: int = -1

    def __repr__(self) -> str:
        return f"ServingSettings(port={self.port})"  # never the token


def serve(
    market: Market,
    accounts: tuple[AccountSpec, ...],
    limits: RateLimits,
    settings: ServingSettings,
    announce: Callable[[str], None],
) -> None:
    """Run until SIGTERM, SIGINT, the duration, the parent's end, or the control port says so.

    Args:
        market: who else trades.
        accounts: whose orders are taken.
        limits: of requests and orders.
        settings: ports and ends.
        announce: called once with one line of JSON when everything listens.
    Raises:
        RunError: a port is taken.
        UsageError: the parent is not there.
    """
    import uvloop

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(market, accounts, limits, settings, announce))


async def _serve(
    market: Market,
    accounts: tuple[AccountSpec, ...],
    limits: RateLimits,
    settings: ServingSettings,
    announce: Callable[[str], None],
) -> None:
    """Open, announce, run."""
    loop = asyncio.get_running_loop()
    server = ExchangeServer(market, accounts, limits, settings.speed)
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, server.stop)
    if settings.parent_pid:
        watch_process(settings.parent_pid, server.stop)
    if settings.lifeline_fd >= 0:
        watch_pipe(settings.lifeline_fd, server.stop)
    if settings.duration_s > 0:
        loop.call_later(settings.duration_s, server.stop)
    control: web.AppRunner | None = None
    try:
        await server.start(settings.port)
        line = {
            "port": server.port,
            "rest": f"http://{HOST}:{server.port}",
            "streams": f"ws://{HOST}:{server.port}",
            "ws_api": f"ws://{HOST}:{server.port}/ws-api/v3",
            "pid": os.getpid(),
            "symbols": list(server.exchange.symbols),
            "market": market.name,
            "seed": market.seed,
        }
        if settings.control_token:
            control = runner_of(Control(server, settings.control_token).application())
            await control.setup()
            line["control_port"] = (await open_site(control, settings.control_port))[1]
        announce(encode_line(line))
        await server.run()
    finally:
        if control is not None:
            await control.cleanup()
