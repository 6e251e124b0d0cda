"""Money flow index: 100 * up / (up + down), typical price times volume of rising and falling bars.

A bar rises when its typical price (high + low + close) / 3 is above that of the bar before; up and
down are sums over the last `span` bars. 50 where no money flowed.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from features.cci import typical_price
from features.registry import bars, feature
from features.ring import keep
from features.step import NAN, Record, ratio, step, usable_prices, usable_volume


def state(params: Mapping[str, int | float]) -> np.dtype[Any]:
    """Lay out a ring of signed flows, the typical price before, and the result."""
    ring = ("flows", "f8", (int(params["span"]),))
    return np.dtype([ring, ("count", "i8"), ("price", "f8"), ("value", "f8")], align=True)


@step
def init(s: Record, span: int) -> None:
    """Start with an empty ring."""
    s["count"] = 0
    s["price"] = NAN
    s["value"] = NAN


@step
def on_bar(s: Record, m: Record) -> None:
    """Keep the bar's flow, signed by the change of the typical price."""
    if not usable_prices(m) or not usable_volume(m["bar_volume"]):
        return
    before = s["price"]
    s["price"] = typical_price(m)
    if before == before:
        sign = 1.0 if s["price"] > before else (-1.0 if s["price"] < before else 0.0)
        keep(s, s["flows"], sign * abs(s["price"]) * m["bar_volume"])
        if s["count"] >= s["flows"].size:
            up = 0.0
            down = 0.0
            for k in range(s["flows"].size):
                up += max(s["flows"][k], 0.0)
                down += max(-s["flows"][k], 0.0)
            s["value"] = 100.0 * ratio(up, up + down, 0.5)


@step
def value(s: Record, m: Record) -> float:
    """Return the index, 0 to 100."""
    return s["value"]


feature(
    "mfi_{span}",
    state=state,
    defaults={"span": 14},
    init=init,
    on_bar=on_bar,
    value=value,
    warmup=lambda p: bars(int(p["span"]) + 1),
    group="momentum",
    unit="index",
    range="0 to 100",
    source="Quong and Soudack, Volume-Weighted RSI: Money Flow (1989); TA-Lib MFI",
    inputs=("bars",),
)
