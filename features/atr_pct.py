"""Average true range in percent of the close: 100 * ATR / |close|.

true range = max(high, previous close) - min(low, previous close), from the second bar on; ATR is
its Wilder mean, seeded with the mean of the first `span` ranges. 0 where the close is zero.
"""

import numpy as np

from features.directional import true_range
from features.registry import bars, feature
from features.smoothing import EMA, ema_step, wilder_init
from features.step import Record, ratio, step, usable_prices

STATE = np.dtype([("range", EMA), ("close", "f8"), ("started", "i8")], align=True)


@step
def init(s: Record, span: int) -> None:
    """Start before the first bar."""
    wilder_init(s["range"], span)
    s["close"] = 0.0
    s["started"] = 0


@step
def on_bar(s: Record, m: Record) -> None:
    """Advance by one bar."""
    if usable_prices(m):
        if s["started"] == 1:
            ema_step(s["range"], true_range(m["bar_high"], m["bar_low"], s["close"]))
        s["close"] = m["bar_close"]
        s["started"] = 1


@step
def value(s: Record, m: Record) -> float:
    """Return the range in percent of the last close."""
    return 100.0 * ratio(s["range"]["value"], abs(s["close"]), 0.0)


feature(
    "atr_pct",
    state=STATE,
    defaults={"span": 14},
    bounds={"span": (1, 10_000)},
    init=init,
    on_bar=on_bar,
    value=value,
    warmup=lambda p: bars(int(p["span"]) + 1),
    group="volatility",
    unit="percent of the close",
    range="0 or more",
    source="Wilder, New Concepts in Technical Trading Systems (1978); TA-Lib NATR",
    inputs=("bars",),
)
