"""Velocity of mid over the last `seconds` of kernel time, in basis points per second.

10,000 * (mid - mid_then) / |mid_then| / seconds, mid_then being the mid in force at the edge of
the window (features/time_window.py). NaN until the window has been open for its length.
"""

from features.registry import feature, seconds
from features.step import NAN, Record, relative, step
from features.time_window import (
    CELLS,
    NS_PER_S,
    level_before,
    level_set,
    window_dtype,
    window_init,
    window_touch,
    window_warm,
)

STATE = window_dtype(1)


@step
def init(s: Record, seconds: int) -> None:
    """Start an empty window."""
    window_init(s, seconds)


@step
def on_quote(s: Record, m: Record) -> None:
    """Note the mid when it changed."""
    if not window_touch(s, m) or m["mid"] != m["prev_mid"]:
        level_set(s, m, m["mid"])


@step
def value(s: Record, m: Record) -> float:
    """Return the velocity up to now."""
    if not window_warm(s, m):
        return NAN
    length = s["cell_ns"] * CELLS / NS_PER_S
    return 1e4 * relative(m["mid"], level_before(s, m)) / length


feature(
    "mid_price_velocity_{seconds}s",
    state=STATE,
    defaults={"seconds": 1},
    bounds={"seconds": (1, 3600)},
    init=init,
    on_quote=on_quote,
    value=value,
    warmup=lambda p: seconds(int(p["seconds"])),
    group="book",
    unit="basis points per second",
    range="about -10 to 10",
    source="finite difference of mid",
    inputs=("quotes",),
)
