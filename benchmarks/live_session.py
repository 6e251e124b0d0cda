"""A live session without sockets: the real feed, pipeline, journal and order adapter, on one load.

Everything between the bytes of a message and the adapter's call of the exchange's library is what
`run_live.py --live` runs: Intake, live tape, `Session.wake`, gate, LiveOrders, CcxtOrders, the
account's journal. The exchange's library is replaced by one that fills each order at once, and the
clock by one that tells the load's time, so that features and checksums are those of every run.
"""

import asyncio
import os
import shutil
import tempfile
import time
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec

from app.live import Session
from app.live_books import balances_of
from app.live_inbox import Inbox
from app.live_orders import LiveOrders
from app.live_run import LiveJob, ModelNames, with_balances
from app.live_urls import Urls
from app.market_feed import Market
from app.notify import Notifier
from app.outcome import new_run_dir
from app.wire import plan
from benchmarks import tapes, ticks, traders
from benchmarks.ours import bench_settings
from config.settings import Settings, StrategySettings
from engine.account import Account
from engine.account_marks import declare_balance, market_of
from engine.book_sync import FIRST_TO_LAST
from engine.clock import SystemClock
from engine.journal_sync import GroupCommit
from engine.run_files import Summary
from venues.ccxt_client import Answer
from venues.intake import Intake
from venues.lines import IntakeLimits
from venues.order_brake import Brake
from venues.order_queries import OrderQueries, Traded
from venues.orders_ccxt import CcxtOrders
from venues.outcome import Attempt, rules_of
from venues.rate_budget import RateBudget

MANY = (10**9, 0.001)  # requests that may leave: the load's orders are never held back
TURNS = 20_000  # turns of the loop in which an order's answer must have come
WAIT_S = 0.0002  # a turn where the disk is waited for
Load = list[tuple[bytes, bool, int]]


def messages(n: int) -> Load:
    """Write the first `n` ticks as the venue's frames: (frame, is a quote, ns)."""
    load = ticks.verified(200_000) if n <= 200_000 else ticks.verified(n)
    found: Load = []
    trades = [0] * len(ticks.LISTINGS)
    columns = {name: column[:n].tolist() for name, column in load.items()}
    for k in range(n):
        at, ts = columns["inst"][k], columns["ts_ns"][k]
        symbol = ticks.LISTINGS[at].symbol
        if columns["kind"][k] == ticks.QUOTE:
            text = (
                f'{{"u":{400900217 + k},"s":"{symbol}","b":"{columns["bid"][k]:.8f}",'
                f'"B":"{columns["bid_size"][k]:.8f}","a":"{columns["ask"][k]:.8f}",'
                f'"A":"{columns["ask_size"][k]:.8f}"}}'
            )
        else:
            stamp, maker = ts // 1_000_000, "true" if columns["side"][k] < 0 else "false"
            text = (
                f'{{"e":"trade","E":{stamp},"s":"{symbol}","t":{trades[at]},'
                f'"p":"{columns["price"][k]:.8f}","q":"{columns["size"][k]:.8f}","T":{stamp},'
                f'"m":{maker},"M":true}}'
            )
            trades[at] += 1
        found.append((text.encode(), columns["kind"][k] == ticks.QUOTE, ts))
    return found


class FillsAtOnce:
    """Stands for ccxt: every order is filled at its limit before the call returns."""

    name = "binance"

    def __init__(self) -> None:
        self.rules = rules_of("binance")
        self.called_ns = 0
        self.calls = 0

    async def call(self, method: str, *args: Any, guard: object = None) -> Answer:
        """Answer `create_order` as the exchange would."""
        self.called_ns = time.perf_counter_ns()
        assert method == "create_order", method
        self.calls += 1
        symbol, _, side, amount, price, given = args
        number = str(self.calls)
        trade = {
            "id": number, "order": number, "side": side, "amount": amount, "price": price,
            "timestamp": 1, "takerOrMaker": "taker", "symbol": symbol,
        }  # fmt: skip
        attempt = Attempt()
        attempt.began, attempt.sent, attempt.status, attempt.body = 1, True, 200, "{}"
        told = {
            "id": number, "clientOrderId": given["clientOrderId"], "status": "closed",
            "side": side, "amount": amount, "filled": amount, "price": price, "trades": [trade],
        }  # fmt: skip
        return Answer(told, attempt)


