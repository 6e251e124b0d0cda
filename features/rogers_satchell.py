"""Rogers and Satchell's volatility of the last `span` bars, right also for a trend, in percent.

100 * sqrt(mean(ln(h/c) ln(h/o) + ln(l/c) ln(l/o))) over open o, high h, low l, close c; 0 where the
mean is below zero, as odd bars can make it.
"""

import math

from features.bar_terms import add_term, init, state
from features.log_price import log_ratio
from features.registry import bars, feature
from features.step import Record, step, usable_prices


@step
def trend_free(m: Record) -> float:
    """Return a bar's term of the variance."""
    up = log_ratio(m["bar_high"], m["bar_close"]) * log_ratio(m["bar_high"], m["bar_open"])
    down = log_ratio(m["bar_low"], m["bar_close"]) * log_ratio(m["bar_low"], m["bar_open"])
    return up + down


@step
def on_bar(s: Record, m: Record) -> None:
    """Keep the bar's term."""
    if usable_prices(m):
        add_term(s, trend_free(m))


@step
def value(s: Record, m: Record) -> float:
    """Return the volatility a bar, in percent."""
    return 100.0 * math.sqrt(s["value"] if not s["value"] < 0.0 else 0.0)


feature(
    "rogers_satchell_{span}",
    state=state,
    defaults={"span": 20},
    init=init,
    on_bar=on_bar,
    value=value,
    warmup=lambda p: bars(int(p["span"])),
    group="volatility",
    unit="percent a bar",
    range="0 or more",
    source="Rogers and Satchell, Estimating Variance from High, Low and Closing Prices (1991)",
    inputs=("bars",),
)
