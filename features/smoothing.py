"""Exponential averages as state records: seeded by a mean (TA-Lib), Wilder's, and unseeded."""

import numpy as np

from features.step import NAN, Record, flushed, step

EMA = np.dtype(
    [
        ("value", "f8"),
        ("first", "f8"),
        ("total", "f8"),  # of the differences to `first`, so that a flat seed is exact
        ("alpha", "f8"),
        ("span", "i8"),
        ("count", "i8"),
    ],
    align=True,
)


@step
def ema_init(s: Record, span: int) -> None:
    """Start an exponential mean with alpha = 2 / (span + 1)."""
    s["value"] = NAN
    s["first"] = 0.0
    s["total"] = 0.0
    s["alpha"] = 2.0 / (span + 1.0)
    s["span"] = span
    s["count"] = 0


@step
def wilder_init(s: Record, span: int) -> None:
    """Start Wilder's mean: the same recursion with alpha = 1 / span."""
    ema_init(s, span)
    s["alpha"] = 1.0 / span


@step
def ema_step(s: Record, x: float) -> None:
    """Advance by one value; `s["value"]` is NaN until `span` values were seen.

    The mean of the first `span` values is the seed, as in TA-Lib's EMA and in Wilder (1978).
    """
    s["count"] += 1
    if s["count"] == 1:
        s["first"] = x
    if s["count"] <= s["span"]:
        s["total"] += x - s["first"]
    if s["count"] == s["span"]:
        s["value"] = flushed(s["first"] + s["total"] / s["span"])
    elif s["count"] > s["span"]:
        s["value"] = flushed(s["value"] + s["alpha"] * (x - s["value"]))
