"""Roll's spread from the closes of the last `span` bars, in basis points of the close.

10,000 * 2 sqrt(-c) / |close|, c being the covariance of each change of the close with the one
before it; 0 where c is not negative.
"""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from features.bar_closes import close_back, init, keep_close
from features.bar_closes import state as closes
from features.registry import bars, feature
from features.step import Record, flushed, ratio, step


def state(params: Mapping[str, int | float]) -> np.dtype[Any]:
    """Lay out a ring of the closes of `span` pairs of changes."""
    return closes({"span": params["span"] + 2})


@step
def on_bar(s: Record, m: Record) -> None:
    """Take the covariance over the ring, in two passes."""
    if not keep_close(s, m):
        return
    pairs = s["closes"].size - 2
    now = (close_back(s, 0) - close_back(s, pairs)) / pairs
    before = (close_back(s, 1) - close_back(s, pairs + 1)) / pairs
    total = 0.0
    for back in range(pairs):
        late = close_back(s, back) - close_back(s, back + 1)
        early = close_back(s, back + 1) - close_back(s, back + 2)
        total += (late - now) * (early - before)
    spread = 2.0 * math.sqrt(flushed(max(-total / pairs, 0.0)))
    s["value"] = 1e4 * ratio(spread, abs(m["bar_close"]), 0.0)


@step
def value(s: Record, m: Record) -> float:
    """Return the spread."""
    return s["value"]


feature(
    "roll_spread_{span}",
    state=state,
    defaults={"span": 20},
    bounds={"span": (2, 10_000)},
    init=init,
    on_bar=on_bar,
    value=value,
    warmup=lambda p: bars(int(p["span"]) + 2),
    group="volume and flow",
    unit="basis points",
    range="0 or more",
    source="Roll, A Simple Implicit Measure of the Effective Bid-Ask Spread in an "
    "Efficient Market (1984)",
    inputs=("bars",),
)
