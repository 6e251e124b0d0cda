"""The benchmark load through NautilusTrader's live node (2.x): a tick handed over to an order sent.

    .venvs/nautilus-2.0.0rc7/bin/python benchmarks/nautilus_live.py --rate 0

Run by the interpreter of its own environment; prints one JSON object. The node runs without
network: a data client of ours hands ticks that were made beforehand to it as an adapter does, an
execution client of ours stamps the order that reaches it and reports it as filled. `--rate 0`: the
next tick comes when all that the last one caused is over; else ticks come at the load's clustered
arrivals, whatever the node does. Features, model and orders are those of benchmarks/ticks.py.
"""

import argparse
import asyncio
import gc
import json
import os
import sys
import time
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import nautilus_trader  # noqa: E402
import numpy as np  # noqa: E402
from nautilus_trader.common import Environment, LoggerConfig  # noqa: E402
from nautilus_trader.config import DataClientConfig, ExecutionClientConfig  # noqa: E402
from nautilus_trader.live import (  # noqa: E402
    LiveExecutionEngineConfig,
    LiveNode,
    LiveRiskEngineConfig,
)
from nautilus_trader.live.clients import (  # noqa: E402
    DataClientFactory,
    ExecutionClient,
    ExecutionClientFactory,
    MarketDataClient,
)
from nautilus_trader.model import (  # noqa: E402
    AccountBalance,
    AccountId,
    AccountType,
    Currency,
    LiquiditySide,
    Money,
    OmsType,
    OrderSide,
    TradeId,
    TraderId,
    VenueOrderId,
)
from nautilus_trader.trading import StrategyConfig  # noqa: E402

from benchmarks.nautilus_v2 import VENUE, Bench, prepare  # noqa: E402
from benchmarks.peers_nautilus import Trader  # noqa: E402
from benchmarks.ticks import verified  # noqa: E402

WARM_SHARE = 0.05  # of the ticks, not counted
SETTLE_S = 0.5
STUCK_S = 20.0
QUIET = LoggerConfig(bypass_logging=True)
PERCENTILES = (50.0, 99.0, 99.9)


class Stamps:
    """When each tick was handed over and its order reached the execution client, ns."""

    def __init__(self, n):
        self.given = [0] * n
        self.sent = [0] * n
        self.ordering = []  # ticks whose order has not reached the client yet
        self.pending = 0  # orders without a fill
        self.ready = False
        self.trader = None
        self.objects = []
        self.instruments = []
        self.due = None
        self.stop = None


STAMPS = None


class Feed(MarketDataClient):
    """Hands the ticks over."""

    async def _connect(self):
        for instrument in STAMPS.instruments:
            self._handle_instrument(instrument)
        self.create_task(self._feed())

    async def _disconnect(self):
        pass

    async def _subscribe_quotes(self, command):
        pass

    async def _subscribe_trades(self, command):
        pass

    async def _unsubscribe_quotes(self, command):
        pass

    async def _unsubscribe_trades(self, command):
        pass

    async def _feed(self):
        while not STAMPS.ready:
            await asyncio.sleep(0.05)
        await asyncio.sleep(SETTLE_S)
        gc.collect()
        gc.freeze()
        await (self._closed() if STAMPS.due is None else self._open())
        STAMPS.stop()

    async def _closed(self):
        stamps, trader = STAMPS, STAMPS.trader
        handle, clock, given = self._handle_data, time.perf_counter_ns, stamps.given
        for k, tick in enumerate(stamps.objects):
            given[k] = clock()
            handle(tick)
            until = time.monotonic() + STUCK_S
            while trader.seen <= k or stamps.pending:
                await asyncio.sleep(0)
                if time.monotonic() > until:
                    raise RuntimeError(f"stuck at {k}: {trader.seen}, {stamps.pending}")

    async def _open(self):
        stamps, trader = STAMPS, STAMPS.trader
        handle, clock, given = self._handle_data, time.perf_counter_ns, stamps.given
        start, k, n = clock(), 0, len(stamps.objects)
        while k < n:
            now = clock() - start
            while k < n and stamps.due[k] <= now:
                given[k] = clock()
                handle(stamps.objects[k])
                k += 1
            await asyncio.sleep(0)
        until = time.monotonic() + STUCK_S
        while (trader.seen < n or stamps.pending) and time.monotonic() < until:
            await asyncio.sleep(0.01)


