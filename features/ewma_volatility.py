"""Volatility of exponentially weighted squared returns of the close, in percent a bar.

sqrt(v), v_t = v_{t-1} + 2 / (span + 1) * (r_t^2 - v_{t-1}), r = 100 * ln(close / close before); v
is seeded with the mean of the first `span` squares. A span of 32 is close to RiskMetrics' 0.94.
"""

import math

import numpy as np

from features.log_price import log_ratio
from features.registry import bars, feature
from features.smoothing import EMA, ema_init, ema_step
from features.step import NAN, Record, step, usable, usable_prices

STATE = np.dtype([("square", EMA), ("close", "f8")], align=True)


@step
def init(s: Record, span: int) -> None:
    """Start before the first bar."""
    ema_init(s["square"], span)
    s["close"] = NAN


@step
def on_bar(s: Record, m: Record) -> None:
    """Advance the mean by the bar's squared return."""
    if usable_prices(m):
        before = s["close"]
        s["close"] = m["bar_close"]
        if usable(before):
            move = 100.0 * log_ratio(m["bar_close"], before)
            ema_step(s["square"], move * move)


@step
def value(s: Record, m: Record) -> float:
    """Return the volatility."""
    return math.sqrt(s["square"]["value"])


feature(
    "ewma_volatility_{span}",
    state=STATE,
    defaults={"span": 32},
    init=init,
    on_bar=on_bar,
    value=value,
    warmup=lambda p: bars(int(p["span"]) + 1),
    group="volatility",
    unit="percent a bar",
    range="0 or more",
    source="J.P. Morgan and Reuters, RiskMetrics Technical Document (1996)",
    inputs=("bars",),
)
