"""Standard deviation of the last `span` returns of the close, in percent a bar.

Returns are 100 * ln(close / close before); the deviation is that of the population, around their
mean.
"""

from features.bar_terms import add_term, init, state
from features.log_price import log_ratio
from features.registry import bars, feature
from features.ring import std_of
from features.step import NAN, Record, step, usable, usable_prices


@step
def on_bar(s: Record, m: Record) -> None:
    """Keep the bar's return."""
    if usable_prices(m):
        before = s["close"]
        s["close"] = m["bar_close"]
        if usable(before):
            add_term(s, 100.0 * log_ratio(m["bar_close"], before))


@step
def value(s: Record, m: Record) -> float:
    """Return the deviation."""
    return std_of(s["terms"], s["value"]) if s["count"] >= s["terms"].size else NAN


feature(
    "volatility_{span}",
    state=state,
    defaults={"span": 20},
    init=init,
    on_bar=on_bar,
    value=value,
    warmup=lambda p: bars(int(p["span"]) + 1),
    group="volatility",
    unit="percent a bar",
    range="0 or more",
    source="historical volatility: Hull, Options, Futures and Other Derivatives; TA-Lib STDDEV",
    inputs=("bars",),
)
