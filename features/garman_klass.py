"""Garman and Klass's volatility of the last `span` bars, from all four prices, in percent.

100 * sqrt(mean(ln(high / low)^2 / 2 - (2 ln 2 - 1) ln(close / open)^2)); 0 where the mean is below
zero, as odd bars can make it.
"""

import math

from features.bar_terms import add_term, init, state
from features.log_price import bar_span, log_ratio
from features.registry import bars, feature
from features.step import Record, step, usable_prices

WEIGHT = 2.0 * math.log(2.0) - 1.0


@step
def on_bar(s: Record, m: Record) -> None:
    """Keep the bar's term."""
    if usable_prices(m):
        reach = bar_span(m)
        move = log_ratio(m["bar_close"], m["bar_open"])
        add_term(s, 0.5 * reach * reach - WEIGHT * move * move)


@step
def value(s: Record, m: Record) -> float:
    """Return the volatility a bar, in percent."""
    return 100.0 * math.sqrt(s["value"] if not s["value"] < 0.0 else 0.0)


feature(
    "garman_klass_{span}",
    state=state,
    defaults={"span": 20},
    init=init,
    on_bar=on_bar,
    value=value,
    warmup=lambda p: bars(int(p["span"])),
    group="volatility",
    unit="percent a bar",
    range="0 or more",
    source="Garman and Klass, On the Estimation of Security Price Volatilities from "
    "Historical Data (1980)",
    inputs=("bars",),
)
