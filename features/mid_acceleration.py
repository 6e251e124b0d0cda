"""Acceleration of mid: the change of its velocity, in basis points per second squared.

10,000 * ((mid - mid_1) / |mid_1| - (mid_1 - mid_2) / |mid_2|) / length^2, mid_1 and mid_2 being the
mids in force one and two windows of `milliseconds` ago (features/time_window.py).
"""

import numpy as np

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

STATE = np.dtype([("near", window_dtype(1)), ("far", window_dtype(1))], align=True)


@step
def init(s: Record, milliseconds: int) -> None:
    """Start two empty windows, one twice as long as the other."""
    window_init_ms(s["near"], milliseconds)
    window_init_ms(s["far"], 2 * milliseconds)


@step
def on_quote(s: Record, m: Record) -> None:
    """Note the mid when it changed."""
    going = window_touch(s["near"], m)
    window_touch(s["far"], m)
    if not going or m["mid"] != m["prev_mid"]:
        level_set(s["near"], m, m["mid"])
        level_set(s["far"], m, m["mid"])


@step
def value(s: Record, m: Record) -> float:
    """Return the acceleration up to now."""
    if not window_warm(s["far"], m):
        return NAN
    length = s["near"]["cell_ns"] * CELLS / NS_PER_S
    then = level_before(s["near"], m)
    late = relative(m["mid"], then)
    return 1e4 * (late - relative(then, level_before(s["far"], m))) / (length * length)


feature(
    "mid_acceleration_{milliseconds}ms",
    state=STATE,
    defaults={"milliseconds": 100},
    bounds={"milliseconds": (1, 3_600_000)},
    init=init,
    on_quote=on_quote,
    value=value,
    warmup=lambda p: milliseconds(2 * int(p["milliseconds"])),
    group="book",
    unit="basis points per second squared",
    range="about -1000 to 1000",
    source="second difference of mid over time",
    inputs=("quotes",),
)
