"""Share of large trades in the volume of the last `seconds`.

A trade is large when its size is at least `times` the mean size of the trades before it: a running
mean of the first `span` sizes, then exponential with alpha = 2 / (span + 1). 0 where nothing was
traded. The window (features/time_window.py) opens with the first quote or trade.
"""

import numpy as np

from features.registry import feature, seconds
from features.step import NAN, Record, flushed, ratio, step, usable
from features.time_window import (
    window_add,
    window_dtype,
    window_init,
    window_sums,
    window_touch,
    window_warm,
)

STATE = np.dtype(
    [
        ("window", window_dtype(2)),
        ("mean", "f8"),
        ("times", "f8"),
        ("alpha", "f8"),
        ("count", "i8"),
    ],
    align=True,
)


@step
def init(s: Record, seconds: int, times: float, span: int) -> None:
    """Start an empty window and no mean."""
    window_init(s["window"], seconds)
    s["mean"] = 0.0
    s["times"] = times
    s["alpha"] = 2.0 / (span + 1.0)
    s["count"] = 0


@step
def on_quote(s: Record, m: Record) -> None:
    """Open the window at the first quote, and anew after a gap."""
    window_touch(s["window"], m)


@step
def on_trade(s: Record, m: Record) -> None:
    """Add the trade, then let the mean learn from it."""
    window_touch(s["window"], m)
    size = m["trade_size"]
    if usable(size):
        large = s["count"] > 0 and size >= s["times"] * s["mean"]
        window_add(s["window"], m, size if large else 0.0, size)
        s["count"] += 1
        s["mean"] = flushed(s["mean"] + max(1.0 / s["count"], s["alpha"]) * (size - s["mean"]))


@step
def value(s: Record, m: Record) -> float:
    """Return the share, 0 to 1."""
    if not window_warm(s["window"], m):
        return NAN
    large, size = window_sums(s["window"], m)
    return min(1.0, max(0.0, ratio(large, size, 0.0)))


feature(
    "large_trade_share_{seconds}s",
    state=STATE,
    defaults={"seconds": 10, "times": 5.0, "span": 100},
    bounds={"seconds": (1, 3600), "times": (0.1, 1000.0), "span": (1, 100_000)},
    init=init,
    on_quote=on_quote,
    on_trade=on_trade,
    value=value,
    warmup=lambda p: seconds(int(p["seconds"])),
    group="volume and flow",
    unit="share",
    range="0 to 1",
    source="own definition; trade size as information: Easley and O'Hara (1987)",
    inputs=("trades",),
)
