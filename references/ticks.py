"""Independent versions of the features on ticks: NumPy on whole columns.

`Columns` are the events of one stretch without a gap, in their order: ts (ns), quote and trade
(bool, what the event was), bid, ask, bid_size, ask_size and mid (the touch in force behind it),
price, size and side (of trades).
"""

from collections.abc import Callable

import numpy as np

from references.bars import ema

SECOND = 1_000_000_000
Columns = dict[str, np.ndarray]
TickReference = Callable[[Columns, dict], np.ndarray]


def held(x: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Return the last known x at each place; NaN before the first."""
    last = np.maximum.accumulate(np.where(known, np.arange(len(x)), -1))
    return np.where(last < 0, np.nan, x[last])


def before(c: Columns, name: str) -> np.ndarray:
    """Return, at quotes, the value at the quote before; NaN at the first and elsewhere."""
    out = np.full(len(c["ts"]), np.nan)
    at = np.flatnonzero(c["quote"])
    out[at[1:]] = c[name][at[:-1]]
    return out


def cells(c: Columns, seconds: float) -> np.ndarray:
    """Return the cell of each event, a thousandth of the window each."""
    return c["ts"] // (round(seconds * SECOND) // 1000)


def window_sum(c: Columns, x: np.ndarray, seconds: int) -> np.ndarray:
    """Sum x over the cells of the window that ends at each event."""
    cell = cells(c, seconds)
    first = np.searchsorted(cell, cell - 1000, side="right")
    pairs = np.stack([first, np.arange(1, len(cell) + 1)], axis=1).ravel()
    return np.add.reduceat(np.append(np.nan_to_num(x), 0.0), pairs)[::2]


def warm(c: Columns, x: np.ndarray, seconds: float) -> np.ndarray:
    return np.where(c["ts"] - c["ts"][0] >= seconds * SECOND, x, np.nan)


def share(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    with np.errstate(all="ignore"):
        return np.where(np.abs(b) < 1e-12, 0.0, a / b)


def mid_before(c: Columns, seconds: float) -> np.ndarray:
    """Return the mid in force at the edge of the window that ends at each event."""
    cell = cells(c, seconds)
    return c["mid"][np.maximum(np.searchsorted(cell, cell - 1000, side="right") - 1, 0)]


def velocity(c: Columns, seconds: float) -> np.ndarray:
    then = mid_before(c, seconds)
    return warm(c, 1e4 * ((c["mid"] - then) / then) / seconds, seconds)


def acceleration(c: Columns, seconds: float) -> np.ndarray:
    near, far = mid_before(c, seconds), mid_before(c, 2 * seconds)
    late, early = (c["mid"] - near) / near, (near - far) / far
    return warm(c, 1e4 * (late - early) / seconds**2, 2 * seconds)


def since(c: Columns, what: str) -> np.ndarray:
    """Return the seconds since the last event of a kind; NaN before the first."""
    passed = (c["ts"] - c["ts"][0]).astype(float)
    return np.log1p((passed - held(passed, c[what])) / SECOND)


def large_share(c: Columns, p: dict) -> np.ndarray:
    mean, large = np.inf, np.zeros(len(c["ts"]))
    for seen, at in enumerate(np.flatnonzero(c["trade"])):
        size = c["size"][at]
        large[at] = size if size >= p["times"] * mean else 0.0
        weight = max(1.0 / (seen + 1), 2.0 / (p["span"] + 1))
        mean = 0.0 if seen == 0 else mean
        mean = (1.0 - weight) * mean + weight * size
    size = window_sum(c, np.where(c["trade"], c["size"], 0.0), p["seconds"])
    return warm(c, share(window_sum(c, large, p["seconds"]), size), p["seconds"])


def order_flow(c: Columns, seconds: int) -> np.ndarray:
    was = {name: before(c, name) for name in ("bid", "ask", "bid_size", "ask_size")}
    bids = c["bid_size"] * (c["bid"] >= was["bid"]) - was["bid_size"] * (c["bid"] <= was["bid"])
    asks = c["ask_size"] * (c["ask"] <= was["ask"]) - was["ask_size"] * (c["ask"] >= was["ask"])
    flow = window_sum(c, bids - asks, seconds)
    return warm(c, share(flow, window_sum(c, np.abs(bids) + np.abs(asks), seconds)), seconds)


def trade_flow(c: Columns, seconds: int) -> np.ndarray:
    size = np.where(c["trade"], c["size"], 0.0)
    side = np.where(c["trade"], c["side"], 0.0)
    signed = window_sum(c, size * side, seconds)
    return warm(c, share(signed, window_sum(c, size, seconds)), seconds)


def volatility(c: Columns, seconds: int) -> np.ndarray:
    move = 1e4 * (c["mid"] / before(c, "mid") - 1.0)
    return warm(c, np.sqrt(np.maximum(window_sum(c, move**2, seconds), 0.0)), seconds)


def on_quotes(c: Columns, x: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """Apply x to the mids of the quotes and hold the result between them."""
    out = np.full(len(c["ts"]), np.nan)
    out[c["quote"]] = x(c["mid"][c["quote"]])
    return held(out, c["quote"])


def weighted_mid(c: Columns) -> np.ndarray:
    return (c["bid"] * c["ask_size"] + c["ask"] * c["bid_size"]) / (c["bid_size"] + c["ask_size"])


ON_TICKS: dict[str, TickReference] = {
    "bid_ask_spread": lambda c, p: 1e4 * (c["ask"] - c["bid"]) / c["mid"],
    "microprice": lambda c, p: 1e4 * (weighted_mid(c) - c["mid"]) / c["mid"],
    "book_imbalance": lambda c, p: share(
        c["bid_size"] - c["ask_size"], c["bid_size"] + c["ask_size"]),
    "mid_price_velocity_{seconds}s": lambda c, p: velocity(c, p["seconds"]),
    "order_flow_imbalance_{seconds}s": lambda c, p: order_flow(c, p["seconds"]),
    "trade_flow_imbalance_{seconds}s": lambda c, p: trade_flow(c, p["seconds"]),
    "tick_volatility_{seconds}s": lambda c, p: volatility(c, p["seconds"]),
    "quote_rate_{seconds}s": lambda c, p: warm(
        c, np.log1p(window_sum(c, c["quote"] * 1.0, p["seconds"]) / p["seconds"]), p["seconds"]),
    "spread_absolute": lambda c, p: c["ask"] - c["bid"],
    "time_since_trade": lambda c, p: since(c, "trade"),
    "time_since_quote": lambda c, p: since(c, "quote"),
    "mid_velocity_{milliseconds}ms": lambda c, p: velocity(c, p["milliseconds"] / 1000),
    "mid_acceleration_{milliseconds}ms": lambda c, p: acceleration(c, p["milliseconds"] / 1000),
    "trade_rate_{seconds}s": lambda c, p: warm(
        c, np.log1p(window_sum(c, c["trade"] * 1.0, p["seconds"]) / p["seconds"]), p["seconds"]),
    "large_trade_share_{seconds}s": large_share,
    "mid_vs_ema_{span}": lambda c, p: 1e4 * (
        c["mid"] / on_quotes(c, lambda mid: ema(mid, p["span"])) - 1.0),
}  # fmt: skip
