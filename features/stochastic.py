"""The raw stochastic: where the last close stands in the range of the last `span` bars."""

from typing import Any

import numpy as np

from features.ring import keep
from features.step import NAN, Record, ratio, step


def stochastic_dtype(span: int) -> np.dtype[Any]:
    """Lay out the rings of highs and lows.

    >>> stochastic_dtype(14).itemsize
    240
    """
    return np.dtype(
        [("highs", "f8", (span,)), ("lows", "f8", (span,)), ("count", "i8"), ("raw", "f8")],
        align=True,
    )


@step
def stochastic_init(s: Record) -> None:
    """Start before the first bar."""
    s["count"] = 0
    s["raw"] = NAN


@step
def stochastic_step(s: Record, m: Record) -> None:
    """Advance by one bar; `s["raw"]` is 0 to 100, 50 in a range of zero, NaN until span bars."""
    highs = s["highs"]
    lows = s["lows"]
    lows[s["count"] % lows.size] = m["bar_low"]
    keep(s, highs, m["bar_high"])
    if s["count"] >= highs.size:
        highest = highs[0]
        lowest = lows[0]
        for k in range(1, highs.size):
            highest = max(highest, highs[k])
            lowest = min(lowest, lows[k])
        s["raw"] = 100.0 * ratio(m["bar_close"] - lowest, highest - lowest, 0.5)
