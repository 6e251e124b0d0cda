"""Distance of the close to its linearly weighted mean over `span` bars: (close - WMA) / |WMA|.

WMA = sum w close / sum w, the weights being 1 for the oldest to `span` for the newest. 0 where the
mean is zero.
"""

from features.bar_closes import close_back, init, keep_close, state
from features.registry import bars, feature
from features.step import Record, relative, step


@step
def on_bar(s: Record, m: Record) -> None:
    """Hold the close against the weighted mean of the ring, taken around the newest close."""
    if keep_close(s, m):
        size = s["closes"].size
        total = 0.0
        for back in range(1, size):
            total += (size - back) * (close_back(s, back) - m["bar_close"])
        mean = m["bar_close"] + total / (0.5 * size * (size + 1))
        s["value"] = relative(m["bar_close"], mean)


@step
def value(s: Record, m: Record) -> float:
    """Return the distance of the last close to the mean."""
    return s["value"]


feature(
    "price_vs_wma_{span}",
    state=state,
    defaults={"span": 20},
    init=init,
    on_bar=on_bar,
    value=value,
    warmup=lambda p: bars(int(p["span"])),
    group="price and trend",
    unit="fraction",
    range="about -0.1 to 0.1",
    source="WMA: TA-Lib WMA",
    inputs=("bars",),
)
