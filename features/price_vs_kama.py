"""Distance of the close to Kaufman's adaptive mean: (close - KAMA) / |KAMA|.

KAMA_t = KAMA_{t-1} + c^2 (close_t - KAMA_{t-1}), c = e (2/3 - 2/31) + 2/31, and the efficiency
e = |close_t - close_{t-span}| / sum of the last `span` absolute changes, 1 where nothing moved. The
mean starts at the close before the first one that has `span` changes behind it.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from features.bar_closes import close_back, keep_close
from features.registry import bars, feature
from features.step import NAN, Record, flushed, ratio, relative, step

FAST, SLOW = 2.0 / 3.0, 2.0 / 31.0


def state(params: Mapping[str, int | float]) -> np.dtype[Any]:
    """Lay out a ring of span + 1 closes, the mean and the result."""
    ring = ("closes", "f8", (int(params["span"]) + 1,))
    return np.dtype([ring, ("count", "i8"), ("mean", "f8"), ("value", "f8")], align=True)


@step
def init(s: Record, span: int) -> None:
    """Start with an empty ring."""
    s["count"] = 0
    s["mean"] = NAN
    s["value"] = NAN


@step
def on_bar(s: Record, m: Record) -> None:
    """Advance the mean by the bar's close."""
    if keep_close(s, m):
        size = s["closes"].size
        path = 0.0
        for back in range(size - 1):
            path += abs(close_back(s, back) - close_back(s, back + 1))
        if s["count"] == size:
            s["mean"] = close_back(s, 1)
        c = ratio(abs(m["bar_close"] - close_back(s, size - 1)), path, 1.0) * (FAST - SLOW) + SLOW
        s["mean"] = flushed(s["mean"] + c * c * (m["bar_close"] - s["mean"]))
        s["value"] = relative(m["bar_close"], s["mean"])


@step
def value(s: Record, m: Record) -> float:
    """Return the distance of the last close to the mean."""
    return s["value"]


feature(
    "price_vs_kama_{span}",
    state=state,
    defaults={"span": 10},
    init=init,
    on_bar=on_bar,
    value=value,
    warmup=lambda p: bars(int(p["span"]) + 1),
    group="price and trend",
    unit="fraction",
    range="about -0.1 to 0.1",
    source="Kaufman, Smarter Trading (1995); TA-Lib KAMA",
    inputs=("bars",),
)
