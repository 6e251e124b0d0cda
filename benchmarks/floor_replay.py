"""Floor of replay: a hand-fused loop of the ten tick features and a bound MLP, without an engine.

One jitted function walks the tape's rows by address and stops at each tenth; Python then runs the
model on the bound buffers. No bars, orders, risk, audit or digest: what is left is what nobody can
save.
"""

import math
from pathlib import Path
from typing import Any

import numpy as np
from numba import carray, njit, types

from benchmarks.floor_inference import BoundModel
from benchmarks.timing import entry_point
from engine.kernel.memory import pointer
from engine.rows import ROW, ROW_BYTES, Kind

INPUTS = 10
RING = 1024
MASK = RING - 1
WINDOW_NS = 1_000_000_000
FAST, SLOW, VARIANCE_RATE = 2.0 / 10.0, 2.0 / 22.0, 0.02
QUOTE = int(Kind.QUOTE)
EVERY = 10
BATCH = 1024
INSTRUMENTS = 2

# One instrument: plain numbers and three rings in one record, shared by all ten features.
STATE = np.dtype(
    [
        *((name, "f8") for name in ("bid", "ask", "bid_size", "ask_size", "mid", "tick")),
        *((name, "f8") for name in ("fast", "slow", "variance", "ofi", "flow", "volume")),
        *((name, "i8") for name in ("count", "mid_head", "mid_tail", "ofi_head", "ofi_tail")),
        *((name, "i8") for name in ("flow_head", "flow_tail")),
        *((f"{ring}_ts", "i8", (RING,)) for ring in ("mid", "ofi", "flow")),
        *((f"{ring}_at", "f8", (RING,)) for ring in ("mid", "ofi", "flow", "size")),
    ],
    align=True,
)


@njit(inline="always")
def quote(s: Any, ts: int, bid: float, ask: float, bid_size: float, ask_size: float) -> None:
    mid = 0.5 * (bid + ask)
    if s["count"] == 0:
        s["fast"] = mid
        s["slow"] = mid
    else:
        change = mid / s["mid"] - 1.0
        s["variance"] += VARIANCE_RATE * (change * change - s["variance"])
        s["fast"] += FAST * (mid - s["fast"])
        s["slow"] += SLOW * (mid - s["slow"])
        event = 0.0
        if bid >= s["bid"]:
            event += bid_size
        if bid <= s["bid"]:
            event -= s["bid_size"]
        if ask <= s["ask"]:
            event -= ask_size
        if ask >= s["ask"]:
            event += s["ask_size"]
        s["ofi"] += event
        at = s["ofi_head"] & MASK
        s["ofi_ts"][at] = ts
        s["ofi_at"][at] = event
        s["ofi_head"] += 1
    s["count"] += 1
    s["bid"] = bid
    s["ask"] = ask
    s["bid_size"] = bid_size
    s["ask_size"] = ask_size
    s["mid"] = mid
    at = s["mid_head"] & MASK
    s["mid_ts"][at] = ts
    s["mid_at"][at] = mid
    s["mid_head"] += 1


@njit(inline="always")
def trade(s: Any, ts: int, size: float, side: float) -> None:
    s["flow"] += side * size
    s["volume"] += size
    at = s["flow_head"] & MASK
    s["flow_ts"][at] = ts
    s["flow_at"][at] = side * size
    s["size_at"][at] = size
    s["flow_head"] += 1


@njit(inline="always")
def forget(s: Any, oldest: int) -> None:
    while s["mid_head"] - s["mid_tail"] > 1 and s["mid_ts"][s["mid_tail"] & MASK] < oldest:
        s["mid_tail"] += 1
    while s["ofi_head"] > s["ofi_tail"] and s["ofi_ts"][s["ofi_tail"] & MASK] < oldest:
        s["ofi"] -= s["ofi_at"][s["ofi_tail"] & MASK]
        s["ofi_tail"] += 1
    while s["flow_head"] > s["flow_tail"] and s["flow_ts"][s["flow_tail"] & MASK] < oldest:
        at = s["flow_tail"] & MASK
        s["flow"] -= s["flow_at"][at]
        s["volume"] -= s["size_at"][at]
        s["flow_tail"] += 1


