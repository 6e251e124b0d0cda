"""Rate of change of the close over `span` bars: 100 * (close_t / close_{t-span} - 1).

Taken against the magnitude of the older close, 0 where that is zero.
"""

from features.registry import bars, feature
from features.returns import init, on_bar, state
from features.returns import value as change
from features.step import Record, step


@step
def value(s: Record, m: Record) -> float:
    """Return the rate of change in percent."""
    return 100.0 * change(s, m)


feature(
    "roc_{span}",
    state=state,
    defaults={"span": 10},
    init=init,
    on_bar=on_bar,
    value=value,
    warmup=lambda p: bars(int(p["span"]) + 1),
    group="momentum",
    unit="percent",
    range="above -100 for positive prices",
    source="TA-Lib ROC",
    inputs=("bars",),
)
