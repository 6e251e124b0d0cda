"""Distance of the close to the volume-weighted mean price of the last `span` bars, as a fraction.

(close - VWAP) / |VWAP|, VWAP = sum(typical * volume) / sum(volume), typical = (high + low + close)
/ 3. Where nothing was traded VWAP is the close.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from features.cci import typical_price
from features.registry import bars, feature
from features.ring import keep
from features.step import NAN, Record, ratio, relative, step, usable_prices, usable_volume


def state(params: Mapping[str, int | float]) -> np.dtype[Any]:
    """Lay out rings of typical prices and volumes, and the result."""
    rings = [(name, "f8", (int(params["span"]),)) for name in ("prices", "volumes")]
    return np.dtype([*rings, ("count", "i8"), ("value", "f8")], align=True)


@step
def init(s: Record, span: int) -> None:
    """Start with empty rings."""
    s["count"] = 0
    s["value"] = NAN


@step
def on_bar(s: Record, m: Record) -> None:
    """Keep price and volume and weigh them, around the close."""
    if not usable_prices(m) or not usable_volume(m["bar_volume"]):
        return
    size = s["prices"].size
    s["volumes"][s["count"] % size] = m["bar_volume"]
    keep(s, s["prices"], typical_price(m))
    if s["count"] >= size:
        money = 0.0
        volume = 0.0
        for k in range(size):
            money += (s["prices"][k] - m["bar_close"]) * s["volumes"][k]
            volume += s["volumes"][k]
        vwap = m["bar_close"] + ratio(money, volume, 0.0)
        s["value"] = relative(m["bar_close"], vwap)


@step
def value(s: Record, m: Record) -> float:
    """Return the distance."""
    return s["value"]


feature(
    "vwap_distance_{span}",
    state=state,
    defaults={"span": 20},
    init=init,
    on_bar=on_bar,
    value=value,
    warmup=lambda p: bars(int(p["span"])),
    group="volume and flow",
    unit="fraction",
    range="about -0.05 to 0.05",
    source="Berkowitz, Logue and Noser, The Total Cost of Transactions on the NYSE (1988)",
    inputs=("bars",),
)
