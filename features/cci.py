"""Commodity channel index: (typical - mean) / (0.015 * mean absolute deviation) over `span` bars.

typical = (high + low + close) / 3. 0 where it did not move.
"""

from features.bar_terms import add_term, init, state
from features.registry import bars, feature
from features.step import NAN, Record, ratio, step, usable_prices


@step
def typical_price(m: Record) -> float:
    """Return the mean of high, low and close of the bar."""
    return (m["bar_high"] + m["bar_low"] + m["bar_close"]) / 3.0


@step
def on_bar(s: Record, m: Record) -> None:
    """Keep the typical price."""
    if usable_prices(m):
        add_term(s, typical_price(m))


@step
def value(s: Record, m: Record) -> float:
    """Return the index of the last usable bar."""
    size = s["terms"].size
    if s["count"] < size:
        return NAN
    total = 0.0
    for k in range(size):
        total += abs(s["terms"][k] - s["value"])
    newest = s["terms"][(s["count"] - 1) % size]
    return ratio(newest - s["value"], 0.015 * (total / size), 0.0)


feature(
    "cci_{span}",
    state=state,
    defaults={"span": 20},
    bounds={"span": (2, 10_000)},
    init=init,
    on_bar=on_bar,
    value=value,
    warmup=lambda p: bars(int(p["span"])),
    group="momentum",
    unit="index",
    range="about -300 to 300",
    source="Lambert, Commodity Channel Index (1980); TA-Lib CCI",
    inputs=("bars",),
)
