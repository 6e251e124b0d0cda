"""Beta of the instrument to its peer over `span` bars: covariance / variance of the peer.

0 where the peer stood still.

Returns are logarithmic, over the bars that both have; the peer is the instrument that the setting
`engine.pairs` names (features/pair.py).
"""

from features.pair import init, on_bar, on_peer_bar, state, warmup
from features.registry import feature
from features.step import Record, ratio, step


@step
def value(s: Record, m: Record) -> float:
    """Return it for the last `span` pairs of returns."""
    return ratio(s["covariance"], s["peer_variance"], 0.0)


feature(
    "pair_beta_{span}",
    state=state,
    defaults={"span": 60},
    bounds={"span": (2, 10_000)},
    init=init,
    on_bar=on_bar,
    on_peer_bar=on_peer_bar,
    value=value,
    warmup=warmup,
    group="cross-instrument",
    unit="ratio",
    range="about -3 to 3",
    source="Sharpe, Capital Asset Prices (1964); TA-Lib BETA has another definition",
    inputs=("bars", "peer_bars"),
)
