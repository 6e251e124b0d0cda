"""On-balance volume over the last `span` bars, as a share of all their volume.

sum(sign(close - close before) * volume) / sum(volume): the change of on-balance volume, made
comparable between instruments. 0 where nothing was traded.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from features.registry import bars, feature
from features.ring import keep
from features.step import NAN, Record, ratio, step, usable_prices, usable_volume


def state(params: Mapping[str, int | float]) -> np.dtype[Any]:
    """Lay out a ring of signed volumes, one of plain ones, the close before and the result."""
    rings = [(name, "f8", (int(params["span"]),)) for name in ("signed", "volumes")]
    return np.dtype([*rings, ("count", "i8"), ("close", "f8"), ("value", "f8")], align=True)


@step
def init(s: Record, span: int) -> None:
    """Start before the first bar."""
    s["count"] = 0
    s["close"] = NAN
    s["value"] = NAN


@step
def on_bar(s: Record, m: Record) -> None:
    """Keep the bar's volume, signed by the change of the close."""
    if not usable_prices(m) or not usable_volume(m["bar_volume"]):
        return
    before = s["close"]
    s["close"] = m["bar_close"]
    if before == before:
        sign = 1.0 if s["close"] > before else (-1.0 if s["close"] < before else 0.0)
        s["volumes"][s["count"] % s["volumes"].size] = m["bar_volume"]
        keep(s, s["signed"], sign * m["bar_volume"])
        if s["count"] >= s["signed"].size:
            signed = 0.0
            volume = 0.0
            for k in range(s["signed"].size):
                signed += s["signed"][k]
                volume += s["volumes"][k]
            s["value"] = ratio(signed, volume, 0.0)


@step
def value(s: Record, m: Record) -> float:
    """Return the share, -1 (all on falling bars) to 1 (all on rising ones)."""
    return s["value"]


feature(
    "obv_{span}",
    state=state,
    defaults={"span": 20},
    init=init,
    on_bar=on_bar,
    value=value,
    warmup=lambda p: bars(int(p["span"]) + 1),
    group="volume and flow",
    unit="share",
    range="-1 to 1",
    source="Granville, New Key to Stock Market Profits (1963); TA-Lib OBV",
    inputs=("bars",),
)
