"""Cost of buying for `notional` at once: the mean price paid above mid, in basis points.

The order walks up the best ten levels of the asks; what they do not hold is priced at the last of
them, which is then a lower bound. mid is that of the best prices; NaN while a side is empty.
"""

import numpy as np

from features.registry import Warmup, feature
from features.step import NAN, Record, relative, step

STATE = np.dtype([("notional", "f8")])


@step
def init(s: Record, notional: int) -> None:
    """Keep the size of the order, in the quote currency."""
    s["notional"] = float(notional)


@step
def mean_price(prices: np.ndarray, sizes: np.ndarray, notional: float) -> float:
    """Return the mean price of an order that walks one side of the book.

    >>> mean_price(np.array([10.0, 20.0]), np.array([1.0, 5.0]), 30.0)
    15.0
    >>> mean_price(np.array([10.0, 20.0]), np.array([1.0, 0.0]), 30.0)
    10.0
    """
    left = notional
    base = 0.0
    price = prices[0]
    for k in range(sizes.size):
        if left > 0.0 and sizes[k] > 0.0:
            price = prices[k]
            money = min(left, price * sizes[k])
            base += money / price
            left -= money
    return notional / (base + left / price)


@step
def value(s: Record, m: Record) -> float:
    """Return the cost of buying."""
    if m["depth_count"] < 1 or m["levels"] < 1:
        return NAN
    mid = 0.5 * (m["bid_prices"][0] + m["ask_prices"][0])
    return 1e4 * relative(mean_price(m["ask_prices"], m["ask_sizes"], s["notional"]), mid)


feature(
    "buy_cost_{notional}",
    state=STATE,
    defaults={"notional": 10_000},
    bounds={"notional": (1, 1_000_000_000)},
    init=init,
    value=value,
    warmup=Warmup(1, "depth"),
    group="book",
    unit="basis points",
    range="0 or more",
    source="round-trip cost: Irvine, Benston and Kandel, Liquidity Beyond the Inside Spread (2000)",
    inputs=("levels",),
)