class Sink(ExecutionClient):
    """Stamps an order and reports it as filled."""

    filled = 0

    async def _connect(self):
        usdt = Currency.from_str("USDT")
        balance = AccountBalance(Money(1e9, usdt), Money(0.0, usdt), Money(1e9, usdt))
        self.generate_account_state([balance], [], True, self.clock.timestamp_ns())

    async def _disconnect(self):
        pass

    async def _submit_order(self, command):
        at = time.perf_counter_ns()
        stamps = STAMPS
        stamps.sent[stamps.ordering.pop(0)] = at
        order = (
            command.order
            if hasattr(command, "order")
            else self.cache.order(command.client_order_id)
        )
        now = self.clock.timestamp_ns()
        Sink.filled += 1
        number = str(Sink.filled)
        self.generate_order_submitted(order)
        self.generate_order_accepted(order, VenueOrderId(number), now)
        touch = self.cache.quote(order.instrument_id)
        price = touch.ask_price if order.side == OrderSide.BUY else touch.bid_price
        self.generate_order_filled(
            order, VenueOrderId(number), None, TradeId(number), order.quantity, price,
            Currency.from_str("USDT"), None, LiquiditySide.TAKER, now,
        )  # fmt: skip

    async def _generate_mass_status(self, lookback_mins):
        return None


class Feeds(DataClientFactory):
    """Makes the data client."""

    @staticmethod
    def create(*, name, config, cache, clock):
        return Feed(name=name, config=config, cache=cache, clock=clock, venue=VENUE)


class Sinks(ExecutionClientFactory):
    """Makes the execution client."""

    @staticmethod
    def create(*, name, config, cache, clock, trader_id):
        return Sink(
            name=name, config=config, cache=cache, clock=clock, trader_id=trader_id, venue=VENUE,
            account_id=AccountId("SIM-001"), account_type=AccountType.MARGIN,
            oms_type=OmsType.NETTING,
        )  # fmt: skip


class LiveBench(Bench):
    """The strategy of the replays, stamped."""

    def on_start(self):
        super().on_start()
        STAMPS.ready = True

    def act(self, key, side):
        if side:
            STAMPS.ordering.append(self.trader.seen - 1)
            STAMPS.pending += 1
        super().act(key, side)

    def on_order_filled(self, event):
        super().on_order_filled(event)
        STAMPS.pending -= 1


def run(n, rate, model):
    """Run the node over the first `n` ticks; return the numbers to print."""
    global STAMPS
    ticks = verified(max(n, 200_000))
    ticks = {name: column[:n] for name, column in ticks.items()}
    STAMPS = stamps = Stamps(n)
    stamps.instruments, stamps.objects = prepare(ticks)
    stamps.trader = Trader("force", str(model))
    if rate:
        gaps = np.diff(ticks["ts_ns"], prepend=ticks["ts_ns"][0]).astype(np.float64)
        stamps.due = np.cumsum(gaps * (1e9 / rate / gaps.mean())).astype(np.int64).tolist()
    builder = LiveNode.builder("BENCH", TraderId("BENCH-001"), Environment.LIVE)
    builder = builder.with_reconciliation(False).with_timeout_connection(10)
    builder = builder.with_delay_post_stop_secs(0).with_logging(QUIET)
    builder = builder.with_risk_engine_config(
        LiveRiskEngineConfig(max_order_submit_rate="1000000/00:00:01")
    )
    builder = builder.with_exec_engine_config(LiveExecutionEngineConfig(reconciliation=False))
    builder = builder.add_data_client("SIM", Feeds(), DataClientConfig())
    builder = builder.add_exec_client("SIM", Sinks(), ExecutionClientConfig())
    node = builder.build()
    stamps.stop = node.handle().stop
    node.add_strategy(LiveBench(StrategyConfig(), stamps.instruments, stamps.trader))

    async def hosted():
        await node.run_async()

    asyncio.run(hosted())
    return stamps


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--n", type=int, default=50_000)
    parser.add_argument("--rate", type=float, default=0.0)
    parser.add_argument("--model", type=Path, default=ROOT / "build" / "peer_models" / "mlp.onnx")
    given = parser.parse_args()
    stamps = run(given.n, given.rate, given.model)
    taken = np.array(
        [sent - begun for sent, begun in zip(stamps.sent, stamps.given, strict=True) if sent][
            int(given.n * WARM_SHARE / 10) :
        ]
    )
    p50, p99, p999 = (float(v) / 1e3 for v in np.percentile(taken, PERCENTILES))
    trader = stamps.trader
    print(
        json.dumps(
            {
                "peer": "NautilusTrader live node",
                "version": nautilus_trader.__version__,
                "rate": given.rate,
                "events": trader.seen,
                "orders": trader.orders,
                "fills": trader.fills,
                "denied": trader.denied,
                "checksum": trader.checksum,
                "p50_us": p50,
                "p99_us": p99,
                "p999_us": p999,
            }
        )
    )


if __name__ == "__main__":
    main()
