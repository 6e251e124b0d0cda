"""The last closes in a ring, for features that look at them as a whole."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from features.ring import keep
from features.step import NAN, Record, step, usable_prices


def state(params: Mapping[str, int | float]) -> np.dtype[Any]:
    """Lay out a ring of the last closes and the result.

    >>> state({"span": 20}).itemsize
    176
    """
    ring = ("closes", "f8", (int(params["span"]),))
    return np.dtype([ring, ("count", "i8"), ("value", "f8")], align=True)


def state_and_one(params: Mapping[str, int | float]) -> np.dtype[Any]:
    """Lay out the same for span changes, span + 1 closes.

    >>> state_and_one({"span": 20}).itemsize
    184
    """
    return state({"span": params["span"] + 1})


@step
def init(s: Record, span: int) -> None:
    """Start with an empty ring."""
    s["count"] = 0
    s["value"] = NAN


@step
def keep_close(s: Record, m: Record) -> bool:
    """Keep the bar's close; True once the ring is full and the bar was usable."""
    if not usable_prices(m):
        return False
    keep(s, s["closes"], m["bar_close"])
    return s["count"] >= s["closes"].size


@step
def close_back(s: Record, back: int) -> float:
    """Return the close of `back` bars ago, 0 the newest."""
    return s["closes"][(s["count"] - 1 - back) % s["closes"].size]
