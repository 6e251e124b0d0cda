"""Volatility of the last `fast` bars against that of the last `slow` ones: their ratio.

Both are root mean squares of the returns ln(close / close before). Above 1 the market has become
wilder than it was. 1 where nothing moved over `slow` bars.
"""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from features.log_price import log_ratio
from features.registry import bars, feature
from features.ring import keep
from features.step import NAN, Record, ratio, step, usable, usable_prices


def state(params: Mapping[str, int | float]) -> np.dtype[Any]:
    """Lay out a ring of squared returns, the close before and the result."""
    words = [("count", "i8"), ("fast", "i8"), ("close", "f8"), ("value", "f8")]
    return np.dtype([("squares", "f8", (int(params["slow"]),)), *words], align=True)


@step
def init(s: Record, fast: int, slow: int) -> None:
    """Start before the first bar."""
    s["count"] = 0
    s["fast"] = fast
    s["close"] = NAN
    s["value"] = NAN


@step
def on_bar(s: Record, m: Record) -> None:
    """Keep the bar's squared return and compare both horizons."""
    if not usable_prices(m):
        return
    before = s["close"]
    s["close"] = m["bar_close"]
    if not usable(before):
        return
    ring = s["squares"]
    move = 100.0 * log_ratio(m["bar_close"], before)
    keep(s, ring, move * move)
    if s["count"] >= ring.size:
        near = 0.0
        for back in range(1, s["fast"] + 1):
            near += ring[(s["count"] - back) % ring.size]
        far = 0.0
        for k in range(ring.size):
            far += ring[k]
        s["value"] = math.sqrt(ratio(near / s["fast"], far / ring.size, 1.0))


@step
def value(s: Record, m: Record) -> float:
    """Return the ratio."""
    return s["value"]


feature(
    "volatility_regime",
    state=state,
    defaults={"fast": 20, "slow": 100},
    bounds={"fast": (1, 10_000), "slow": (2, 10_000)},
    check=lambda p: "fast must be below slow" if p["fast"] >= p["slow"] else "",
    init=init,
    on_bar=on_bar,
    value=value,
    warmup=lambda p: bars(int(p["slow"]) + 1),
    group="volatility",
    unit="ratio",
    range="0 or more",
    source="own definition; horizons as in Corsi, A Simple Approximate Long-Memory Model (2009)",
    inputs=("bars",),
)
