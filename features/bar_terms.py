"""Means of one term a bar over the last `span` bars: the state that several features share."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from features.ring import keep, mean_of
from features.step import NAN, Record, flushed, step


def state(params: Mapping[str, int | float]) -> np.dtype[Any]:
    """Lay out a ring of terms, their mean, and the close before.

    >>> state({"span": 20}).itemsize
    184
    """
    words = [("count", "i8"), ("close", "f8"), ("value", "f8")]
    return np.dtype([("terms", "f8", (int(params["span"]),)), *words], align=True)


@step
def init(s: Record, span: int) -> None:
    """Start with an empty ring."""
    s["count"] = 0
    s["close"] = NAN
    s["value"] = NAN


@step
def add_term(s: Record, x: float) -> None:
    """Keep a bar's term; `s["value"]` is the mean of the last `span` ones, NaN before."""
    keep(s, s["terms"], flushed(x))
    if s["count"] >= s["terms"].size:
        s["value"] = flushed(mean_of(s["terms"]))
