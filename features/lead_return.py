"""Return of the peer over the last `span` bars, in percent: what leads, where it leads.

Returns are logarithmic, over the bars that both have; the peer is the instrument that the setting
`engine.pairs` names (features/pair.py).
"""

from features.pair import init, on_bar, on_peer_bar, state, warmup
from features.registry import feature
from features.step import Record, step


@step
def value(s: Record, m: Record) -> float:
    """Return it for the last `span` pairs of returns."""
    return 100.0 * s["peer_total"]


feature(
    "lead_return_{span}",
    state=state,
    defaults={"span": 60},
    bounds={"span": (1, 10_000)},
    init=init,
    on_bar=on_bar,
    on_peer_bar=on_peer_bar,
    value=value,
    warmup=warmup,
    group="cross-instrument",
    unit="percent",
    range="about -10 to 10",
    source="Lo and MacKinlay, When Are Contrarian Profits Due to Overreaction (1990)",
    inputs=("bars", "peer_bars"),
)
