"""Distance of the close to its exponential mean: (close - EMA) / |EMA|.

EMA_t = EMA_{t-1} + 2 / (span + 1) * (close_t - EMA_{t-1}), seeded with the mean of the first `span`
closes. 0 where the mean is zero.
"""

import numpy as np

from features.registry import bars, feature
from features.smoothing import EMA, ema_init, ema_step
from features.step import Record, relative, step, usable_prices

STATE = np.dtype([("ema", EMA), ("close", "f8")], align=True)


@step
def init(s: Record, span: int) -> None:
    """Start with an empty mean."""
    ema_init(s["ema"], span)
    s["close"] = 0.0


@step
def on_bar(s: Record, m: Record) -> None:
    """Advance the mean by the bar's close."""
    if usable_prices(m):
        s["close"] = m["bar_close"]
        ema_step(s["ema"], s["close"])


@step
def value(s: Record, m: Record) -> float:
    """Return the distance of the last close to the mean, as a fraction."""
    return relative(s["close"], s["ema"]["value"])


feature(
    "price_vs_ema_{span}",
    state=STATE,
    defaults={"span": 9},
    init=init,
    on_bar=on_bar,
    value=value,
    warmup=lambda p: bars(int(p["span"])),
    group="price and trend",
    unit="fraction",
    range="about -0.1 to 0.1",
    source="EMA: TA-Lib ta_EMA (default compatibility)",
    inputs=("bars",),
)
