"""Stochastic %D: the plain mean of the last `smooth` values of %K over `span` bars."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from features.registry import bars, feature
from features.ring import keep, mean_of
from features.step import NAN, Record, step, usable_prices
from features.stochastic import stochastic_dtype, stochastic_init, stochastic_step


def state(params: Mapping[str, int | float]) -> np.dtype[Any]:
    """Lay out the raw stochastic and the ring of its last values."""
    return np.dtype(
        [
            ("k", stochastic_dtype(int(params["span"]))),
            ("last", "f8", (int(params["smooth"]),)),
            ("count", "i8"),
        ],
        align=True,
    )


@step
def init(s: Record, span: int, smooth: int) -> None:
    """Start before the first bar."""
    stochastic_init(s["k"])
    s["count"] = 0


@step
def on_bar(s: Record, m: Record) -> None:
    """Advance by one bar."""
    if usable_prices(m):
        stochastic_step(s["k"], m)
        if s["k"]["count"] >= s["k"]["highs"].size:
            keep(s, s["last"], s["k"]["raw"])


@step
def value(s: Record, m: Record) -> float:
    """Return %D, 0 to 100."""
    return mean_of(s["last"]) if s["count"] >= s["last"].size else NAN


feature(
    "stoch_d",
    state=state,
    defaults={"span": 14, "smooth": 3},
    bounds={"span": (1, 10_000), "smooth": (1, 1000)},
    init=init,
    on_bar=on_bar,
    value=value,
    warmup=lambda p: bars(int(p["span"] + p["smooth"]) - 1),
    group="momentum",
    unit="percent",
    range="0 to 100",
    source="Lane, Lane's Stochastics (1984); TA-Lib STOCHF fastd",
    inputs=("bars",),
)
