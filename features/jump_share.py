"""Share of jumps in the variance of the last `span` bars: max(0, 1 - bipower / realised).

Both as in features/bar_variation.py; 0 where nothing moved.
"""

from features.bar_variation import init, on_bar, state
from features.registry import bars, feature
from features.step import NAN, Record, ratio, step


@step
def value(s: Record, m: Record) -> float:
    """Return it for the last `span` returns."""
    if s["count"] < s["returns"].size:
        return NAN
    return max(0.0, 1.0 - ratio(s["bipower"], s["squares"], 1.0))


feature(
    "jump_share_{span}",
    state=state,
    defaults={"span": 20},
    bounds={"span": (2, 10_000)},
    init=init,
    on_bar=on_bar,
    value=value,
    warmup=lambda p: bars(int(p["span"]) + 1),
    group="volatility",
    unit="share",
    range="0 to 1",
    source="Barndorff-Nielsen and Shephard (2004); Huang and Tauchen (2005)",
    inputs=("bars",),
)
