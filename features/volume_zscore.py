"""Standard score of the last bar's volume: (volume - mean) / deviation over `span` bars.

Population standard deviation of the last `span` volumes, itself included; 0 where they are all
equal.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from features.registry import bars, feature
from features.ring import keep, mean_of, std_of
from features.step import NAN, Record, ratio, step, usable_volume


def state(params: Mapping[str, int | float]) -> np.dtype[Any]:
    """Lay out a ring of the last volumes and the result."""
    ring = ("volumes", "f8", (int(params["span"]),))
    return np.dtype([ring, ("count", "i8"), ("value", "f8")], align=True)


@step
def init(s: Record, span: int) -> None:
    """Start with an empty ring."""
    s["count"] = 0
    s["value"] = NAN


@step
def on_bar(s: Record, m: Record) -> None:
    """Keep the bar's volume."""
    if usable_volume(m["bar_volume"]):
        keep(s, s["volumes"], m["bar_volume"])
        if s["count"] >= s["volumes"].size:
            mean = mean_of(s["volumes"])
            deviation = std_of(s["volumes"], mean)
            s["value"] = ratio(m["bar_volume"] - mean, deviation, 0.0)


@step
def value(s: Record, m: Record) -> float:
    """Return the score."""
    return s["value"]


feature(
    "volume_zscore",
    state=state,
    defaults={"span": 20},
    bounds={"span": (2, 10_000)},
    init=init,
    on_bar=on_bar,
    value=value,
    warmup=lambda p: bars(int(p["span"])),
    group="volume and flow",
    unit="standard deviations",
    range="-sqrt(span) to sqrt(span)",
    source="standard score; TA-Lib SMA and STDDEV",
    inputs=("bars",),
)
