"""Bipower variation of the last `span` bars: variance without jumps, in percent squared.

pi / 2 * n / (n - 1) * sum |r_i| |r_{i-1}| over the n = span returns r = 100 * ln(close / before).
"""

from features.bar_variation import init, on_bar, state
from features.registry import bars, feature
from features.step import Record, step


@step
def value(s: Record, m: Record) -> float:
    """Return it for the last `span` returns."""
    return s["bipower"]


feature(
    "bipower_variation_{span}",
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
    source="Barndorff-Nielsen and Shephard, Power and Bipower Variation (2004)",
    inputs=("bars",),
)
