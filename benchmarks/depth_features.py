"""The twelve depth features of the level-two benchmark, in our own mechanism.

They equal benchmarks/peers_hftbacktest.py (same formulas, same order of additions), so that the
sums can be compared. Importing this module registers `depth_load_1` to `depth_load_12`, in the
order of the peer's row. Each is advanced at the end of a packet, the peer's wake-up.
"""

import math

import numpy as np

from engine.kernel.memory import book_floats
from engine.market import BOOK_SLOTS
from features.registry import Warmup, feature
from features.spec import FeatureSpec
from features.step import Record, step

DEPTH_FEATURES = 12
NEAR_TICKS = 5
SLOT_MASK = BOOK_SLOTS - 1
FAST, SLOW, VARIANCE_RATE, FLOW_KEPT, COUNT_KEPT = 0.02, 0.002, 0.01, 0.99, 0.999

MEANS = np.dtype([("fast", "f8"), ("slow", "f8")], align=True)
LAST = np.dtype([("total", "f8"), ("last", "f8"), ("last_ask", "f8")], align=True)
TRADES = np.dtype([("total", "f8"), ("faded", "i8")], align=True)
CLOCK = np.dtype([("ts", "i8"), ("gap_ns", "i8")], align=True)


@step
def means_init(s: Record) -> None:
    """Start both means."""
    s["fast"] = 0.0
    s["slow"] = 0.0


@step
def means_step(s: Record, m: Record) -> None:
    """Advance the fast and the slow mean of the mid."""
    if m["depth_count"] == 1:
        s["fast"] = m["mid"]
        s["slow"] = m["mid"]
    s["fast"] += FAST * (m["mid"] - s["fast"])
    s["slow"] += SLOW * (m["mid"] - s["slow"])


@step
def last_init(s: Record) -> None:
    """Start a running total over differences to the last wake-up."""
    s["total"] = 0.0
    s["last"] = 0.0
    s["last_ask"] = 0.0


@step
def variance_step(s: Record, m: Record) -> None:
    """Advance the variance of the mid's change in ticks."""
    if m["depth_count"] == 1:
        s["last"] = m["mid"]
    change = (m["mid"] - s["last"]) / m["tick"]
    s["last"] = m["mid"]
    s["total"] += VARIANCE_RATE * (change * change - s["total"])


@step
def ofi_step(s: Record, m: Record) -> None:
    """Advance the decayed change of the sizes at the touch."""
    grown = m["bid_size"] - s["last"]
    s["total"] = FLOW_KEPT * s["total"] + grown - (m["ask_size"] - s["last_ask"])
    s["last"] = m["bid_size"]
    s["last_ask"] = m["ask_size"]


@step
def trades_init(s: Record) -> None:
    """Start with no trades."""
    s["total"] = 0.0
    s["faded"] = 0


@step
def flow_fade(s: Record) -> None:
    """Let the flow decay once a wake-up, before the first trade of it."""
    if s["faded"] == 0:
        s["total"] *= FLOW_KEPT
        s["faded"] = 1


@step
def flow_on_trade(s: Record, m: Record) -> None:
    """Add a signed trade."""
    flow_fade(s)
    s["total"] += m["trade_side"] * m["trade_size"]


@step
def flow_on_depth(s: Record, m: Record) -> None:
    """End the wake-up."""
    flow_fade(s)
    s["faded"] = 0


@step
def count_on_trade(s: Record, m: Record) -> None:
    """Count a trade."""
    s["total"] += 1.0


@step
def count_on_depth(s: Record, m: Record) -> None:
    """Let the count decay at the end of the wake-up."""
    s["total"] *= COUNT_KEPT


@step
def clock_init(s: Record) -> None:
    """Start without a wake-up."""
    s["ts"] = 0
    s["gap_ns"] = 0


