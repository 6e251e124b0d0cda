"""Slope of the least-squares line through the last `span` closes, in percent of the close a bar.

100 * slope / |close|, slope = sum (x - mean x)(close - mean) / sum (x - mean x)^2 over bar numbers
x. 0 where the close is zero.
"""

from features.bar_closes import close_back, init, keep_close, state
from features.registry import bars, feature
from features.ring import mean_of
from features.step import Record, ratio, step


@step
def on_bar(s: Record, m: Record) -> None:
    """Fit the line to the ring."""
    if keep_close(s, m):
        size = s["closes"].size
        mean = mean_of(s["closes"])
        product = 0.0
        for back in range(size):
            move = close_back(s, back) - mean
            product += (0.5 * (size - 1) - back) * move
        spread = size * (size * size - 1.0) / 12.0
        slope = product / spread
        s["value"] = 100.0 * ratio(slope, abs(m["bar_close"]), 0.0)


@step
def value(s: Record, m: Record) -> float:
    """Return the slope."""
    return s["value"]


feature(
    "regression_slope_{span}",
    state=state,
    defaults={"span": 20},
    bounds={"span": (2, 10_000)},
    init=init,
    on_bar=on_bar,
    value=value,
    warmup=lambda p: bars(int(p["span"])),
    group="price and trend",
    unit="percent a bar",
    range="about -1 to 1",
    source="least squares; TA-Lib LINEARREG_SLOPE",
    inputs=("bars",),
)
