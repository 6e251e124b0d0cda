"""Activity at the touch: ln(1 + updates per second), over the last `seconds`."""

import math

from features.registry import feature, seconds
from features.step import NAN, Record, step
from features.time_window import (
    CELLS,
    NS_PER_S,
    window_add,
    window_dtype,
    window_init,
    window_sums,
    window_touch,
    window_warm,
)

STATE = window_dtype(2)


@step
def init(s: Record, seconds: int) -> None:
    """Start an empty window."""
    window_init(s, seconds)


@step
def on_quote(s: Record, m: Record) -> None:
    """Count this touch update."""
    window_touch(s, m)
    window_add(s, m, 1.0, 0.0)


@step
def value(s: Record, m: Record) -> float:
    """Return the logarithm of one plus the rate."""
    if not window_warm(s, m):
        return NAN
    updates, _ = window_sums(s, m)
    return math.log1p(updates / (s["cell_ns"] * CELLS / NS_PER_S))


feature(
    "quote_rate_{seconds}s",
    state=STATE,
    defaults={"seconds": 1},
    bounds={"seconds": (1, 3600)},
    init=init,
    on_quote=on_quote,
    value=value,
    warmup=lambda p: seconds(int(p["seconds"])),
    group="book",
    unit="logarithm of 1/s",
    range="0 or more",
    source="quote intensity",
    inputs=("quotes",),
)
