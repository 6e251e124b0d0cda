"""Standard score of ln(price / price of the peer) over the last `span` bars; 0 if it stood still.

Returns are logarithmic, over the bars that both have; the peer is the instrument that the setting
`engine.pairs` names (features/pair.py).
"""

from features.pair import init, on_bar, on_peer_bar, state, warmup
from features.registry import feature
from features.step import Record, step


@step
def value(s: Record, m: Record) -> float:
    """Return it for the last `span` pairs of returns."""
    return s["zscore"]


feature(
    "pair_zscore_{span}",
    state=state,
    defaults={"span": 60},
    bounds={"span": (2, 10_000)},
    init=init,
    on_bar=on_bar,
    on_peer_bar=on_peer_bar,
    value=value,
    warmup=warmup,
    group="cross-instrument",
    unit="standard deviations",
    range="-sqrt(span) to sqrt(span)",
    source="Gatev, Goetzmann and Rouwenhorst, Pairs Trading (2006)",
    inputs=("bars", "peer_bars"),
)
