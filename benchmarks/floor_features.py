"""Floor of the feature kernel: the same fused steps in a bare loop.

The market record gets the fields that features read, nothing is judged, no clock and no bars are
kept: what the steps themselves cost with the least around them.
"""

from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.timing import entry_point
from engine.instruments import Instrument
from engine.market import MARKET
from engine.rows import LAST, NS_PER_S, ROW, Kind, bar_flags
from features.fuse import load_fused
from features.spec import FeatureSpec

REQUEST = np.dtype([("count", "i8"), ("out", "i8")])
STATE = np.dtype([("market", "i8"), ("features", "i8")])

TAIL = '''
from numba import carray

from benchmarks.floor_features import REQUEST, STATE
from engine.kernel.memory import floats32, pointer
from engine.market import MARKET
from engine.rows import ROW


@njit("int64(int64, int64, int64)", cache=True)
def bare_rows(state, rows, request):
    """Update the market record, step, and write a feature row for each row."""
    s = carray(pointer(state), (1,), STATE)[0]
    q = carray(pointer(request), (1,), REQUEST)[0]
    m = carray(pointer(s["market"]), (1,), MARKET)[0]
    fs = carray(pointer(s["features"]), (1,), FEATURES)[0]
    tape = carray(pointer(rows), (q["count"],), ROW)
    for k in range(q["count"]):
        row = tape[k]
        kind = row["kind"]
        m["ts"] = m["now"] = row["ts_recv"]
        m["ts_event"] = row["ts_event"]
        if kind == 1:
            m["prev_bid"] = m["bid"]
            m["prev_ask"] = m["ask"]
            m["prev_bid_size"] = m["bid_size"]
            m["prev_ask_size"] = m["ask_size"]
            m["prev_mid"] = m["mid"]
            m["bid"] = row["f0"]
            m["ask"] = row["f1"]
            m["bid_size"] = row["f2"]
            m["ask_size"] = row["f3"]
            m["mid"] = 0.5 * (m["bid"] + m["ask"])
            m["quote_ts"] = m["ts"]
            m["quote_count"] += 1
            on_quote(fs, m)
        elif kind == 2:
            m["trade_price"] = row["f0"]
            m["trade_size"] = row["f1"]
            m["trade_side"] = float(row["side"])
            m["trade_ts"] = m["ts"]
            m["trade_count"] += 1
            on_trade(fs, m)
        else:
            m["bar_open"] = row["f0"]
            m["bar_high"] = row["f1"]
            m["bar_low"] = row["f2"]
            m["bar_close"] = row["f3"]
            m["bar_volume"] = row["f4"]
            m["bar_ts"] = row["ts_event"]
            m["bar_count"] += 1
            on_bar(fs, m)
        read_0(fs, m, floats32(q["out"] + 4 * SPECS[0] * k, SPECS[0]))
    return q["count"]


@njit("void(int64)", cache=True)
def bare_start(state):
    """Set the features to their start."""
    s = carray(pointer(state), (1,), STATE)[0]
    init(carray(pointer(s["features"]), (1,), FEATURES)[0])
'''


class BareLoop:
    """The steps of one spec over rows of one instrument."""

    def __init__(self, spec: FeatureSpec, instrument: Instrument, folder: Path) -> None:
        """Compile, or load from the cache in `folder`."""
        module: Any = load_fused([spec], folder, TAIL)
        self.market = np.zeros(1, MARKET)
        self.features = np.zeros(1, module.FEATURES)
        self.state = np.zeros(1, STATE)
        self.state["market"] = self.market.ctypes.data
        self.state["features"] = self.features.ctypes.data
        self.request = np.zeros(1, REQUEST)
        self.address = int(self.state.ctypes.data)
        self.entry = entry_point(module.bare_rows)
        self._start = entry_point(module.bare_start)
        self._instrument = instrument

    def prepare(self, rows: np.ndarray, x: np.ndarray) -> None:
        """Start anew and aim at the rows and at float32[n, F] for the results."""
        self.market[:] = 0
        for name in MARKET.names or ():
            if MARKET[name] == np.float64:
                self.market[name] = np.nan
        self.market["tick"] = self._instrument.tick_size
        self.market["lot"] = self._instrument.lot_size
        self.market["bar_interval_ns"] = 60 * NS_PER_S
        self._start(self.address)
        self.request["count"] = len(rows)
        self.request["out"] = x.ctypes.data

    def run(self, rows: np.ndarray, x: np.ndarray) -> None:
        """Go over all rows."""
        self.prepare(rows, x)
        self.entry(self.address, rows.ctypes.data, self.request.ctypes.data)


def minute_bars(count: int, seed: int = 5) -> np.ndarray:
    """Make BAR rows of a random walk, ROW[count]."""
    rng = np.random.default_rng(seed)
    close = 60_000.0 * np.exp(np.cumsum(rng.normal(0, 5e-4, count)))
    opened = np.concatenate([close[:1], close[:-1]])
    reach = np.abs(rng.normal(0, 3e-4, (2, count))) * close
    rows = np.zeros(count, ROW)
    rows["ts_event"] = 1_735_689_600 * NS_PER_S + np.arange(count) * 60 * NS_PER_S
    rows["ts_recv"] = rows["ts_event"] + 60 * NS_PER_S
    rows["kind"], rows["flags"] = int(Kind.BAR), LAST | bar_flags(60 * NS_PER_S)
    rows["f0"], rows["f3"] = opened, close
    rows["f1"] = np.maximum(opened, close) + reach[0]
    rows["f2"] = np.minimum(opened, close) - reach[1]
    rows["f4"] = rng.lognormal(0, 1, count)
    return rows
