"""Velocity of mid over the last `milliseconds` of kernel time, in basis points per second.

10,000 * (mid - mid_then) / |mid_then| / length, mid_then being the mid in force at the edge of the
window (features/time_window.py). As mid_price_velocity, for windows below a second too.
"""

from features.registry import feature, milliseconds
from features.step import NAN, Record, relative, step
from features.time_window import (
    CELLS,
    NS_PER_S,
    level_before,
    level_set,
    window_dtype,
    window_init_ms,
    window_touch,
    window_warm,
)

STATE = window_dtype(1)


@step
def init(s: Record, milliseconds: int) -> None:
    """Start an empty window."""
    window_init_ms(s, milliseconds)


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
    "mid_velocity_{milliseconds}ms",
    state=STATE,
    defaults={"milliseconds": 100},
    bounds={"milliseconds": (1, 3_600_000)},
    init=init,
    on_quote=on_quote,
    value=value,
    warmup=lambda p: milliseconds(int(p["milliseconds"])),
    group="book",
    unit="basis points per second",
    range="about -100 to 100",
    source="first difference of mid over time",
    inputs=("quotes",),
)
