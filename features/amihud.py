"""Amihud's illiquidity over the last `span` bars: percent of price change a million traded.

mean of 100 * |ln(close / close before)| / (|close| * volume / 1,000,000) over those of the bars
that traded; 0 where none did. Money is in the quote currency.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from features.log_price import log_ratio
from features.registry import bars, feature
from features.ring import keep
from features.step import NAN, TINY, Record, ratio, step, usable, usable_prices, usable_volume

NO_TRADE = -1.0


def state(params: Mapping[str, int | float]) -> np.dtype[Any]:
    """Lay out a ring of terms, the close before and the result."""
    words = [("count", "i8"), ("close", "f8"), ("value", "f8")]
    return np.dtype([("terms", "f8", (int(params["span"]),)), *words], align=True)


@step
def init(s: Record, span: int) -> None:
    """Start before the first bar."""
    s["count"] = 0
    s["close"] = NAN
    s["value"] = NAN


@step
def on_bar(s: Record, m: Record) -> None:
    """Keep the bar's term and take the mean of those that traded."""
    if not usable_prices(m) or not usable_volume(m["bar_volume"]):
        return
    before = s["close"]
    s["close"] = m["bar_close"]
    if not usable(before):
        return
    money = abs(m["bar_close"]) * m["bar_volume"]
    move = 1e8 * abs(log_ratio(m["bar_close"], before))
    keep(s, s["terms"], move / money if money > TINY else NO_TRADE)
    if s["count"] >= s["terms"].size:
        total = 0.0
        traded = 0.0
        for k in range(s["terms"].size):
            if s["terms"][k] >= 0.0:
                total += s["terms"][k]
                traded += 1.0
        s["value"] = ratio(total, traded, 0.0)


@step
def value(s: Record, m: Record) -> float:
    """Return the illiquidity."""
    return s["value"]


feature(
    "amihud_{span}",
    state=state,
    defaults={"span": 20},
    init=init,
    on_bar=on_bar,
    value=value,
    warmup=lambda p: bars(int(p["span"]) + 1),
    group="volume and flow",
    unit="percent a million of quote currency",
    range="0 or more",
    source="Amihud, Illiquidity and Stock Returns: Cross-Section and Time-Series Effects (2002)",
    inputs=("bars",),
)
