"""Parkinson's volatility of the last `span` bars, from highs and lows, in percent.

100 * sqrt(mean(ln(high / low)^2) / (4 ln 2)). Four to five times as precise as closes alone, if the
price moves continuously.
"""

import math

from features.bar_terms import add_term, init, state
from features.log_price import bar_span
from features.registry import bars, feature
from features.step import Record, step, usable_prices

FOUR_LN_2 = 4.0 * math.log(2.0)


@step
def on_bar(s: Record, m: Record) -> None:
    """Keep the bar's term."""
    if usable_prices(m):
        reach = bar_span(m)
        add_term(s, reach * reach)


@step
def value(s: Record, m: Record) -> float:
    """Return the volatility a bar, in percent."""
    return 100.0 * math.sqrt(s["value"] / FOUR_LN_2)


feature(
    "parkinson_{span}",
    state=state,
    defaults={"span": 20},
    init=init,
    on_bar=on_bar,
    value=value,
    warmup=lambda p: bars(int(p["span"])),
    group="volatility",
    unit="percent a bar",
    range="0 or more",
    source="Parkinson, The Extreme Value Method for Estimating the Variance of the "
    "Rate of Return (1980)",
    inputs=("bars",),
)
