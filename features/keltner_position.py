"""Place of the close in the Keltner channel: (close - lower) / (upper - lower).

The bands are EMA(close, span) -+ width * ATR(atr_span), ATR being Wilder's mean of the true range.
0.5 where the bands do not differ, by more than a hundred-millionth of the price: in a market that
stands still the range fades away, and what rounding leaves of the distance does not.
"""

import numpy as np

from features.directional import true_range
from features.registry import bars, feature
from features.smoothing import EMA, ema_init, ema_step, wilder_init
from features.step import NAN, Record, ratio, step, usable_prices

FLAT = 1e-8

STATE = np.dtype(
    [("mean", EMA), ("range", EMA), ("close", "f8"), ("width", "f8"), ("count", "i8")], align=True
)


@step
def init(s: Record, span: int, atr_span: int, width: float) -> None:
    """Start before the first bar."""
    ema_init(s["mean"], span)
    wilder_init(s["range"], atr_span)
    s["close"] = 0.0
    s["width"] = width
    s["count"] = 0


@step
def on_bar(s: Record, m: Record) -> None:
    """Advance mean and range by one bar."""
    if usable_prices(m):
        if s["count"] > 0:
            ema_step(s["range"], true_range(m["bar_high"], m["bar_low"], s["close"]))
        s["close"] = m["bar_close"]
        s["count"] += 1
        ema_step(s["mean"], s["close"])


@step
def value(s: Record, m: Record) -> float:
    """Return the place: 0 at the lower band, 1 at the upper one."""
    half = s["width"] * s["range"]["value"]
    if not (half >= 0.0) or s["mean"]["count"] < s["mean"]["span"]:
        return NAN
    if half <= FLAT * abs(s["mean"]["value"]):
        return 0.5
    return 0.5 + 0.5 * ratio(s["close"] - s["mean"]["value"], half, 0.0)


feature(
    "keltner_position",
    state=STATE,
    defaults={"span": 20, "atr_span": 10, "width": 2.0},
    bounds={"span": (1, 10_000), "atr_span": (1, 10_000), "width": (0.01, 100.0)},
    init=init,
    on_bar=on_bar,
    value=value,
    warmup=lambda p: bars(int(max(p["span"], p["atr_span"] + 1))),
    group="volatility",
    unit="fraction",
    range="about -0.5 to 1.5",
    source="Chester Keltner, How to Make Money in Commodities (1960), in Linda Raschke's form",
    inputs=("bars",),
)