@njit(inline="always")
def fill(s: Any, x: Any) -> None:
    mid = s["mid"]
    depth = s["bid_size"] + s["ask_size"]
    deviation = math.sqrt(s["variance"]) + 1e-9
    first = s["mid_at"][s["mid_tail"] & MASK]
    micro = (s["bid"] * s["ask_size"] + s["ask"] * s["bid_size"]) / depth
    x[0] = (s["ask"] - s["bid"]) / s["tick"] - 1.0
    x[1] = (s["bid_size"] - s["ask_size"]) / depth
    x[2] = (micro - mid) / s["tick"] * 2.0
    x[3] = (mid / s["fast"] - 1.0) / deviation
    x[4] = (mid / s["slow"] - 1.0) / deviation
    x[5] = (s["fast"] / s["slow"] - 1.0) / deviation
    x[6] = (mid / first - 1.0) / (deviation * 10.0)
    x[7] = s["ofi"] / (depth * 10.0 + 1e-9)
    x[8] = s["flow"] / (s["volume"] + 1e-9)
    x[9] = math.log1p(deviation * 1e5) - 1.0


@njit(inline="always")
def apply(states: Any, row: Any) -> Any:
    s = states[row["instrument"]]
    ts = row["ts_recv"]
    if row["kind"] == QUOTE:
        quote(s, ts, row["f0"], row["f1"], row["f2"], row["f3"])
    else:
        trade(s, ts, row["f1"], float(row["side"]))
    forget(s, ts - WINDOW_NS)
    return s


@njit(types.int64(types.int64, types.int64, types.int64, types.int64, types.int64))
def walk(states_at, rows_at, count, x_at, every):  # type: ignore[no-untyped-def]
    """Apply `count` rows; write the features of each `every`-th into the next row of x."""
    states = carray(pointer(states_at), (INSTRUMENTS,), STATE)
    rows = carray(pointer(rows_at), (count,), ROW)
    x = carray(pointer(x_at), (count // every + 1, INPUTS), np.float32)
    written = 0
    left = every
    for k in range(count):
        s = apply(states, rows[k])
        left -= 1
        if left == 0:
            fill(s, x[written])
            written += 1
            left = every
    return written


class Floor:
    """State, buffers and a bound model over the rows of a tick tape."""

    def __init__(self, rows: np.ndarray, ticks: tuple[float, ...], model: Path | None) -> None:
        """Hold ROW[n] (contiguous, kept alive here) and open the model."""
        assert rows.dtype == ROW and len(ticks) == INSTRUMENTS
        self.rows = rows
        self.ticks = ticks
        self.states = np.zeros(INSTRUMENTS, STATE)
        self.x = np.zeros((1, INPUTS), np.float32)
        self.y = np.zeros((1, 1), np.float32)
        self.block = np.zeros((len(rows) // EVERY + 1, INPUTS), np.float32)
        self.probabilities = np.zeros(len(rows) // EVERY, np.float32)
        self.model = BoundModel(model.read_bytes(), self.x, self.y) if model else None
        self.walk = entry_point(walk)

    def reset(self) -> None:
        """Start anew."""
        self.states[:] = 0
        self.states["variance"] = 1e-10
        self.states["tick"] = self.ticks

    def features(self) -> int:
        """Walk all rows in one call; features of each tenth row go to `block`."""
        self.reset()
        args = self.states.ctypes.data, self.rows.ctypes.data, len(self.rows)
        self.walk(*args, self.block.ctypes.data, EVERY)
        return len(self.rows)

    def row_by_row(self) -> int:
        """Stop at each tenth row, run the model, keep its answer."""
        assert self.model is not None
        self.reset()
        run, out = self.model.run, memoryview(self.probabilities)
        answer = memoryview(self.y).cast("B").cast("f")
        states, x, walk_to = self.states.ctypes.data, self.x.ctypes.data, self.walk
        at, stride = self.rows.ctypes.data, EVERY * ROW_BYTES
        for k in range(len(self.probabilities)):
            walk_to(states, at, EVERY, x, EVERY)
            run()
            out[k] = answer[0]
            at += stride
        return len(self.rows)

    def batch_ahead(self) -> int:
        """Walk all rows, then run the model on batches of feature rows."""
        assert self.model is not None
        self.features()
        for at in range(0, len(self.probabilities), BATCH):
            stop = min(at + BATCH, len(self.probabilities))
            self.probabilities[at:stop] = self.model.run_batch(self.block[at:stop])[:, 0]
        return len(self.rows)
