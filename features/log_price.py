"""Logarithmic changes of prices, with a stated value where a price is not positive."""

import math

from features.step import Record, flushed, relative, step


@step
def log_ratio(x: float, anchor: float) -> float:
    """Return ln(x / anchor); (x - anchor) / |anchor| where one of them is not positive.

    >>> round(log_ratio(110.0, 100.0), 6), log_ratio(-36.0, -40.0), log_ratio(1.0, 0.0)
    (0.09531, 0.1, 0.0)
    """
    if x > 0.0 and anchor > 0.0:
        return flushed(math.log(x / anchor))
    return flushed(relative(x, anchor))


@step
def bar_span(m: Record) -> float:
    """Return ln(high / low) of the bar that has just closed."""
    return log_ratio(m["bar_high"], m["bar_low"])
