"""Yang and Zhang's volatility of the last `span` bars, with the jumps between bars, in percent.

100 * sqrt(between + k within + (1 - k) rs): the sample variances of ln(open / close before) and
ln(close / open), and the mean term of Rogers and Satchell; k = 0.34 / (1.34 + (n + 1) / (n - 1)),
n = span. 0 where the sum is below zero.
"""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from features.log_price import log_ratio
from features.registry import bars, feature
from features.ring import keep, mean_of
from features.rogers_satchell import trend_free
from features.step import NAN, Record, flushed, step, usable, usable_prices


def state(params: Mapping[str, int | float]) -> np.dtype[Any]:
    """Lay out rings of the three terms, the close before and the result."""
    span = int(params["span"])
    rings = [(name, "f8", (span,)) for name in ("between", "within", "free")]
    return np.dtype([*rings, ("count", "i8"), ("close", "f8"), ("value", "f8")], align=True)


@step
def init(s: Record, span: int) -> None:
    """Start before the first bar."""
    s["count"] = 0
    s["close"] = NAN
    s["value"] = NAN


@step
def variance_of(ring: np.ndarray) -> float:
    """Return the sample variance of all slots.

    >>> variance_of(np.array([1.0, 3.0]))
    2.0
    """
    mean = mean_of(ring)
    total = 0.0
    for k in range(ring.size):
        total += (ring[k] - mean) * (ring[k] - mean)
    return total / (ring.size - 1.0)


@step
def on_bar(s: Record, m: Record) -> None:
    """Keep the bar's three terms."""
    if not usable_prices(m):
        return
    before = s["close"]
    s["close"] = m["bar_close"]
    if not usable(before):
        return
    size = s["between"].size
    at = s["count"] % size
    s["within"][at] = log_ratio(m["bar_close"], m["bar_open"])
    s["free"][at] = flushed(trend_free(m))
    keep(s, s["between"], log_ratio(m["bar_open"], before))
    if s["count"] >= size:
        k = 0.34 / (1.34 + (size + 1.0) / (size - 1.0))
        total = variance_of(s["between"]) + k * variance_of(s["within"])
        total += (1.0 - k) * mean_of(s["free"])
        s["value"] = 100.0 * math.sqrt(flushed(max(total, 0.0)))


@step
def value(s: Record, m: Record) -> float:
    """Return the volatility a bar, in percent."""
    return s["value"]


feature(
    "yang_zhang_{span}",
    state=state,
    defaults={"span": 20},
    bounds={"span": (2, 10_000)},
    init=init,
    on_bar=on_bar,
    value=value,
    warmup=lambda p: bars(int(p["span"]) + 1),
    group="volatility",
    unit="percent a bar",
    range="0 or more",
    source="Yang and Zhang, Drift-Independent Volatility Estimation Based on High, "
    "Low, Open, and Close Prices (2000)",
    inputs=("bars",),
)
