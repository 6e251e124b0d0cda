"""What the account holds in the direction of the instrument, its peer included, in % of the equity.

    100 * (value held + correlation * value held of the peer) / equity

Values are signed, at mid; the correlation is that of the returns over `span` bars
(`pair_correlation_{span}`), the peer the instrument that `engine.pairs` names. So two longs that go
together weigh as one large one, and a hedge takes away. Other instruments are not in it.
"""

from features.own_record import OWN_STATE, percent_of_equity
from features.pair import init, on_bar, on_peer_bar, state, warmup
from features.pair_correlation import value as correlation
from features.registry import feature
from features.step import Record, step


@step
def value(s: Record, m: Record, o: Record) -> float:
    """Return the exposure."""
    return percent_of_equity(o["held"] + correlation(s, m) * o["peer_held"], o)


feature(
    "correlation_exposure",
    state=state,
    defaults={"span": 60},
    bounds={"span": (2, 10_000)},
    init=init,
    on_bar=on_bar,
    on_peer_bar=on_peer_bar,
    value=value,
    warmup=warmup,
    group="own state",
    unit="percent of the equity",
    range="any",
    source="own definition; correlations as in Markowitz, Portfolio Selection (1952)",
    inputs=("bars", "peer_bars", *OWN_STATE),
)
