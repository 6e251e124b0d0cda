"""Bollinger BandWidth: (upper - lower) / |mean|, bands at mean -+ width * deviation.

Mean and population standard deviation of the last `span` closes; 0 where the mean is zero.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from features.registry import bars, feature
from features.ring import keep, mean_of, std_of
from features.step import NAN, Record, ratio, step, usable_prices


def state(params: Mapping[str, int | float]) -> np.dtype[Any]:
    """Lay out a ring of the last closes and the bands."""
    words = [("count", "i8"), ("width", "f8"), ("mean", "f8"), ("half", "f8")]
    return np.dtype([("closes", "f8", (int(params["span"]),)), *words], align=True)


@step
def init(s: Record, span: int, width: float) -> None:
    """Start with an empty ring."""
    s["count"] = 0
    s["width"] = width
    s["mean"] = NAN
    s["half"] = NAN


@step
def on_bar(s: Record, m: Record) -> None:
    """Keep the close and draw the bands."""
    if usable_prices(m):
        keep(s, s["closes"], m["bar_close"])
        if s["count"] >= s["closes"].size:
            s["mean"] = mean_of(s["closes"])
            s["half"] = s["width"] * std_of(s["closes"], s["mean"])


@step
def value(s: Record, m: Record) -> float:
    """Return the distance of the bands as a fraction of the mean."""
    return ratio(2.0 * s["half"], abs(s["mean"]), 0.0)


feature(
    "bb_width",
    state=state,
    defaults={"span": 20, "width": 2.0},
    bounds={"span": (2, 10_000), "width": (0.01, 100.0)},
    init=init,
    on_bar=on_bar,
    value=value,
    warmup=lambda p: bars(int(p["span"])),
    group="volatility",
    unit="fraction",
    range="0 or more",
    source="Bollinger, Bollinger on Bollinger Bands (2001); TA-Lib BBANDS",
    inputs=("bars",),
)
