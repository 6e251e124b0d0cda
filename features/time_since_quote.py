"""Time since the last update of the touch: ln(1 + seconds).

Measured on the kernel's clock at the moment of reading; 0 just after one.
"""

import math

from features.registry import feature, quotes
from features.step import NAN, Record, step

NS_PER_S = 1_000_000_000


@step
def value(s: Record, m: Record) -> float:
    """Return the logarithm of one plus the seconds."""
    if m["quote_count"] < 1:
        return NAN
    return math.log1p(max(m["now"] - m["quote_ts"], 0) / NS_PER_S)


feature(
    "time_since_quote",
    value=value,
    warmup=quotes(1),
    group="book",
    unit="logarithm of seconds",
    range="0 or more",
    source="durations: Engle and Russell, Autoregressive Conditional Duration (1998)",
    inputs=("quotes",),
)
