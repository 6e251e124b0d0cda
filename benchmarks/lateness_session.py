"""How late market data is processed by a paper session: idle, a transformer asked, a model loading.

    python -m benchmarks.lateness_session --turns 9

One session, one websocket from a sender of its own (benchmarks/lateness_sender.py) with 2,000
messages a second at fixed times. Stretches take turns: on BTCUSDT only a small inline model is
asked (idle); on ETHUSDT it and a transformer on a thread, a hundred times a second; on BTCUSDT
while versions of a 10 MB model, which nobody asks, are loaded one after the other. Lateness is from
the moment when the sender, which waits for nobody, hands a message to its socket, to the end of the
wake that processed its row. Prints one JSON object.
"""

import argparse
import asyncio
import contextlib
import json
import os
import shutil
import sys
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import msgspec
import numpy as np
import uvloop

from app.live import Session
from app.live_job import Job
from app.market_feed import Market
from app.notify import Notifier
from app.outcome import new_run_dir
from app.warm import warm
from app.wire import plan
from benchmarks import lateness_models, live_session
from benchmarks.artifacts import artifacts
from benchmarks.ours import bench_settings
from benchmarks.proc_memory import rss_anon_mib
from config.settings import ModelSettings, Settings
from engine.clock import SystemClock
from engine.instruments import Instrument
from engine.rows import Kind
from engine.tape import Tape
from ml.registry import promote
from venues.binance_spot.feed import FeedParams, SpotFeed
from venues.binance_spot.statuses import TRADING
from venues.lines import IntakeLimits
from venues.transport import TransportLimits, WebsocketTransport

RATE = 2_000
PERIOD_NS = 1_000_000_000 // RATE
PIECE_S, WARM_S, BETWEEN_S = 1.0, 1.5, 0.2
PAUSE_S = 0.05  # between a swap and the next wish
LEAD_NS = 200_000_000  # between the order for a stretch and its first message
IDLE, ASKED, NOBODY = "BTCUSDT", "ETHUSDT", "BNBUSDT"
KINDS = {"idle": IDLE, "transformer": ASKED, "loading": IDLE}
LINE_BYTES = 16 << 20
LONG_NS = 600_000_000_000
PERCENTILES = (50.0, 99.0, 99.9, 100.0)


class Statuses:
    """Stands for the venue's REST interface: everything trades."""

    async def statuses(self, symbols: list[str]) -> dict[str, str]:
        """Answer for each symbol."""
        return dict.fromkeys(symbols, TRADING)


class SentMarket(Market):
    """The sender's market."""

    def feed(self, tape: Any, **given: Any) -> SpotFeed:
        """Return a feed that has no history to fetch, and takes silence for what it is here."""
        del given["history"]
        assert self._base_ws is not None
        return SpotFeed(
            FeedParams(base_ws=self._base_ws, limits=IntakeLimits(stale_ns=LONG_NS)),
            tape,
            clock=self._clock,
            transport=WebsocketTransport(TransportLimits()),
            rest=Statuses(),  # type: ignore[arg-type]
            **given,
        )


class Timed(Session):
    """A session that writes down when each wake was over, and up to which row."""

    ends: list[tuple[int, int]]

    def wake(self) -> None:
        """Note the end of a wake."""
        super().wake()
        self.ends.append((self.tape.rows, time.monotonic_ns()))


class Sender:
    """The other process."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    @classmethod
    async def start(cls) -> tuple["Sender", str]:
        """Start it; return it and the address of its streams."""
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "benchmarks.lateness_sender",
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, limit=LINE_BYTES,
        )  # fmt: skip
        one = cls(process)
        said = await one.heard()
        return one, f"ws://127.0.0.1:{said['port']}"

    async def heard(self) -> dict[str, Any]:
        """Return the next line that it says."""
        assert self._process.stdout is not None
        async with asyncio.timeout(60.0):
            return dict(json.loads(await self._process.stdout.readline()))

    async def stretch(self, symbol: str, count: int) -> tuple[np.ndarray, np.ndarray]:
        """Let it send; return when each message was due, and when it went, ns."""
        assert self._process.stdin is not None
        start = time.monotonic_ns() + LEAD_NS
        asked = {"symbol": symbol, "start_ns": start, "count": count, "period_ns": PERIOD_NS}
        self._process.stdin.write(json.dumps(asked).encode() + b"\n")
        said = await self.heard()
        due = start + PERIOD_NS * np.arange(count)
        return due, due + np.array(said["late_ns"])

    async def end(self) -> None:
        """Let it end; it does when its stdin is closed."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            async with asyncio.timeout(5.0):
                await self._process.wait()
        except TimeoutError:
            self._process.kill()
            await self._process.wait()


