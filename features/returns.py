"""Simple return of the close over `span` bars: (close_t - close_{t-span}) / |close_{t-span}|."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from features.registry import bars, feature
from features.step import NAN, Record, relative, step, usable_prices


def state(params: Mapping[str, int | float]) -> np.dtype[Any]:
    """Lay out a ring of the last span + 1 closes."""
    return np.dtype([("closes", "f8", (int(params["span"]) + 1,)), ("count", "i8")], align=True)


@step
def init(s: Record, span: int) -> None:
    """Start with an empty ring."""
    s["count"] = 0


@step
def on_bar(s: Record, m: Record) -> None:
    """Keep the bar's close."""
    if usable_prices(m):
        s["closes"][s["count"] % s["closes"].size] = m["bar_close"]
        s["count"] += 1


@step
def value(s: Record, m: Record) -> float:
    """Return the change over the ring as a fraction of its oldest close."""
    size = s["closes"].size
    if s["count"] < size:
        return NAN
    return relative(s["closes"][(s["count"] - 1) % size], s["closes"][s["count"] % size])


feature(
    "returns_{span}",
    state=state,
    defaults={"span": 1},
    init=init,
    on_bar=on_bar,
    value=value,
    warmup=lambda p: bars(int(p["span"]) + 1),
    group="price and trend",
    unit="fraction",
    range="above -1 for positive prices",
    source="TA-Lib ROCP",
    inputs=("bars",),
)
