"""Share of the variance of the last `span` closes that their least-squares line explains.

R2 = (sum (x - mean x)(close - mean))^2 / (sum (x - mean x)^2 * sum (close - mean)^2) over bar
numbers x. 0 where the close did not move.
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
        squares = 0.0
        for back in range(size):
            move = close_back(s, back) - mean
            product += (0.5 * (size - 1) - back) * move
            squares += move * move
        spread = size * (size * size - 1.0) / 12.0
        slope = product / spread
        s["value"] = min(1.0, ratio(slope * slope * spread, squares, 0.0))


@step
def value(s: Record, m: Record) -> float:
    """Return the share, 0 to 1."""
    return s["value"]


feature(
    "regression_r2_{span}",
    state=state,
    defaults={"span": 20},
    bounds={"span": (2, 10_000)},
    init=init,
    on_bar=on_bar,
    value=value,
    warmup=lambda p: bars(int(p["span"])),
    group="price and trend",
    unit="share",
    range="0 to 1",
    source="coefficient of determination of ordinary least squares",
    inputs=("bars",),
)
