"""Arrival rate of trades: ln(1 + trades per second), over the last `seconds`.

The window (features/time_window.py) opens with the first quote or trade.
"""

import math

from features.registry import feature, seconds
from features.step import NAN, Record, step
from features.time_window import (
    CELLS,
    NS_PER_S,
    window_add,
    window_dtype,
    window_init,
    window_sums,
    window_touch,
    window_warm,
)

STATE = window_dtype(2)


@step
def init(s: Record, seconds: int) -> None:
    """Start an empty window."""
    window_init(s, seconds)


@step
def on_quote(s: Record, m: Record) -> None:
    """Open the window at the first quote, and anew after a gap."""
    window_touch(s, m)


@step
def on_trade(s: Record, m: Record) -> None:
    """Count this trade."""
    window_touch(s, m)
    window_add(s, m, 1.0, 0.0)


@step
def value(s: Record, m: Record) -> float:
    """Return the logarithm of one plus the rate."""
    if not window_warm(s, m):
        return NAN
    trades, _ = window_sums(s, m)
    return math.log1p(trades / (s["cell_ns"] * CELLS / NS_PER_S))


feature(
    "trade_rate_{seconds}s",
    state=STATE,
    defaults={"seconds": 10},
    bounds={"seconds": (1, 3600)},
    init=init,
    on_quote=on_quote,
    on_trade=on_trade,
    value=value,
    warmup=lambda p: seconds(int(p["seconds"])),
    group="volume and flow",
    unit="logarithm of 1/s",
    range="0 or more",
    source="trade intensity: Engle and Russell, Autoregressive Conditional Duration (1998)",
    inputs=("trades",),
)
