"""Distance of the close to its plain mean over `span` bars: (close - SMA) / |SMA|.

0 where the mean is zero.
"""

from features.bar_closes import init, keep_close, state
from features.registry import bars, feature
from features.ring import mean_of
from features.step import Record, relative, step


@step
def on_bar(s: Record, m: Record) -> None:
    """Hold the close against the mean of the ring."""
    if keep_close(s, m):
        s["value"] = relative(m["bar_close"], mean_of(s["closes"]))


@step
def value(s: Record, m: Record) -> float:
    """Return the distance of the last close to the mean."""
    return s["value"]


feature(
    "price_vs_sma_{span}",
    state=state,
    defaults={"span": 20},
    init=init,
    on_bar=on_bar,
    value=value,
    warmup=lambda p: bars(int(p["span"])),
    group="price and trend",
    unit="fraction",
    range="about -0.1 to 0.1",
    source="SMA: TA-Lib SMA",
    inputs=("bars",),
)
