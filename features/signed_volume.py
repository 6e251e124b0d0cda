"""Bought minus sold volume of the last bar, in mean volumes of the last `span` bars.

Sides come from the trades or from bulk-volume classification, by `mode`, as in trade_imbalance. 0
where nothing was traded.
"""

from features.bulk_volume import MODES
from features.registry import feature
from features.ring import mean_of
from features.step import NAN, Record, ratio, step
from features.trade_imbalance import init, on_bar, state, warmup


@step
def value(s: Record, m: Record) -> float:
    """Return the signed volume of the last bar."""
    size = s["signed"].size
    if s["count"] < size:
        return NAN
    return ratio(s["signed"][(s["count"] - 1) % size], mean_of(s["volumes"]), 0.0)


feature(
    "signed_volume",
    state=state,
    defaults={"mode": "trades", "span": 20, "sigma_span": 50},
    choices={"mode": MODES},
    bounds={"span": (1, 10_000), "sigma_span": (2, 10_000)},
    init=init,
    on_bar=on_bar,
    value=value,
    warmup=warmup,
    group="volume and flow",
    unit="mean bars of volume",
    range="-span to span",
    source="signed order flow: Hasbrouck, Measuring the Information Content of Stock Trades (1991)",
    inputs=lambda p: ("bars",) if p["mode"] == 1 else ("bars", "trades", "trade_sides"),
)
