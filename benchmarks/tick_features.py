"""The ten tick features of the peer benchmark, in our own mechanism.

They equal benchmarks/peers_nautilus.py number by number (same formulas, same order of additions),
so that checksums can be compared. Importing this module registers `tick_load_1` to `tick_load_10`,
in the order of the peer's row.
"""

import math

import numpy as np

from features.registry import feature, quotes
from features.spec import FeatureSpec
from features.step import Record, step

TICK_FEATURES = 10
WINDOW_NS = 1_000_000_000
RING = 1024  # the busiest second of the load has about 800 quotes of one instrument
MASK = RING - 1
FAST, SLOW, VARIANCE_RATE = 2.0 / 10.0, 2.0 / 22.0, 0.02

TREND = np.dtype([("variance", "f8"), ("fast", "f8"), ("slow", "f8")], align=True)
WINDOW = np.dtype(
    [("head", "i8"), ("tail", "i8"), ("ts", "i8", (RING,)), ("value", "f8", (RING,))], align=True
)
PRICES = np.dtype([("trend", TREND), ("window", WINDOW)], align=True)
SUM = np.dtype([("total", "f8"), ("window", WINDOW)], align=True)
FLOW = np.dtype(
    [("total", "f8"), ("volume", "f8"), ("window", WINDOW), ("size", "f8", (RING,))], align=True
)


@step
def trend_init(s: Record) -> None:
    """Start the two exponential means and the variance of quote to quote returns."""
    s["variance"] = 1e-10
    s["fast"] = 0.0
    s["slow"] = 0.0


@step
def trend_step(s: Record, m: Record) -> None:
    """Advance them by the mid of a quote."""
    mid = m["mid"]
    if m["quote_count"] == 1:
        s["fast"] = mid
        s["slow"] = mid
    else:
        change = mid / m["prev_mid"] - 1.0
        s["variance"] += VARIANCE_RATE * (change * change - s["variance"])
        s["fast"] += FAST * (mid - s["fast"])
        s["slow"] += SLOW * (mid - s["slow"])


@step
def deviation(s: Record) -> float:
    """Return the standard deviation of returns, never zero."""
    return math.sqrt(s["variance"]) + 1e-9


@step
def window_init(s: Record) -> None:
    """Empty a window of one second."""
    s["head"] = 0
    s["tail"] = 0


@step
def window_add(s: Record, m: Record, value: float) -> int:
    """Append an entry stamped with the kernel's time and return its place in the ring.

    A full ring loses its oldest entry and says so: the sums over it are wrong from there on.
    """
    if s["head"] - s["tail"] == RING:
        s["tail"] += 1
        m["window_overflows"] += 1
    at = s["head"] & MASK
    s["ts"][at] = m["ts"]
    s["value"][at] = value
    s["head"] += 1
    return at


@step
def passed(s: Record, m: Record, keep: int) -> bool:
    """Tell whether the oldest entry is older than a second; the newest `keep` never are."""
    return s["head"] - s["tail"] > keep and s["ts"][s["tail"] & MASK] < m["ts"] - WINDOW_NS


@step
def prices_init(s: Record) -> None:
    """Start the trend and the window of mids."""
    trend_init(s["trend"])
    window_init(s["window"])


@step
def prices_forget(s: Record, m: Record) -> None:
    """Let old mids go, but never the last."""
    w = s["window"]
    while passed(w, m, 1):
        w["tail"] += 1


@step
def prices_on_quote(s: Record, m: Record) -> None:
    """Advance the trend and remember the mid."""
    trend_step(s["trend"], m)
    window_add(s["window"], m, m["mid"])
    prices_forget(s, m)


@step
def ofi_init(s: Record) -> None:
    """Start with no flow."""
    s["total"] = 0.0
    window_init(s["window"])


@step
def ofi_forget(s: Record, m: Record) -> None:
    """Take old events out of the sum."""
    w = s["window"]
    while passed(w, m, 0):
        s["total"] -= w["value"][w["tail"] & MASK]
        w["tail"] += 1


@step
def ofi_on_quote(s: Record, m: Record) -> None:
    """Add the order-flow imbalance of a touch update (Cont, Kukanov, Stoikov 2014)."""
    if m["quote_count"] > 1:
        event = 0.0
        if m["bid"] >= m["prev_bid"]:
            event += m["bid_size"]
        if m["bid"] <= m["prev_bid"]:
            event -= m["prev_bid_size"]
        if m["ask"] <= m["prev_ask"]:
            event -= m["ask_size"]
        if m["ask"] >= m["prev_ask"]:
            event += m["prev_ask_size"]
        s["total"] += event
        window_add(s["window"], m, event)
    ofi_forget(s, m)


