"""cos(2 pi * day / 7), Monday 0, of the close time of the last bar, UTC.

A bar that closes at midnight belongs to the new day.
"""

import math

from features.day_clock import week_angle
from features.registry import bars, feature
from features.step import NAN, Record, step


@step
def value(s: Record, m: Record) -> float:
    """Return the cosine of the day of the week."""
    return math.cos(week_angle(m)) if m["bar_count"] > 0 else NAN


feature(
    "dow_cos",
    value=value,
    warmup=bars(1),
    group="time",
    unit="cosine",
    range="-1 to 1",
    source="cyclic encoding of the day of the week",
    inputs=("bars",),
)
