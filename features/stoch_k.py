"""Stochastic %K: 100 * (close - lowest low) / (highest high - lowest low) over `span` bars.

Not smoothed (fast %K); 50 where the range is zero.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from features.registry import bars, feature
from features.step import Record, step, usable_prices
from features.stochastic import stochastic_dtype, stochastic_init, stochastic_step


def state(params: Mapping[str, int | float]) -> np.dtype[Any]:
    """Lay out the rings of highs and lows."""
    return stochastic_dtype(int(params["span"]))


@step
def init(s: Record, span: int) -> None:
    """Start before the first bar."""
    stochastic_init(s)


@step
def on_bar(s: Record, m: Record) -> None:
    """Advance by one bar."""
    if usable_prices(m):
        stochastic_step(s, m)


@step
def value(s: Record, m: Record) -> float:
    """Return %K, 0 to 100."""
    return s["raw"]


feature(
    "stoch_k",
    state=state,
    defaults={"span": 14},
    bounds={"span": (1, 10_000)},
    init=init,
    on_bar=on_bar,
    value=value,
    warmup=lambda p: bars(int(p["span"])),
    group="momentum",
    unit="percent",
    range="0 to 100",
    source="Lane, Lane's Stochastics (1984); TA-Lib STOCHF fastk",
    inputs=("bars",),
)
