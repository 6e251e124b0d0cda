"""MACD histogram: MACD - signal, MACD = EMA_fast - EMA_slow, signal = EMA_signal of MACD.

All three are seeded by plain means; the fast one starts slow - fast closes late, so that both have
their first value at the same bar (TA-Lib). With scale `close` the result is 100 * histogram /
|close|, comparable between instruments; with `price` it is in price units, as TA-Lib gives it.
"""

import numpy as np

from features.registry import bars, feature
from features.smoothing import EMA, ema_init, ema_step
from features.step import Record, ratio, step, usable_prices

SCALES = ("close", "price")
STATE = np.dtype(
    [("fast", EMA), ("slow", EMA), ("signal", EMA), ("close", "f8"), ("scale", "i8")], align=True
)


@step
def init(s: Record, fast: int, slow: int, signal: int, scale: int) -> None:
    """Start with empty means."""
    ema_init(s["fast"], fast)
    ema_init(s["slow"], slow)
    ema_init(s["signal"], signal)
    s["close"] = 0.0
    s["scale"] = scale


@step
def on_bar(s: Record, m: Record) -> None:
    """Advance the three means."""
    if usable_prices(m):
        s["close"] = m["bar_close"]
        ema_step(s["slow"], s["close"])
        if s["slow"]["count"] > s["slow"]["span"] - s["fast"]["span"]:
            ema_step(s["fast"], s["close"])
        if s["slow"]["count"] >= s["slow"]["span"]:
            ema_step(s["signal"], s["fast"]["value"] - s["slow"]["value"])


@step
def value(s: Record, m: Record) -> float:
    """Return the histogram at the last close."""
    histogram = s["fast"]["value"] - s["slow"]["value"] - s["signal"]["value"]
    return histogram if s["scale"] == 1 else 100.0 * ratio(histogram, abs(s["close"]), 0.0)


feature(
    "macd_histogram",
    state=STATE,
    defaults={"fast": 12, "slow": 26, "signal": 9, "scale": "close"},
    choices={"scale": SCALES},
    bounds={"fast": (1, 10_000), "slow": (1, 10_000), "signal": (1, 10_000)},
    check=lambda p: "fast must be at most slow" if p["fast"] > p["slow"] else "",
    init=init,
    on_bar=on_bar,
    value=value,
    warmup=lambda p: bars(int(p["slow"] + p["signal"]) - 1),
    group="price and trend",
    unit="percent of the close, or price",
    range="about -1 to 1 (scale close)",
    source="Appel (1979); TA-Lib MACD",
    inputs=("bars",),
)