@step
def flow_init(s: Record) -> None:
    """Start with no trades."""
    s["total"] = 0.0
    s["volume"] = 0.0
    window_init(s["window"])


@step
def flow_forget(s: Record, m: Record) -> None:
    """Take old trades out of the sums."""
    w = s["window"]
    while passed(w, m, 0):
        at = w["tail"] & MASK
        s["total"] -= w["value"][at]
        s["volume"] -= s["size"][at]
        w["tail"] += 1


@step
def flow_on_trade(s: Record, m: Record) -> None:
    """Add a trade to the signed and the unsigned flow."""
    signed = m["trade_side"] * m["trade_size"]
    s["total"] += signed
    s["volume"] += m["trade_size"]
    at = window_add(s["window"], m, signed)
    s["size"][at] = m["trade_size"]
    flow_forget(s, m)


@step
def spread(s: Record, m: Record) -> float:
    """Spread in ticks, less one."""
    return (m["ask"] - m["bid"]) / m["tick"] - 1.0


@step
def imbalance(s: Record, m: Record) -> float:
    """Imbalance of the sizes at the touch."""
    return (m["bid_size"] - m["ask_size"]) / (m["bid_size"] + m["ask_size"])


@step
def microprice(s: Record, m: Record) -> float:
    """Microprice less mid, in half ticks."""
    depth = m["bid_size"] + m["ask_size"]
    micro = (m["bid"] * m["ask_size"] + m["ask"] * m["bid_size"]) / depth
    return (micro - m["mid"]) / m["tick"] * 2.0


@step
def over_fast(s: Record, m: Record) -> float:
    """Mid over its fast mean, in standard deviations."""
    return (m["mid"] / s["fast"] - 1.0) / deviation(s)


@step
def over_slow(s: Record, m: Record) -> float:
    """Mid over its slow mean, in standard deviations."""
    return (m["mid"] / s["slow"] - 1.0) / deviation(s)


@step
def fast_over_slow(s: Record, m: Record) -> float:
    """Fast over slow mean, in standard deviations."""
    return (s["fast"] / s["slow"] - 1.0) / deviation(s)


@step
def momentum(s: Record, m: Record) -> float:
    """Return over the last second, in tens of standard deviations."""
    w = s["window"]
    first = w["value"][w["tail"] & MASK] if w["head"] > w["tail"] else m["mid"]
    return (m["mid"] / first - 1.0) / (deviation(s["trend"]) * 10.0)


@step
def ofi(s: Record, m: Record) -> float:
    """Order-flow imbalance of the last second over ten times the touch."""
    return s["total"] / ((m["bid_size"] + m["ask_size"]) * 10.0 + 1e-9)


@step
def flow(s: Record, m: Record) -> float:
    """Signed over unsigned trade volume of the last second."""
    return s["total"] / (s["volume"] + 1e-9)


@step
def volatility(s: Record, m: Record) -> float:
    """Logarithm of the standard deviation of returns."""
    return math.log1p(deviation(s) * 1e5) - 1.0


_TREND = {"state": TREND, "init": trend_init, "on_quote": trend_step}
_PRICES = {
    "state": PRICES,
    "init": prices_init,
    "on_quote": prices_on_quote,
    "on_trade": prices_forget,
}
_OFI = {"state": SUM, "init": ofi_init, "on_quote": ofi_on_quote, "on_trade": ofi_forget}
_FLOW = {"state": FLOW, "init": flow_init, "on_quote": flow_forget, "on_trade": flow_on_trade}
_TICK_LOAD = (
    (spread, {}),
    (imbalance, {}),
    (microprice, {}),
    (over_fast, _TREND),
    (over_slow, _TREND),
    (fast_over_slow, _TREND),
    (momentum, _PRICES),
    (ofi, _OFI),
    (flow, _FLOW),
    (volatility, _TREND),
)

for _number, (_value, _parts) in enumerate(_TICK_LOAD, start=1):
    feature(
        f"tick_load_{_number}",
        value=_value,
        warmup=quotes(1),
        inputs=("quotes", "quote_sizes", "trades", "trade_sides"),
        unit="number",
        range="about -5 to 5",
        source="benchmarks/peers_nautilus.py",
        **_parts,  # type: ignore[arg-type]
    )

TICK_SPEC = FeatureSpec(tuple((f"tick_load_{n}", {}) for n in range(1, TICK_FEATURES + 1)))
