"""Williams %R: -100 * (highest high - close) / (highest high - lowest low) over `span` bars.

-50 where the range is zero. It is %K less 100, over the same rings.
"""

from features.registry import bars, feature
from features.step import Record, step
from features.stoch_k import init, on_bar, state


@step
def value(s: Record, m: Record) -> float:
    """Return %R, -100 at the bottom and 0 at the top."""
    return s["raw"] - 100.0


feature(
    "williams_r_{span}",
    state=state,
    defaults={"span": 14},
    init=init,
    on_bar=on_bar,
    value=value,
    warmup=lambda p: bars(int(p["span"])),
    group="momentum",
    unit="percent",
    range="-100 to 0",
    source="Williams, How I Made One Million Dollars Trading Commodities (1973); TA-Lib WILLR",
    inputs=("bars",),
)
