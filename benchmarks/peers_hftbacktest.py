"""Replay the level-two load through hftbacktest; run by the interpreter of its own environment.

    .venvs/hftbacktest-2.4.4/bin/python benchmarks/peers_hftbacktest.py --mode features --book
    vector

Prints one JSON object. The strategy is jitted, as that library's users write them, and is woken on
every feed time: it reads the touch (`trivial`) or keeps twelve features (`features`).
"""

import argparse
import json
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import hftbacktest  # noqa: E402
import numpy as np  # noqa: E402
from hftbacktest import (  # noqa: E402
    BUY_EVENT,
    DEPTH_EVENT,
    EXCH_EVENT,
    LOCAL_EVENT,
    SELL_EVENT,
    TRADE_EVENT,
    BacktestAsset,
    HashMapMarketDepthBacktest,
    ROIVectorMarketDepthBacktest,
)
from hftbacktest.types import event_dtype  # noqa: E402
from numba import njit  # noqa: E402

from benchmarks import l2_rows  # noqa: E402

HOUR_NS = 3_600_000_000_000
ENDED = 1  # what the library returns at the end of the data
BUY = int(BUY_EVENT)
ORDER_LATENCY_NS = 5_000_000
WARM_ROWS = 20_000


def prepare(n):
    """Make the library's event array of the load."""
    rows = l2_rows.generate(n)
    events = np.zeros(n, event_dtype)
    base = int(EXCH_EVENT | LOCAL_EVENT)
    kind = np.where(rows.kind == l2_rows.TRADE, int(TRADE_EVENT), int(DEPTH_EVENT))
    side = np.where(rows.side > 0, int(BUY_EVENT), int(SELL_EVENT))
    events["ev"] = (kind | side | base).astype(np.uint64)
    events["exch_ts"], events["local_ts"] = rows.exch_ns, rows.local_ns
    events["px"], events["qty"] = rows.price, rows.size
    return events


@njit
def trivial(replay, out):
    """Read the touch at each wake-up."""
    wakes = 0
    total = 0.0
    while replay.wait_next_feed(False, HOUR_NS) != ENDED:
        depth = replay.depth(0)
        total += depth.best_bid + depth.best_ask
        wakes += 1
    out[0], out[1] = wakes, total


@njit
def features(replay, out):
    """Keep and read twelve features at each wake-up; docs/benchmarks.md has the formulas."""
    tick = replay.depth(0).tick_size
    wakes = 0
    fast = slow = variance = flow = trades = ofi = 0.0
    last_mid = last_bid_size = last_ask_size = 0.0
    last_ts = replay.current_timestamp
    x = np.zeros(12)
    total = 0.0
    while replay.wait_next_feed(False, HOUR_NS) != ENDED:
        depth = replay.depth(0)
        bid, ask = depth.best_bid, depth.best_ask
        bid_tick, ask_tick = depth.best_bid_tick, depth.best_ask_tick
        # Version 2.4.4's `best_bid_qty` is the price on the vector book: read by tick instead.
        bid_size, ask_size = depth.bid_qty_at_tick(bid_tick), depth.ask_qty_at_tick(ask_tick)
        mid = 0.5 * (bid + ask)
        if wakes == 0:
            fast = slow = last_mid = mid
        ts = replay.current_timestamp
        gap_ns = ts - last_ts
        change = (mid - last_mid) / tick
        fast += 0.02 * (mid - fast)
        slow += 0.002 * (mid - slow)
        variance += 0.01 * (change * change - variance)
        ofi = 0.99 * ofi + (bid_size - last_bid_size) - (ask_size - last_ask_size)
        last_ts, last_mid, last_bid_size, last_ask_size = ts, mid, bid_size, ask_size
        near_bid = near_ask = 0.0
        for k in range(5):
            near_bid += depth.bid_qty_at_tick(bid_tick - k)
            near_ask += depth.ask_qty_at_tick(ask_tick + k)
        flow *= 0.99
        for trade in replay.last_trades(0):
            if trade.ev & BUY == BUY:
                flow += trade.qty
            else:
                flow -= trade.qty
            trades += 1.0
        trades *= 0.999
        replay.clear_last_trades(0)
        x[0] = (ask - bid) / tick
        x[1] = (bid_size - ask_size) / (bid_size + ask_size + 1e-12)
        x[2] = (near_bid - near_ask) / (near_bid + near_ask + 1e-12)
        x[3] = (bid * ask_size + ask * bid_size) / (bid_size + ask_size + 1e-12) - mid
        x[4] = mid - fast
        x[5] = mid - slow
        x[6] = fast - slow
        x[7] = np.sqrt(variance)
        x[8] = flow
        x[9] = ofi
        x[10] = trades
        x[11] = gap_ns * 1e-6
        total += x[1] + x[2] + x[4] + x[8]
        wakes += 1
    out[0], out[1] = wakes, total


MODES = {"trivial": trivial, "features": features}


def build(events, book):
    """Make the library's backtest over the events, which must outlive it (it keeps an address)."""
    asset = (
        BacktestAsset()
        .data([events])
        .linear_asset(1.0)
        .constant_order_latency(ORDER_LATENCY_NS, ORDER_LATENCY_NS)
        .power_prob_queue_model3(3.0)
        .trading_value_fee_model(-0.00005, 0.0007)
        .tick_size(l2_rows.TICK)
        .lot_size(l2_rows.LOT)
        .last_trades_capacity(10_000)
        .no_partial_fill_exchange()
    )
    if book == "hashmap":
        return HashMapMarketDepthBacktest([asset])
    low, high = l2_rows.MID_TICK - l2_rows.REACH, l2_rows.MID_TICK + l2_rows.REACH
    asset = asset.roi_lb(low * l2_rows.TICK).roi_ub(high * l2_rows.TICK)
    return ROIVectorMarketDepthBacktest([asset])


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--n", type=int, default=2_000_000)
    parser.add_argument("--mode", choices=MODES, default="features")
    parser.add_argument("--book", choices=("vector", "hashmap"), default="vector")
    parser.add_argument("--repeats", type=int, default=3)
    given = parser.parse_args()
    strategy = MODES[given.mode]
    out = np.zeros(2)
    warm = prepare(WARM_ROWS)
    replay = build(warm, given.book)
    strategy(replay, out)
    replay.close()
    events = prepare(given.n)
    runs = []
    for _ in range(given.repeats):
        replay = build(events, given.book)
        wall, cpu = time.perf_counter(), time.process_time()
        strategy(replay, out)
        runs.append((time.perf_counter() - wall, time.process_time() - cpu))
        replay.close()
    best_wall, best_cpu = min(r[0] for r in runs), min(r[1] for r in runs)
    print(
        json.dumps(
            {
                "peer": "hftbacktest",
                "version": hftbacktest.__version__,
                "python": ".".join(map(str, sys.version_info[:3])),
                "mode": given.mode,
                "book": given.book,
                "events": given.n,
                "wakes": int(out[0]),
                "checksum": float(out[1]),
                "wall_s": [r[0] for r in runs],
                "events_per_s": given.n / best_wall,
                "cpu_us_per_event": best_cpu / given.n * 1e6,
            }
        )
    )


if __name__ == "__main__":
    main()