class Loader:
    """Asks for versions of the wide model, one after the other, with short pauses.

    Attributes:
        took_ms: from each wish until the version served.
        spans: the same as (from, to), ns.
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        self._swapped = asyncio.Event()
        self._served_ns = 0
        self.took_ms: list[float] = []
        self.spans: list[tuple[int, int]] = []
        session.parts.swaps.heard.append(self._hear)

    def _hear(self, _: object) -> None:
        self._served_ns = time.monotonic_ns()
        self._swapped.set()

    async def run(self) -> None:
        """Load until cancelled."""
        wide = next(s for s in self._session.parts.models if s.settings.name == "wide")
        while True:
            self._swapped.clear()
            began = time.monotonic_ns()
            version = str(int(wide.version) % len(lateness_models.WIDE_SEEDS) + 1)
            self._session.reloads.ask(lateness_models.WIDE, version, "benchmark")
            await self._swapped.wait()
            self.took_ms.append((self._served_ns - began) / 1e6)
            self.spans.append((began, self._served_ns))
            await asyncio.sleep(PAUSE_S)  # the version before the last is freed


class Pieces:
    """Drives the stretches of one session.

    Args:
        session: running.
        sender: connected.
    """

    def __init__(self, session: Timed, sender: Sender) -> None:
        self.session, self.sender = session, sender
        self.loader = Loader(session)
        self.anon_mib: list[float] = []  # after each stretch of loads
        self.done: list[tuple[str, np.ndarray, np.ndarray]] = []  # kind, due, sent

    async def run(self, turns: int, piece_s: float) -> None:
        """Warm up, then let the kinds take turns; end the session."""
        await self.sender.heard()
        for kind in KINDS:
            await self._piece(f"warm {kind}", KINDS[kind], WARM_S)
        self.loader.took_ms.clear()
        for _ in range(turns):
            for kind, symbol in KINDS.items():
                await self._piece(kind, symbol, piece_s)
        self.session.stop.set()

    async def _piece(self, kind: str, symbol: str, seconds: float) -> None:
        count = int(seconds * RATE)
        loading = asyncio.create_task(self.loader.run()) if kind.endswith("loading") else None
        due, sent = await self.sender.stretch(symbol, count)
        if loading is not None:
            loading.cancel()
            self.anon_mib.append(round(rss_anon_mib(), 1))
        self.done.append((kind, due, sent))
        await asyncio.sleep(BETWEEN_S)

    def lateness(self, tape: Tape) -> dict[str, dict[str, list[list[float]]]]:
        """Return the percentiles of each stretch by kind, us: from sent, and of the sender.

        Of stretches with loads, `loading` has the messages between a wish and the moment when the
        new version served, `pauses` all of them.
        """
        kinds = np.concatenate([np.asarray(s.rows["kind"]) for s in tape.segments])
        rows = np.flatnonzero((kinds == int(Kind.QUOTE)) | (kinds == int(Kind.TRADE)))
        count = sum(len(sent) for _, _, sent in self.done)
        assert len(rows) == count, f"{len(rows)} rows of {count} messages"
        ends = np.array(self.session.ends)
        over = ends[np.searchsorted(ends[:, 0], rows, side="right"), 1]
        found: dict[str, dict[str, list[list[float]]]] = {
            who: {kind: [] for kind in (*KINDS, "pauses")} for who in ("ours", "sender")
        }
        spans = np.array(self.loader.spans).reshape(-1, 2)
        at = 0
        for kind, due, sent in self.done:
            late = over[at : at + len(sent)] - sent
            at += len(sent)
            assert late.min() > 0, "processed before it was sent"
            if kind == "loading":
                last = np.searchsorted(spans[:, 0], sent, side="right") - 1
                inside = (last >= 0) & (sent <= spans[last, 1])
                found["ours"]["pauses"].append(percentiles(late))
                late, sent, due = late[inside], sent[inside], due[inside]
            if kind in KINDS:
                found["ours"][kind].append(percentiles(late))
                found["sender"][kind].append(percentiles(sent - due))
        return found


def percentiles(taken: np.ndarray) -> list[float]:
    """Return p50, p99, p99.9 and the largest, us."""
    return [round(float(v) / 1e3, 1) for v in np.percentile(taken, PERCENTILES)]


def settings_of(folder: Path) -> Settings:
    """Return the settings, and register their models in a folder."""
    root = folder / "artifacts"
    shutil.copytree(artifacts(), root, ignore=shutil.ignore_patterns("registry.l*"))
    lateness_models.register(root)
    for model_id in (lateness_models.TRANSFORMER, lateness_models.WIDE):
        promote(root, model_id, "1", why="for the benchmark", by="benchmarks")
    settings = bench_settings("model", 1, folder / "runs")
    (small,) = settings.models
    every = "every_n:20"
    models = (
        msgspec.structs.replace(small, symbols=(IDLE, ASKED)),
        ModelSettings(
            name="transformer",
            model_id=lateness_models.TRANSFORMER,
            cadence=every,
            symbols=(ASKED,),
        ),
        ModelSettings(name="wide", model_id=lateness_models.WIDE, cadence=every, symbols=(NOBODY,)),
    )
    return msgspec.structs.replace(settings, models=models, artifacts_dir=str(root))


def instruments() -> tuple[Instrument, ...]:
    """Return the tape's table."""
    has = ("quotes", "quote_sizes", "trades", "trade_sides")
    return tuple(
        Instrument(
            venue="embedded", symbol=symbol, base=symbol.removesuffix("USDT"), quote="USDT",
            tick="0.01", lot="0.001", has=has,
        )
        for symbol in (IDLE, ASKED, NOBODY)
    )  # fmt: skip


