"""Number of bars in a row, up to the last one, whose close is above its exponential mean.

0 where the last close is at or below EMA(span). Counting begins with the first bar that has a mean.
"""

import numpy as np

from features.registry import bars, feature
from features.smoothing import EMA, ema_init, ema_step
from features.step import NAN, Record, step, usable_prices

STATE = np.dtype([("ema", EMA), ("above", "i8")], align=True)


@step
def init(s: Record, span: int) -> None:
    """Start with an empty mean."""
    ema_init(s["ema"], span)
    s["above"] = 0


@step
def on_bar(s: Record, m: Record) -> None:
    """Advance the mean, then count or start again."""
    if usable_prices(m):
        ema_step(s["ema"], m["bar_close"])
        s["above"] = s["above"] + 1 if m["bar_close"] > s["ema"]["value"] else 0


@step
def value(s: Record, m: Record) -> float:
    """Return the length of the run in bars."""
    return NAN if s["ema"]["count"] < s["ema"]["span"] else 1.0 * s["above"]


feature(
    "consecutive_above_ema",
    state=STATE,
    defaults={"span": 21},
    bounds={"span": (1, 10_000)},
    init=init,
    on_bar=on_bar,
    value=value,
    warmup=lambda p: bars(int(p["span"])),
    group="price and trend",
    unit="bars",
    range="0 or more",
    source="EMA: TA-Lib ta_EMA (default compatibility)",
    inputs=("bars",),
)
