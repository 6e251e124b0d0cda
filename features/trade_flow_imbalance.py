"""Bought minus sold volume of the trades of the last `seconds`, over all of it.

Sides are the trades' aggressors. 0 where nothing was traded. The window (features/time_window.py)
opens with the first quote or trade.
"""

from features.registry import feature, seconds
from features.step import NAN, Record, ratio, step, usable
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
    """Open the window at the first quote, and anew after a gap."""
    window_touch(s, m)


@step
def on_trade(s: Record, m: Record) -> None:
    """Add the trade."""
    window_touch(s, m)
    if usable(m["trade_size"]):
        window_add(s, m, m["trade_side"] * m["trade_size"], abs(m["trade_size"]))


@step
def value(s: Record, m: Record) -> float:
    """Return the imbalance, -1 (all sold) to 1 (all bought)."""
    if not window_warm(s, m):
        return NAN
    signed, size = window_sums(s, m)
    return min(1.0, max(-1.0, ratio(signed, size, 0.0)))


feature(
    "trade_flow_imbalance_{seconds}s",
    state=STATE,
    defaults={"seconds": 1},
    bounds={"seconds": (1, 3600)},
    init=init,
    on_quote=on_quote,
    on_trade=on_trade,
    value=value,
    warmup=lambda p: seconds(int(p["seconds"])),
    group="volume and flow",
    unit="fraction",
    range="-1 to 1",
    source="order imbalance: Chordia, Roll and Subrahmanyam (2002)",
    inputs=("trades", "trade_sides"),
)
