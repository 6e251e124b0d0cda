"""Correlation of the returns of the instrument and its peer over `span` bars; 0 if one stood still.

Returns are logarithmic, over the bars that both have; the peer is the instrument that the setting
`engine.pairs` names (features/pair.py).
"""

import math

from features.pair import init, on_bar, on_peer_bar, state, warmup
from features.registry import feature
from features.step import NAN, Record, ratio, step


@step
def value(s: Record, m: Record) -> float:
    """Return it for the last `span` pairs of returns."""
    if s["count"] < s["own"].size:
        return NAN
    scale = math.sqrt(s["own_variance"]) * math.sqrt(s["peer_variance"])
    return min(1.0, max(-1.0, ratio(s["covariance"], scale, 0.0)))


feature(
    "pair_correlation_{span}",
    state=state,
    defaults={"span": 60},
    bounds={"span": (2, 10_000)},
    init=init,
    on_bar=on_bar,
    on_peer_bar=on_peer_bar,
    value=value,
    warmup=warmup,
    group="cross-instrument",
    unit="correlation",
    range="-1 to 1",
    source="Pearson's correlation coefficient",
    inputs=("bars", "peer_bars"),
)
