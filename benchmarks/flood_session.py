"""What a flood does to a paper session, seen from inside its process; prints one JSON object.

    python -m benchmarks.flood_session --base-url http://127.0.0.1:PORT --runs-dir DIR
    python -m benchmarks.flood_session --base-url http://127.0.0.1:PORT --bare

The session is that of `run_live.py --paper` on an exchange that runs already. `--bare` is the
floor: the same transport and subscription, and messages that are received and forgotten. Both write
one line when they listen, then run until their stdin closes. Times are the monotonic clock's, which
all processes of a machine share.
"""

import argparse
import asyncio
import contextlib
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import uvloop

from app.live import Job, Session
from app.market_feed import open_market
from app.notify import Notifier
from app.outcome import new_run_dir
from app.wire import plan
from benchmarks.proc_memory import rss_anon_mib
from config.load import load_settings
from config.settings import Settings
from engine.clock import SystemClock
from engine.rows import NS_PER_S, Kind
from engine.tape import Tape
from venues.binance_spot.feed import SpotFeed
from venues.transport import TransportLimits, WebsocketTransport

SYMBOL = "BTCUSDT"
SAMPLE_S = 0.05


class Samples:
    """A line each 50 ms: (monotonic s, messages so far, wakes so far, MiB)."""

    def __init__(self) -> None:
        self.lines: list[tuple[float, int, int, float]] = []
        self.wakes = 0
        self.feed: SpotFeed | None = None
        self.messages = 0  # of the bare loop

    async def run(self) -> None:
        """Sample until cancelled."""
        while True:
            seen = self.messages if self.feed is None else self.feed.health.messages
            self.lines.append((time.monotonic(), seen, self.wakes, rss_anon_mib()))
            await asyncio.sleep(SAMPLE_S)


async def until_stdin_closes() -> None:
    """Return when the parent has closed our stdin."""
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)


async def session(base_url: str, settings: Settings) -> dict[str, Any]:
    """Run a paper session until stdin closes."""
    clock, samples = SystemClock(), Samples()
    job = Job(settings=settings, report=False, symbols=(SYMBOL,))
    async with contextlib.AsyncExitStack() as stack:
        market = await open_market(
            "embedded",
            job.symbols,
            bar_interval_ns=settings.engine.bar_interval_s * NS_PER_S,
            clock=clock,
            stack=stack,
            base_url=base_url,
        )
        parts = plan(settings, market.instruments, ())
        run = new_run_dir(Path(settings.runs_dir))
        notifier = Notifier(settings.notify, os.environ)
        one = Session(job, market, parts, run, clock=clock, notifier=notifier)
        make_feed, wake = market.feed, one.wake

        def feed(*given: Any, **named: Any) -> Any:
            samples.feed = make_feed(*given, **named)
            return samples.feed

        def counted() -> None:
            samples.wakes += 1
            wake()

        market.feed, one.wake = feed, counted  # type: ignore[method-assign]
        sampling = asyncio.create_task(samples.run())
        running = asyncio.create_task(one.run())
        print('{"listens": true}', flush=True)
        await until_stdin_closes()
        one.stop.set()
        summary = await running
        sampling.cancel()
    rows = Tape.open(Path(summary.run_dir) / "tape")
    kinds = sum(np.bincount(s.rows["kind"], minlength=64) for s in rows.segments)
    assert samples.feed is not None
    health = samples.feed.health
    return {
        "samples": samples.lines,
        "rows": rows.info.rows,
        "quotes": int(kinds[int(Kind.QUOTE)]),
        "wake_rows": int(kinds[int(Kind.WAKE)]),
        "dropped": health.dropped_messages,
        "connects": health.connects,
        "decisions": summary.decisions,
        "run_dir": summary.run_dir,
    }


async def bare(base_url: str) -> dict[str, Any]:
    """Receive and forget until stdin closes."""
    samples = Samples()
    url = base_url.replace("http", "ws", 1) + "/stream"
    connection = await WebsocketTransport(TransportLimits()).connect(url)
    names = [f"{SYMBOL.lower()}@bookTicker"]
    await connection.send(json.dumps({"method": "SUBSCRIBE", "params": names, "id": 1}))

    async def read() -> None:
        receive = connection.receive
        while True:
            await receive()
            samples.messages += 1

    tasks = [asyncio.create_task(samples.run()), asyncio.create_task(read())]
    print('{"listens": true}', flush=True)
    await until_stdin_closes()
    for task in tasks:
        task.cancel()
    await connection.close(abort=True)
    return {"samples": samples.lines}


def main() -> int:
    """Parse the command line, run, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--base-url", required=True)
    parser.add_argument("--runs-dir", default="runs")
    parser.add_argument("--bare", action="store_true", help="the floor")
    given = parser.parse_args()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        if given.bare:
            found = runner.run(bare(given.base_url))
        else:
            settings = msgspec.structs.replace(load_settings(None), runs_dir=given.runs_dir)
            found = runner.run(session(given.base_url, settings))
    print(json.dumps(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
