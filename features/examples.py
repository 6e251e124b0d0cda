"""A made-up market, and the first values that a feature takes on it: the examples of the catalogue.

Prices swing around 100, bars last a minute, ticks come every 20 ms; a peer swings around 50. The
account of own-state features began with 10,000 and holds about 500 of the instrument.
"""

import math
from typing import Any

import numpy as np

from engine.market import MARKET, TOP_LEVELS
from engine.own_state import OWN
from features.registry import Resolved
from features.step import Record

MINUTE_NS = 60_000_000_000
TICK_NS = 20_000_000
START_NS = 1_741_614_000_000_000_000  # Monday 2025-03-10, 13:40 UTC: ten minutes after New York
MINOR = 1e8  # minor units of one unit of money
MOST = 2_000  # steps of the market until a feature must be warm


def example(entry: Resolved, count: int = 3) -> list[float]:
    """Return the first `count` finite values of a feature on the made-up market.

    They are the steps' own, run one by one, so that it is best called where the compiler is off.
    """
    state = np.zeros(1, entry.state)[0]
    if entry.feature.init is not entry.feature.value:
        entry.feature.init(state, *entry.params.values())
    m = np.zeros(1, MARKET)[0]
    m["tick"], m["lot"] = 0.01, 0.01
    o = np.zeros(1, OWN)[0]
    bars = entry.warmup.of == "bars"
    seen: list[float] = []
    for k in range(MOST):
        for event in bar_step(m, k) if bars else tick_step(m, k):
            if event in entry.feature.steps:
                entry.feature.steps[event](state, m)
        own_step(o, k)
        value = float(entry.feature.value(state, m, *([o] if entry.is_own else [])))
        if math.isfinite(value):
            seen.append(value)
        if len(seen) == count:
            break
    return seen


def own_step(o: Record, k: int) -> None:
    """Say what the engine knows of itself at step k."""
    gain = 40.0 * math.sin(k / 3.0)
    o["equity"], o["peak"] = (10_000.0 + gain) * MINOR, 10_040.0 * MINOR
    o["position"], o["cost"] = (500.0 + gain) * MINOR, 500.0 * MINOR
    o["held"], o["peer_held"] = o["position"], -100.0 * MINOR
    o["at_risk"], o["used"], o["limit"] = 7.5 * MINOR, 500.0 * MINOR, 1000.0 * MINOR
    o["losses"], o["taker_fee"] = float(k % 4), 2e-4
    o["signal_action"] = 2.0
    o["signal_sell"], o["signal_hold"] = 0.1, 0.2 + 0.1 * math.sin(float(k))
    o["signal_buy"] = 0.9 - o["signal_hold"]
    o["classifier_buy"] = 0.5 + 0.2 * math.sin(k / 2.0)


def price(k: int) -> float:
    """Return the price at step k.

    >>> round(price(0), 2), round(price(7), 2)
    (100.0, 100.8)
    """
    return 100.0 + math.sin(k / 5.0) + 0.3 * math.sin(1.7 * k)


def bar_step(m: Record, k: int) -> tuple[str, ...]:
    """Close bar k of both instruments; return the events that follow."""
    opened, closed = price(k - 1), price(k)
    m["bar_ts"] = START_NS + k * MINUTE_NS
    m["bar_interval_ns"] = MINUTE_NS
    m["ts"] = m["now"] = m["bar_ts"] + MINUTE_NS
    m["bar_open"], m["bar_close"] = opened, closed
    m["bar_high"], m["bar_low"] = max(opened, closed) + 0.1, min(opened, closed) - 0.1
    m["bar_volume"] = 10.0 + 5.0 * math.sin(2.0 * k)
    m["bar_buy_volume"] = m["bar_volume"] * (0.5 + 0.4 * math.sin(float(k)))
    m["bar_sell_volume"] = m["bar_volume"] - m["bar_buy_volume"]
    m["bar_count"] += 1
    m["bid"], m["ask"], m["mid"] = closed - 0.01, closed + 0.01, closed
    m["peer_bar_ts"], m["peer_bar_interval_ns"] = m["bar_ts"], MINUTE_NS
    m["peer_bar_close"] = 50.0 + 0.4 * math.sin(k / 5.0 - 0.3) + 0.1 * math.sin(2.3 * k)
    return ("on_bar", "on_peer_bar")


def tick_step(m: Record, k: int) -> tuple[str, ...]:
    """Bring a quote, with each second one a packet of depth, with each third one a trade."""
    m["ts"] = m["now"] = START_NS + k * TICK_NS
    for name in ("bid", "ask", "bid_size", "ask_size", "mid"):
        m[f"prev_{name}"] = m[name]
    m["bid"] = round(price(k), 2)
    m["ask"] = m["bid"] + 0.02
    m["mid"] = m["bid"] + 0.01
    m["bid_size"], m["ask_size"] = 3.0 + 2.0 * math.sin(0.9 * k), 3.0 + 2.0 * math.cos(0.7 * k)
    m["quote_ts"] = m["ts"]
    m["quote_count"] += 1
    events = ["on_quote"]
    if k % 2 == 0:
        depth_step(m, k)
        events.append("on_depth")
    if k % 3 == 0:
        m["trade_price"], m["trade_side"] = m["mid"], 1.0 if math.sin(k / 4.0) > 0.0 else -1.0
        m["trade_size"] = 20.0 if k % 21 == 0 else 1.0 + 0.5 * math.sin(float(k))
        m["trade_ts"] = m["ts"]
        m["trade_count"] += 1
        events.append("on_trade")
    return tuple(events)


def depth_step(m: Record, k: int) -> None:
    """Lay out ten levels of both sides."""
    at: Any = np.arange(TOP_LEVELS)
    m["bid_prices"], m["ask_prices"] = m["bid"] - 0.01 * at, m["ask"] + 0.01 * at
    m["bid_sizes"] = 2.0 + at + np.sin(k / 3.0 + at)
    m["ask_sizes"] = 2.0 + at + np.cos(k / 2.0 + at)
    m["levels"] = TOP_LEVELS
    m["depth_count"] += 1
