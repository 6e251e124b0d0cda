"""Relative strength index: 100 * up / (up + down), Wilder means of rises and falls of the close.

up_t = up_{t-1} + (max(close_t - close_{t-1}, 0) - up_{t-1}) / span, likewise down; both are seeded
with the mean of the first `span` changes. 50 where nothing ever moved.
"""

import numpy as np

from features.registry import bars, feature
from features.smoothing import EMA, ema_step, wilder_init
from features.step import Record, ratio, step, usable_prices

STATE = np.dtype([("up", EMA), ("down", EMA), ("close", "f8"), ("count", "i8")], align=True)


@step
def init(s: Record, span: int) -> None:
    """Start with empty means."""
    wilder_init(s["up"], span)
    wilder_init(s["down"], span)
    s["close"] = 0.0
    s["count"] = 0


@step
def on_bar(s: Record, m: Record) -> None:
    """Advance both means by the change of the close."""
    if usable_prices(m):
        change = m["bar_close"] - s["close"]
        if s["count"] > 0:
            ema_step(s["up"], max(change, 0.0))
            ema_step(s["down"], max(-change, 0.0))
        s["close"] = m["bar_close"]
        s["count"] += 1


@step
def value(s: Record, m: Record) -> float:
    """Return the index, 0 to 100."""
    up = s["up"]["value"]
    return 100.0 * ratio(up, up + s["down"]["value"], 0.5)


feature(
    "rsi_{span}",
    state=STATE,
    defaults={"span": 14},
    init=init,
    on_bar=on_bar,
    value=value,
    warmup=lambda p: bars(int(p["span"]) + 1),
    group="momentum",
    unit="index",
    range="0 to 100",
    source="Wilder, New Concepts in Technical Trading Systems (1978); TA-Lib RSI",
    inputs=("bars",),
)
