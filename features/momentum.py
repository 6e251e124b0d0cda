"""Change of the close over `span` bars: in percent (scale `close`) or in price (scale `price`).

close: 100 * (close_t - close_{t-span}) / |close_{t-span}|; price: close_t - close_{t-span}.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from features.registry import bars, feature
from features.ring import keep
from features.step import NAN, Record, relative, step, usable_prices

SCALES = ("close", "price")


def state(params: Mapping[str, int | float]) -> np.dtype[Any]:
    """Lay out a ring of the last span + 1 closes."""
    ring = ("closes", "f8", (int(params["span"]) + 1,))
    return np.dtype([ring, ("count", "i8"), ("scale", "i8")], align=True)


@step
def init(s: Record, span: int, scale: int) -> None:
    """Start with an empty ring."""
    s["count"] = 0
    s["scale"] = scale


@step
def on_bar(s: Record, m: Record) -> None:
    """Keep the bar's close."""
    if usable_prices(m):
        keep(s, s["closes"], m["bar_close"])


@step
def value(s: Record, m: Record) -> float:
    """Return the change over the ring."""
    size = s["closes"].size
    if s["count"] < size:
        return NAN
    newest = s["closes"][(s["count"] - 1) % size]
    oldest = s["closes"][s["count"] % size]
    return newest - oldest if s["scale"] == 1 else 100.0 * relative(newest, oldest)


feature(
    "momentum_{span}",
    state=state,
    defaults={"span": 10, "scale": "close"},
    choices={"scale": SCALES},
    init=init,
    on_bar=on_bar,
    value=value,
    warmup=lambda p: bars(int(p["span"]) + 1),
    group="momentum",
    unit="percent, or price",
    range="above -100 for positive prices (scale close)",
    source="TA-Lib ROC (scale close) and MOM (scale price)",
    inputs=("bars",),
)