@step
def clock_on_depth(s: Record, m: Record) -> None:
    """Measure the time since the last wake-up."""
    s["gap_ns"] = m["ts"] - s["ts"] if s["ts"] > 0 else 0
    s["ts"] = m["ts"]


@step
def spread(s: Record, m: Record) -> float:
    """Spread in ticks."""
    return (m["ask"] - m["bid"]) / m["tick"]


@step
def imbalance(s: Record, m: Record) -> float:
    """Imbalance of the sizes at the touch."""
    return (m["bid_size"] - m["ask_size"]) / (m["bid_size"] + m["ask_size"] + 1e-12)


@step
def near_imbalance(s: Record, m: Record) -> float:
    """Imbalance of the sizes within five ticks of the touch on each side."""
    bids = book_floats(m["bid_book"])
    asks = book_floats(m["ask_book"])
    near_bid = 0.0
    near_ask = 0.0
    for k in range(NEAR_TICKS):
        near_bid += bids[(m["best_bid_tick"] - k) & SLOT_MASK]
        near_ask += asks[(m["best_ask_tick"] + k) & SLOT_MASK]
    return (near_bid - near_ask) / (near_bid + near_ask + 1e-12)


@step
def microprice(s: Record, m: Record) -> float:
    """Microprice less mid."""
    depth = m["bid_size"] + m["ask_size"] + 1e-12
    return (m["bid"] * m["ask_size"] + m["ask"] * m["bid_size"]) / depth - m["mid"]


@step
def over_fast(s: Record, m: Record) -> float:
    """Mid less its fast mean."""
    return m["mid"] - s["fast"]


@step
def over_slow(s: Record, m: Record) -> float:
    """Mid less its slow mean."""
    return m["mid"] - s["slow"]


@step
def fast_over_slow(s: Record, m: Record) -> float:
    """Fast less slow mean."""
    return s["fast"] - s["slow"]


@step
def volatility(s: Record, m: Record) -> float:
    """Root of the variance of changes in ticks."""
    return math.sqrt(s["total"])


@step
def total(s: Record, m: Record) -> float:
    """Return a running total as it stands."""
    return s["total"]


@step
def gap_ms(s: Record, m: Record) -> float:
    """Milliseconds since the last wake-up."""
    return s["gap_ns"] * 1e-6


_MEANS = {"state": MEANS, "init": means_init, "on_depth": means_step}
_VARIANCE = {"state": LAST, "init": last_init, "on_depth": variance_step}
_OFI = {"state": LAST, "init": last_init, "on_depth": ofi_step}
_FLOW = {
    "state": TRADES,
    "init": trades_init,
    "on_trade": flow_on_trade,
    "on_depth": flow_on_depth,
}
_COUNT = {
    "state": TRADES,
    "init": trades_init,
    "on_trade": count_on_trade,
    "on_depth": count_on_depth,
}
_CLOCK = {"state": CLOCK, "init": clock_init, "on_depth": clock_on_depth}
_DEPTH_LOAD = (
    (spread, {}),
    (imbalance, {}),
    (near_imbalance, {}),
    (microprice, {}),
    (over_fast, _MEANS),
    (over_slow, _MEANS),
    (fast_over_slow, _MEANS),
    (volatility, _VARIANCE),
    (total, _FLOW),
    (total, _OFI),
    (total, _COUNT),
    (gap_ms, _CLOCK),
)

for _number, (_value, _parts) in enumerate(_DEPTH_LOAD, start=1):
    feature(
        f"depth_load_{_number}",
        value=_value,
        warmup=Warmup(1, "depth"),
        inputs=("depth", "trades"),
        unit="number",
        range="any",
        source="benchmarks/peers_hftbacktest.py",
        **_parts,  # type: ignore[arg-type]
    )

DEPTH_SPEC = FeatureSpec(tuple((f"depth_load_{n}", {}) for n in range(1, DEPTH_FEATURES + 1)))
CHECKED = (1, 2, 4, 8)  # columns of the peer's checksum
