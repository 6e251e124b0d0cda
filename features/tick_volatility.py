"""Realised volatility of mid over the last `seconds`, in basis points.

sqrt(sum r^2), r = 10,000 * (mid - mid') / |mid'| for each touch update in the window
(features/time_window.py). 0 where mid did not move.
"""

import math

from features.registry import feature, seconds
from features.step import NAN, Record, relative, step
from features.time_window import (
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
    """Add the squared move of mid."""
    if window_touch(s, m) and m["mid"] != m["prev_mid"]:
        move = 1e4 * relative(m["mid"], m["prev_mid"])
        window_add(s, m, move * move, 1.0)


@step
def value(s: Record, m: Record) -> float:
    """Return the volatility of the window."""
    if not window_warm(s, m):
        return NAN
    squares, _ = window_sums(s, m)
    return math.sqrt(max(squares, 0.0))


feature(
    "tick_volatility_{seconds}s",
    state=STATE,
    defaults={"seconds": 10},
    bounds={"seconds": (1, 3600)},
    init=init,
    on_quote=on_quote,
    value=value,
    warmup=lambda p: seconds(int(p["seconds"])),
    group="volatility",
    unit="basis points",
    range="0 or more",
    source="realised volatility: Andersen, Bollerslev, Diebold and Labys (2003)",
    inputs=("quotes",),
)