async def measure(folder: Path, turns: int, piece_s: float) -> dict[str, Any]:
    """Run the session; return the percentiles and what proves the work."""
    settings, clock = settings_of(folder), SystemClock()
    named = tuple(f"{lateness_models.WIDE}:{version}" for version in lateness_models.WIDE_SEEDS)
    job = Job(settings=settings, report=False, named=named)
    warm(settings, named, lambda _: None)
    async with contextlib.AsyncExitStack() as stack:
        sender, address = await Sender.start()
        stack.push_async_callback(sender.end)
        market = SentMarket(
            instruments(),
            None,
            address,
            None,
            clock=clock,
            bar_interval_ns=60 * 10**9,  # type: ignore[arg-type]
        )
        parts = plan(settings, market.instruments, named)
        run = new_run_dir(Path(settings.runs_dir))
        notifier = Notifier(settings.notify, os.environ)
        session = Timed(job, market, parts, run, clock=clock, notifier=notifier)
        session.ends = []
        pieces = Pieces(session, sender)
        driving = asyncio.create_task(pieces.run(turns, piece_s))
        driving.add_done_callback(lambda _: session.stop.set())
        summary = await session.run()
        await driving
    found: dict[str, Any] = {**pieces.lateness(Tape.open(run[1] / "tape"))}
    model = next(line for line in summary.models if line.name == "transformer")
    found["transformer"] = msgspec.to_builtins(model)
    found["stages"] = msgspec.to_builtins(summary.latency_us)
    found["anon_mib"] = pieces.anon_mib
    found["load_ms"] = pieces.loader.took_ms
    found["reloads"], found["refused"] = summary.reloads, session.reloads.refused
    return found


def main() -> int:
    """Parse the command line, run, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--turns", type=int, default=9, help="stretches of each kind")
    parser.add_argument("--piece-s", type=float, default=PIECE_S, help="length of a stretch")
    given = parser.parse_args()
    folder, remove = live_session.scratch()
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            found = runner.run(measure(folder, given.turns, given.piece_s))
    finally:
        remove()
    print(json.dumps(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
