"""Order-flow imbalance of the best `levels` levels over the last `seconds`: sum e / sum |e|.

For each packet of depth and level k, with p, q the level's price and size and ' the packet before:
bids q [p >= p'] - q' [p <= p'], asks q' [p >= p'] - q [p <= p']; e is their sum over the levels and
the divisor adds up their magnitudes. 0 where nothing happened. A level that the book lacks counts
nothing. The window is features/time_window.py.
"""

from typing import Any

import numpy as np

from engine.market import TOP_LEVELS
from features.registry import feature, seconds
from features.step import NAN, Record, ratio, step, usable
from features.time_window import (
    window_add,
    window_dtype,
    window_init,
    window_sums,
    window_touch,
    window_warm,
)

PLACES = ("bid_prices", "bid_sizes", "ask_prices", "ask_sizes")
STATE: np.dtype[Any] = np.dtype(
    [
        ("window", window_dtype(2)),
        *((name, "f8", (TOP_LEVELS,)) for name in PLACES),
        ("levels", "i8"),
    ],
    align=True,
)


@step
def init(s: Record, levels: int, seconds: int) -> None:
    """Start an empty window and no levels before."""
    window_init(s["window"], seconds)
    s["levels"] = levels
    for k in range(TOP_LEVELS):
        s["bid_prices"][k] = NAN
        s["bid_sizes"][k] = 0.0
        s["ask_prices"][k] = NAN
        s["ask_sizes"][k] = 0.0


@step
def joined(price: float, size: float, price_before: float, size_before: float) -> float:
    """Return what joined a bid level: its new size, less its old one, less both when it fell.

    >>> joined(10.0, 5.0, 10.0, 3.0), joined(11.0, 5.0, 10.0, 3.0), joined(9.0, 5.0, 10.0, 3.0)
    (2.0, 5.0, -3.0)
    """
    grown = size if price >= price_before else 0.0
    return grown - size_before if price <= price_before else grown


@step
def on_depth(s: Record, m: Record) -> None:
    """Add the flow of this packet, level by level."""
    going = window_touch(s["window"], m) and m["depth_count"] > 1
    flow = 0.0
    total = 0.0
    for k in range(s["levels"]):
        bids = joined(m["bid_prices"][k], m["bid_sizes"][k], s["bid_prices"][k], s["bid_sizes"][k])
        asks = joined(
            -m["ask_prices"][k], m["ask_sizes"][k], -s["ask_prices"][k], s["ask_sizes"][k]
        )
        flow += bids - asks
        total += abs(bids) + abs(asks)
        s["bid_prices"][k] = m["bid_prices"][k]
        s["bid_sizes"][k] = m["bid_sizes"][k]
        s["ask_prices"][k] = m["ask_prices"][k]
        s["ask_sizes"][k] = m["ask_sizes"][k]
    if going and total > 0.0 and usable(total):
        window_add(s["window"], m, flow, total)


@step
def value(s: Record, m: Record) -> float:
    """Return the imbalance, -1 (all selling pressure) to 1 (all buying pressure)."""
    if m["depth_count"] < 1 or not window_warm(s["window"], m):
        return NAN
    flow, total = window_sums(s["window"], m)
    return min(1.0, max(-1.0, ratio(flow, total, 0.0)))


feature(
    "depth_flow_imbalance_{levels}",
    state=STATE,
    defaults={"levels": 5, "seconds": 1},
    bounds={"levels": (1, TOP_LEVELS), "seconds": (1, 3600)},
    init=init,
    on_depth=on_depth,
    value=value,
    warmup=lambda p: seconds(int(p["seconds"])),
    group="book",
    unit="fraction",
    range="-1 to 1",
    source="Xu, Gould and Howison, Multi-Level Order-Flow Imbalance in a Limit Order Book (2018)",
    inputs=("levels",),
)
