"""Cost of selling for `notional` at once: the mean price got below mid, in basis points.

As buy_cost, down the best ten levels of the bids.
"""

from features.buy_cost import STATE, init, mean_price
from features.registry import Warmup, feature
from features.step import NAN, Record, relative, step


@step
def value(s: Record, m: Record) -> float:
    """Return the cost of selling."""
    if m["depth_count"] < 1 or m["levels"] < 1:
        return NAN
    mid = 0.5 * (m["bid_prices"][0] + m["ask_prices"][0])
    return -1e4 * relative(mean_price(m["bid_prices"], m["bid_sizes"], s["notional"]), mid)


feature(
    "sell_cost_{notional}",
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
