"""Order-flow imbalance at the touch over the last `seconds`, normalised: sum e / sum |e|.

For each touch update, with b and a the sizes at bid and ask and ' the touch before:
e_bid = b [bid >= bid'] - b' [bid <= bid'], e_ask = a' [ask >= ask'] - a [ask <= ask'],
e = e_bid + e_ask; the divisor is the sum of |e_bid| + |e_ask|. 0 where nothing happened. The window
is features/time_window.py.
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
    """Add the order flow of this touch update."""
    if not window_touch(s, m):
        return
    bids = 0.0
    asks = 0.0
    if m["bid"] >= m["prev_bid"]:
        bids += m["bid_size"]
    if m["bid"] <= m["prev_bid"]:
        bids -= m["prev_bid_size"]
    if m["ask"] >= m["prev_ask"]:
        asks += m["prev_ask_size"]
    if m["ask"] <= m["prev_ask"]:
        asks -= m["ask_size"]
    flow = bids + asks
    if not usable(flow):
        s["started"] = 0
    elif bids != 0.0 or asks != 0.0:
        window_add(s, m, flow, abs(bids) + abs(asks))


@step
def value(s: Record, m: Record) -> float:
    """Return the imbalance, -1 (all selling pressure) to 1 (all buying pressure)."""
    if not window_warm(s, m):
        return NAN
    flow, size = window_sums(s, m)
    return min(1.0, max(-1.0, ratio(flow, size, 0.0)))


feature(
    "order_flow_imbalance_{seconds}s",
    state=STATE,
    defaults={"seconds": 1},
    bounds={"seconds": (1, 3600)},
    init=init,
    on_quote=on_quote,
    value=value,
    warmup=lambda p: seconds(int(p["seconds"])),
    group="book",
    unit="fraction",
    range="-1 to 1",
    source="Cont, Kukanov and Stoikov, The Price Impact of Order Book Events (2014)",
    inputs=("quotes", "quote_sizes"),
)
