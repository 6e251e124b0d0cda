"""Order of three exponential means of the close: 1 rising, -1 falling, 0 mixed.

1 where EMA_fast > EMA_middle > EMA_slow, -1 where EMA_fast < EMA_middle < EMA_slow, else 0.
"""

import numpy as np

from features.registry import bars, feature
from features.smoothing import EMA, ema_init, ema_step
from features.step import NAN, Record, step, usable_prices

STATE = np.dtype([("fast", EMA), ("middle", EMA), ("slow", EMA)], align=True)


@step
def init(s: Record, fast: int, middle: int, slow: int) -> None:
    """Start with empty means."""
    ema_init(s["fast"], fast)
    ema_init(s["middle"], middle)
    ema_init(s["slow"], slow)


@step
def on_bar(s: Record, m: Record) -> None:
    """Advance the means by the bar's close."""
    if usable_prices(m):
        ema_step(s["fast"], m["bar_close"])
        ema_step(s["middle"], m["bar_close"])
        ema_step(s["slow"], m["bar_close"])


@step
def value(s: Record, m: Record) -> float:
    """Return 1.0, 0.0 or -1.0."""
    fast = s["fast"]["value"]
    middle = s["middle"]["value"]
    slow = s["slow"]["value"]
    if not (abs(fast) >= 0.0 and abs(middle) >= 0.0 and abs(slow) >= 0.0):
        return NAN
    if fast > middle and middle > slow:
        return 1.0
    return -1.0 if fast < middle and middle < slow else 0.0


feature(
    "ema_alignment",
    state=STATE,
    defaults={"fast": 9, "middle": 21, "slow": 50},
    bounds={"fast": (1, 10_000), "middle": (1, 10_000), "slow": (1, 10_000)},
    init=init,
    on_bar=on_bar,
    value=value,
    warmup=lambda p: bars(int(max(p["fast"], p["middle"], p["slow"]))),
    group="price and trend",
    unit="sign",
    range="-1, 0 or 1",
    source="EMA: TA-Lib ta_EMA (default compatibility)",
    inputs=("bars",),
)
