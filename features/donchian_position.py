"""Place of the close in the channel of the `span` bars before it: (close - low) / (high - low).

low is the lowest low and high the highest high of the `span` bars before the last one, so that a
breakout shows: above 1 or below 0. 0.5 where the channel has no width.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from features.registry import bars, feature
from features.ring import keep
from features.step import NAN, Record, ratio, step, usable_prices


def state(params: Mapping[str, int | float]) -> np.dtype[Any]:
    """Lay out rings of highs and lows and the result."""
    span = int(params["span"])
    rings = [("highs", "f8", (span,)), ("lows", "f8", (span,))]
    return np.dtype([*rings, ("count", "i8"), ("value", "f8")], align=True)


@step
def init(s: Record, span: int) -> None:
    """Start with empty rings."""
    s["count"] = 0
    s["value"] = NAN


@step
def on_bar(s: Record, m: Record) -> None:
    """Place the close in the channel, then let the bar into it."""
    if usable_prices(m):
        highs = s["highs"]
        lows = s["lows"]
        if s["count"] >= highs.size:
            high = highs[0]
            low = lows[0]
            for k in range(1, highs.size):
                high = max(high, highs[k])
                low = min(low, lows[k])
            s["value"] = ratio(m["bar_close"] - low, high - low, 0.5)
        lows[s["count"] % lows.size] = m["bar_low"]
        keep(s, highs, m["bar_high"])


@step
def value(s: Record, m: Record) -> float:
    """Return the place, 0 at the bottom and 1 at the top."""
    return s["value"]


feature(
    "donchian_position_{span}",
    state=state,
    defaults={"span": 20},
    init=init,
    on_bar=on_bar,
    value=value,
    warmup=lambda p: bars(int(p["span"]) + 1),
    group="price and trend",
    unit="fraction",
    range="about -0.5 to 1.5",
    source="Donchian, High Finance in Copper (1960); TA-Lib MAX and MIN",
    inputs=("bars",),
)
