"""Slope of the book: base units that each basis point of distance from mid adds, both sides' mean.

For a side, sum(d c) / sum(d^2) over its best `levels` levels: the line through the origin that fits
the cumulative sizes c at the distances d from the mid of the best prices. NaN while a side is
empty.
"""

import numpy as np

from engine.market import TOP_LEVELS
from features.depth_imbalance import STATE, init
from features.registry import Warmup, feature
from features.step import NAN, Record, ratio, relative, step


@step
def side_slope(prices: np.ndarray, sizes: np.ndarray, levels: int, mid: float) -> float:
    """Return one side's slope.

    >>> float(round(side_slope(np.array([101.0, 102.0]), np.array([1.0, 2.0]), 2, 100.0), 6))
    0.014
    """
    total = 0.0
    upper = 0.0
    lower = 0.0
    for k in range(levels):
        if sizes[k] > 0.0:
            total += sizes[k]
            distance = 1e4 * abs(relative(prices[k], mid))
            upper += distance * total
            lower += distance * distance
    return ratio(upper, lower, 0.0)


@step
def value(s: Record, m: Record) -> float:
    """Return the slope; large is a deep book."""
    if m["depth_count"] < 1 or m["levels"] < 1:
        return NAN
    mid = 0.5 * (m["bid_prices"][0] + m["ask_prices"][0])
    bids = side_slope(m["bid_prices"], m["bid_sizes"], s["levels"], mid)
    return 0.5 * (bids + side_slope(m["ask_prices"], m["ask_sizes"], s["levels"], mid))


feature(
    "depth_slope_{levels}",
    state=STATE,
    defaults={"levels": 10},
    bounds={"levels": (1, TOP_LEVELS)},
    init=init,
    value=value,
    warmup=Warmup(1, "depth"),
    group="book",
    unit="base units per basis point",
    range="0 or more",
    source="Naes and Skjeltorp, Order Book Characteristics and the Volume-Volatility "
    "Relation (2006)",
    inputs=("levels",),
)
