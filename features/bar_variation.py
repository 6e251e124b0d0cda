"""Realised and bipower variation of the last `span` returns of the close: shared by three features.

Returns are logarithmic, in percent. Source: Barndorff-Nielsen and Shephard, Power and Bipower
Variation with Stochastic Volatility and Jumps (2004).
"""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from features.log_price import log_ratio
from features.ring import keep
from features.step import NAN, Record, flushed, step, usable, usable_prices


def state(params: Mapping[str, int | float]) -> np.dtype[Any]:
    """Lay out a ring of returns and both variations.

    >>> state({"span": 20}).itemsize
    192
    """
    words = [("count", "i8"), ("close", "f8"), ("squares", "f8"), ("bipower", "f8")]
    return np.dtype([("returns", "f8", (int(params["span"]),)), *words], align=True)


@step
def init(s: Record, span: int) -> None:
    """Start before the first bar."""
    s["count"] = 0
    s["close"] = NAN
    s["squares"] = NAN
    s["bipower"] = NAN


@step
def on_bar(s: Record, m: Record) -> None:
    """Keep the bar's return and sum both variations."""
    if not usable_prices(m):
        return
    before = s["close"]
    s["close"] = m["bar_close"]
    if not usable(before):
        return
    ring = s["returns"]
    keep(s, ring, 100.0 * log_ratio(m["bar_close"], before))
    if s["count"] < ring.size:
        return
    squares = 0.0
    pairs = 0.0
    last = abs(ring[s["count"] % ring.size])
    for k in range(ring.size):
        now = abs(ring[(s["count"] + k) % ring.size])
        squares += now * now
        pairs += now * last if k > 0 else 0.0
        last = now
    s["squares"] = flushed(squares)
    s["bipower"] = flushed(0.5 * math.pi * ring.size / (ring.size - 1.0) * pairs)
