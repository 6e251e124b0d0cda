"""sin(2 pi * time of day / 24 h), of the close time of the last bar, UTC.

A bar that closes at midnight belongs to the new day.
"""

import math

from features.day_clock import day_angle
from features.registry import bars, feature
from features.step import NAN, Record, step


@step
def value(s: Record, m: Record) -> float:
    """Return the sine of the time of day."""
    return math.sin(day_angle(m)) if m["bar_count"] > 0 else NAN


feature(
    "hour_sin",
    value=value,
    warmup=bars(1),
    group="time",
    unit="sine",
    range="-1 to 1",
    source="cyclic encoding of the time of day",
    inputs=("bars",),
)
