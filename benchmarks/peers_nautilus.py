"""Replay the benchmark load through NautilusTrader; run by the interpreter of its own environment.

    .venvs/nautilus-2.0.0rc7/bin/python benchmarks/peers_nautilus.py --mode model

Prints one JSON object. Written as a competent user of that library would: a Python strategy,
slotted state per instrument, constant-time updates, one reused input buffer, one single-threaded
session. Modes: noop (handlers count), features (ten features kept, read each 10th event), model (+
inference each 10th event), trade (+ an order when the probability leaves the band), force (+ an
order after each inference, sides alternate).
"""

import argparse
import json
import math
import os
import resource
import sys
from collections import deque
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import numpy as np  # noqa: E402

from benchmarks.ticks import verified  # noqa: E402

MODES = ("noop", "features", "model", "trade", "force")
WINDOW_NS = 1_000_000_000
FAST, SLOW, VARIANCE_RATE = 2.0 / 10.0, 2.0 / 22.0, 0.02
EVERY = 10
BAND = 0.10


class TickFeatures:
    """The ten features of one instrument in plain Python floats (docs/benchmarks.md)."""

    __slots__ = (
        "ask",
        "ask_size",
        "bid",
        "bid_size",
        "count",
        "fast",
        "flow",
        "flows",
        "mid",
        "mids",
        "ofi",
        "ofis",
        "slow",
        "tick",
        "variance",
        "volume",
    )

    def __init__(self, tick):
        self.tick = tick
        self.count = 0
        self.bid = self.ask = self.bid_size = self.ask_size = self.mid = 0.0
        self.fast = self.slow = 0.0
        self.variance = 1e-10
        self.ofi = self.flow = self.volume = 0.0
        self.mids, self.ofis, self.flows = deque(), deque(), deque()

    def on_quote(self, ts, bid, ask, bid_size, ask_size):
        mid = 0.5 * (bid + ask)
        if self.count == 0:
            self.fast = self.slow = mid
        else:
            change = mid / self.mid - 1.0
            self.variance += VARIANCE_RATE * (change * change - self.variance)
            self.fast += FAST * (mid - self.fast)
            self.slow += SLOW * (mid - self.slow)
            event = 0.0
            if bid >= self.bid:
                event += bid_size
            if bid <= self.bid:
                event -= self.bid_size
            if ask <= self.ask:
                event -= ask_size
            if ask >= self.ask:
                event += self.ask_size
            self.ofi += event
            self.ofis.append((ts, event))
        self.count += 1
        self.bid, self.ask, self.mid = bid, ask, mid
        self.bid_size, self.ask_size = bid_size, ask_size
        self.mids.append((ts, mid))
        self._forget(ts - WINDOW_NS)

    def on_trade(self, ts, size, side):
        signed = side * size
        self.flow += signed
        self.volume += size
        self.flows.append((ts, signed, size))
        self._forget(ts - WINDOW_NS)

    def _forget(self, oldest):
        mids, ofis, flows = self.mids, self.ofis, self.flows
        while len(mids) > 1 and mids[0][0] < oldest:
            mids.popleft()
        while ofis and ofis[0][0] < oldest:
            self.ofi -= ofis.popleft()[1]
        while flows and flows[0][0] < oldest:
            _, signed, size = flows.popleft()
            self.flow -= signed
            self.volume -= size

    def fill(self, x):
        mid, depth = self.mid, self.bid_size + self.ask_size
        deviation = math.sqrt(self.variance) + 1e-9
        first = self.mids[0][1] if self.mids else mid
        micro = (self.bid * self.ask_size + self.ask * self.bid_size) / depth if depth else mid
        x[0, 0] = (self.ask - self.bid) / self.tick - 1.0
        x[0, 1] = (self.bid_size - self.ask_size) / depth if depth else 0.0
        x[0, 2] = (micro - mid) / self.tick * 2.0
        x[0, 3] = (mid / self.fast - 1.0) / deviation
        x[0, 4] = (mid / self.slow - 1.0) / deviation
        x[0, 5] = (self.fast / self.slow - 1.0) / deviation
        x[0, 6] = (mid / first - 1.0) / (deviation * 10.0)
        x[0, 7] = self.ofi / (depth * 10.0 + 1e-9)
        x[0, 8] = self.flow / (self.volume + 1e-9)
        x[0, 9] = math.log1p(deviation * 1e5) - 1.0


class Trader:
    """What the strategy does with an event, the same for both APIs of the library."""

    def __init__(self, mode, model_path):
        self.mode = mode
        self.seen = self.inferences = self.orders = self.fills = self.denied = 0
        self.checksum = 0.0
        self.features, self.net = {}, {}
        self.x = np.zeros((1, 10), np.float32)
        self.feed = {"x": self.x}
        self.run = None
        if mode in ("model", "trade", "force"):
            self.run = self._session(model_path)

    def _session(self, model_path):
        import onnxruntime as ort

        options = ort.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
        session = ort.InferenceSession(model_path, options, providers=["CPUExecutionProvider"])
        for _ in range(50):
            session.run(None, self.feed)
        return session.run

    def decide(self, key):
        """Return the side to trade now, +1 or -1, or 0."""
        self.features[key].fill(self.x)
        if self.run is None:
            self.checksum += float(self.x[0, 1])
            return 0
        p = float(self.run(None, self.feed)[0][0, 0])
        self.inferences += 1
        self.checksum += p
        if self.mode == "model":
            return 0
        net = self.net[key]
        if self.mode == "force":
            side = -1 if net > 0 else 1
        elif p > 0.5 + BAND and net <= 0:
            side = 1
        elif p < 0.5 - BAND and net >= 0:
            side = -1
        else:
            return 0
        self.net[key] = net + side
        self.orders += 1
        return side


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--n", type=int, default=200_000)
    parser.add_argument("--mode", choices=MODES, default="model")
    parser.add_argument("--model", type=Path, default=ROOT / "build" / "peer_models" / "mlp.onnx")
    parser.add_argument("--repeats", type=int, default=1)
    given = parser.parse_args()

    import nautilus_trader

    version = nautilus_trader.__version__
    if version.startswith("1."):
        from benchmarks import nautilus_v1 as api
    else:
        from benchmarks import nautilus_v2 as api
    ticks = verified(given.n)
    load = api.prepare(ticks)
    runs = []
    for _ in range(given.repeats):
        trader = Trader(given.mode, str(given.model))
        wall_s, cpu_s = api.replay(load, trader)
        assert trader.seen == given.n, (trader.seen, given.n)
        runs.append((wall_s, cpu_s))
    best_wall, best_cpu = min(r[0] for r in runs), min(r[1] for r in runs)
    out = {
        "peer": "NautilusTrader",
        "version": version,
        "python": ".".join(map(str, sys.version_info[:3])),
        "mode": given.mode,
        "events": given.n,
        "wall_s": [r[0] for r in runs],
        "events_per_s": given.n / best_wall,
        "cpu_us_per_event": best_cpu / given.n * 1e6,
        "checksum": trader.checksum,
        "inferences": trader.inferences,
        "orders": trader.orders,
        "fills": trader.fills,
        "denied": trader.denied,
        "peak_rss_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }
    print(json.dumps(out))


if __name__ == "__main__":
    main()