class LiveLine:
    """The session and what a driver needs of it; make it on a running loop.

    Args:
        load: of `messages`.
        policy: of the journal: written or synced.
        folder: where run and account lie.
        strategy: of benchmarks/traders.py.
    """

    def __init__(self, load: Load, policy: str, folder: Path, strategy: str = "bench_buy") -> None:
        self.load = load
        self.folder = folder
        self._now = load[0][2]
        self.clock = self._clock(load[0][2])
        settings = _settings(folder, strategy)
        instruments = tuple(
            msgspec.structs.replace(one, venue="embedded") for one in tapes.tick_instruments()
        )
        self.inbox = Inbox(self.clock.now_ns)
        place = folder / "account"
        self.account = Account(place, self.inbox.tell, self.clock.now_ns, policy=policy)
        self.account.start_run(7)
        for asset, amount in settings.portfolio.balances.items():
            declare_balance(self.account, asset, Decimal(amount), "what the benchmark begins with")
        settings = with_balances(settings, balances_of(self.account))
        self.exchange = FillsAtOnce()
        loop_time = asyncio.get_running_loop().time
        brake = Brake(RateBudget(MANY, MANY, MANY), self.account.tell, loop_time)
        traded = [
            Traded(market_of(self.account, one), f"{one.base}/{one.quote}", one.symbol)
            for one in instruments
        ]
        queries = OrderQueries(
            self.exchange,  # type: ignore[arg-type]
            self.account,
            {one.market.instrument.symbol: one for one in traded},
            brake,
            loop_time,
        )
        self.commit = GroupCommit(self.account.journal)
        models = ModelNames(self.account)
        self.orders = CcxtOrders(queries, self.commit, traded, models.numbers)
        desk: Any = SimpleNamespace(account=self.account, orders=self.orders, close=self._close)
        job = LiveJob(settings=settings, urls=Urls("", "", ""), report=False)
        parts = plan(settings, instruments, ())
        for serving in parts.models:
            models.serves(serving)
        self.venue = LiveOrders(desk, self.inbox, place, self.clock)
        self.session = Session(
            job,
            Market(instruments, None, None, None, clock=self.clock, bar_interval_ns=60 * 10**9),  # type: ignore[arg-type]
            parts,
            new_run_dir(Path(settings.runs_dir)),
            clock=self.clock,
            notifier=Notifier(settings.notify, os.environ),
            venue=self.venue,
        )
        self.intake = Intake(
            self.session.tape,
            range(len(instruments)),
            FIRST_TO_LAST,
            IntakeLimits(),
            on_event=lambda code, fields: None,
            wants=lambda want, line: None,
        )
        self.intake.connected(self.clock.now_ns())
        self.session.wake()

    def _clock(self, first: int) -> SystemClock:
        """Return one of the load's time, at the machine's price: one call as SystemClock's own."""
        clock, machine = SystemClock(lambda: 0, lambda: self._now), time.monotonic_ns
        clock.now_ns = lambda: machine() and self._now - first
        return clock

    def taker(self) -> Callable[[int], None]:
        """Return the function that takes message k."""
        load, take, wake = self.load, self.intake.take, self.session.wake
        now_ns = self.clock.now_ns

        def step(k: int) -> None:
            take(load[k][0], now_ns())
            wake()

        return step

    def at(self, k: int) -> None:
        """Set the clock to the time of message k."""
        self._now = self.load[k][2]

    async def answered(self) -> None:
        """Let the orders that were handed over be sent and answered; book the answers."""
        pause_s = 0.0 if self.account.journal.policy == "written" else WAIT_S
        for _ in range(TURNS):
            if not self.orders.sending:
                break
            await asyncio.sleep(pause_s)
        assert not self.account.state.live, "an order is not over"
        self.session.drain()
        if self.account.journal.wants_ahead():
            self.account.journal.allocate_ahead()
        self.session.rehearse()  # as LiveOrders.watch does once an answer is booked

    async def _close(self) -> None:
        await self.orders.close()
        await self.commit.close()
        self.account.journal.close()

    async def close(self) -> Summary:
        """End the session as `Session.run` does."""
        self.session.drain()
        await self.venue.finish()
        return self.session._close(1.0)


def _settings(folder: Path, strategy: str) -> Settings:
    """Return the settings of an order after each inference."""
    trading = bench_settings("force", 1, folder / "runs")
    assert traders.Buy.PARAMS == {}, "importing it has registered the strategies"
    strategies = (StrategySettings(name=strategy),)
    settings = msgspec.structs.replace(trading, strategies=strategies)
    risk = msgspec.structs.replace(settings.risk, max_price_deviation_pct=1.0)
    return msgspec.structs.replace(settings, risk=risk)


def scratch() -> tuple[Path, Callable[[], None]]:
    """Return a new folder and the function that removes it."""
    folder = Path(tempfile.mkdtemp(prefix="tickgate-bench-"))
    return folder, lambda: shutil.rmtree(folder, ignore_errors=True)
