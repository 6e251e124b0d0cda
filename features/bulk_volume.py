"""Bulk-volume classification: the bought share of a bar's volume, from prices alone.

share = Z(change of the close / its standard deviation), Z the normal distribution function.
Source: Easley, Lopez de Prado and O'Hara, Flow Toxicity and Liquidity in a High-Frequency World
(2012), and Discerning Information from Trade Data (2016). The deviation is taken over the last
`sigma_span` changes, the newest included, so that nothing later is used.
"""

import math
from typing import Any

import numpy as np

from features.ring import keep, mean_of, std_of
from features.step import NAN, Record, step, usable, usable_prices, usable_volume

MODES = ("trades", "bulk")
TRADES = 0
SQRT_2 = math.sqrt(2.0)


def bulk_dtype(sigma_span: int) -> np.dtype[Any]:
    """Lay out the state of the classifier.

    >>> bulk_dtype(50).itemsize
    424
    """
    return np.dtype(
        [("changes", "f8", (sigma_span,)), ("count", "i8"), ("close", "f8"), ("started", "i8")],
        align=True,
    )


@step
def bulk_init(s: Record) -> None:
    """Start before the first bar."""
    s["count"] = 0
    s["close"] = 0.0
    s["started"] = 0


@step
def bulk_step(s: Record, close: float) -> float:
    """Advance by one close and return the bought share, 0 to 1; NaN until sigma_span changes.

    0.5 where the close never moved.
    """
    change = close - s["close"]
    s["close"] = close
    if s["started"] == 0:
        s["started"] = 1
        return NAN
    ring = s["changes"]
    keep(s, ring, change)
    if s["count"] < ring.size:
        return NAN
    sigma = std_of(ring, mean_of(ring))
    if sigma == 0.0:
        return 0.5
    return 0.5 * (1.0 + math.erf(change / sigma / SQRT_2))


@step
def signed_volume(s: Record, m: Record, mode: int) -> float:
    """Return bought minus sold volume of the bar that has just closed; NaN where not known.

    By the aggressors of its trades (mode 0), or by bulk classification (mode 1). A bar that is not
    usable leaves the classifier as it was.
    """
    if mode == TRADES:
        buy = m["bar_buy_volume"]
        sell = m["bar_sell_volume"]
        return buy - sell if usable_volume(buy) and usable_volume(sell) else NAN
    if not usable_prices(m) or not usable_volume(m["bar_volume"]):
        return NAN
    share = bulk_step(s, m["bar_close"])
    return m["bar_volume"] * (2.0 * share - 1.0) if usable(share) else NAN
