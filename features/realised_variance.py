"""Realised variance of the last `span` bars: sum of squared returns, in percent squared.

Returns are 100 * ln(close / close before).
"""

from features.bar_variation import init, on_bar, state
from features.registry import bars, feature
from features.step import Record, step


@step
def value(s: Record, m: Record) -> float:
    """Return it for the last `span` returns."""
    return s["squares"]


feature(
    "realised_variance_{span}",
    state=state,
    defaults={"span": 20},
    bounds={"span": (2, 10_000)},
    init=init,
    on_bar=on_bar,
    value=value,
    warmup=lambda p: bars(int(p["span"]) + 1),
    group="volatility",
    unit="percent squared",
    range="0 or more",
    source="Andersen, Bollerslev, Diebold and Labys, Modeling and Forecasting "
    "Realized Volatility (2003)",
    inputs=("bars",),
)
