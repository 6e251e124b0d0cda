"""Bought minus sold volume over all volume, over the last `span` bars.

With mode `trades` the sides are the aggressors of the trades; with `bulk` they come from
bulk-volume classification (features/bulk_volume.py), which needs bars only. 0 where nothing was
traded.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from features.bulk_volume import MODES, bulk_dtype, bulk_init, signed_volume
from features.registry import Warmup, bars, feature
from features.ring import keep
from features.step import NAN, Record, ratio, step, usable


def state(params: Mapping[str, int | float]) -> np.dtype[Any]:
    """Lay out the classifier and rings of signed and plain volumes."""
    span = int(params["span"])
    return np.dtype(
        [
            ("bulk", bulk_dtype(int(params["sigma_span"]))),
            ("signed", "f8", (span,)),
            ("volumes", "f8", (span,)),
            ("count", "i8"),
            ("mode", "i8"),
        ],
        align=True,
    )


@step
def init(s: Record, mode: int, span: int, sigma_span: int) -> None:
    """Start before the first bar."""
    bulk_init(s["bulk"])
    s["mode"] = mode
    s["count"] = 0


@step
def on_bar(s: Record, m: Record) -> None:
    """Keep the bar's signed and plain volume."""
    signed = signed_volume(s["bulk"], m, s["mode"])
    if usable(signed):
        traded = m["bar_buy_volume"] + m["bar_sell_volume"] if s["mode"] == 0 else m["bar_volume"]
        s["volumes"][s["count"] % s["volumes"].size] = traded
        keep(s, s["signed"], signed)


@step
def value(s: Record, m: Record) -> float:
    """Return the imbalance, -1 (all sold) to 1 (all bought)."""
    if s["count"] < s["signed"].size:
        return NAN
    signed = 0.0
    volume = 0.0
    for k in range(s["signed"].size):
        signed += s["signed"][k]
        volume += s["volumes"][k]
    return ratio(signed, volume, 0.0)


def warmup(params: Mapping[str, int | float]) -> Warmup:
    """Return the bars needed: bulk classification needs sigma_span changes first."""
    return bars(int(params["span"] + (params["sigma_span"] if params["mode"] == 1 else 0)))


feature(
    "trade_imbalance",
    state=state,
    defaults={"mode": "trades", "span": 5, "sigma_span": 50},
    choices={"mode": MODES},
    bounds={"span": (1, 10_000), "sigma_span": (2, 10_000)},
    init=init,
    on_bar=on_bar,
    value=value,
    warmup=warmup,
    group="volume and flow",
    unit="fraction",
    range="-1 to 1",
    source="order imbalance: Chordia, Roll and Subrahmanyam (2002); bulk: Easley, Lopez de Prado "
    "and O'Hara (2012)",
    inputs=lambda p: ("bars",) if p["mode"] == 1 else ("bars", "trades", "trade_sides"),
)
