"""Wilder's directional movement and true range, summed by his recursion as TA-Lib does."""

import numpy as np

from features.step import NAN, Record, flushed, ratio, step, usable_prices

DIRECTIONAL = np.dtype(
    [
        ("high", "f8"),
        ("low", "f8"),
        ("close", "f8"),
        ("plus", "f8"),  # smoothed sum of +DM
        ("minus", "f8"),
        ("range", "f8"),  # smoothed sum of the true range
        ("span", "i8"),
        ("count", "i8"),  # bars seen
    ],
    align=True,
)


@step
def true_range(high: float, low: float, previous_close: float) -> float:
    """Return the true range of a bar.

    >>> true_range(10.0, 9.0, 7.5)
    2.5
    """
    return max(high, previous_close) - min(low, previous_close)


@step
def directional_init(s: Record, span: int) -> None:
    """Start before the first bar."""
    s["high"] = 0.0
    s["low"] = 0.0
    s["close"] = 0.0
    s["plus"] = 0.0
    s["minus"] = 0.0
    s["range"] = 0.0
    s["span"] = span
    s["count"] = 0


@step
def directional_step(s: Record, m: Record) -> bool:
    """Advance by the bar that has just closed; False when the bar was not usable.

    +DM is the rise of the high where it exceeds the fall of the low and is positive, -DM likewise.
    Over the first span - 1 changes the sums are plain; then sum = sum - sum / span + new.
    """
    if not usable_prices(m):
        return False
    if s["count"] > 0:
        rise = m["bar_high"] - s["high"]
        fall = s["low"] - m["bar_low"]
        decay = 1.0 - 1.0 / s["span"] if s["count"] >= s["span"] else 1.0
        plus = rise if rise > fall and rise > 0.0 else 0.0
        minus = fall if fall > rise and fall > 0.0 else 0.0
        reach = true_range(m["bar_high"], m["bar_low"], s["close"])
        s["plus"] = flushed(s["plus"] * decay + plus)
        s["minus"] = flushed(s["minus"] * decay + minus)
        s["range"] = flushed(s["range"] * decay + reach)
    s["high"] = m["bar_high"]
    s["low"] = m["bar_low"]
    s["close"] = m["bar_close"]
    s["count"] += 1
    return True


@step
def directional_index(s: Record, moved: float) -> float:
    """Return 100 * moved / true range; NaN until span + 1 bars, 0 where nothing ever moved."""
    return 100.0 * ratio(moved, s["range"], 0.0) if s["count"] > s["span"] else NAN
