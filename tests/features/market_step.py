"""What a test event does to the MARKET record; embedded in the harness's generated driver."""

from typing import Any

import numpy as np
from numba import njit


@njit(error_model="numpy")
def market_step(m: Any, e: Any) -> int:
    """Bring the market up to date with one event; return its kind."""
    kind = e["kind"]
    m["ts"] = max(m["ts"], e["ts"])
    m["gap_count"] += e["gap"]
    m["now"] = m["ts"]
    if kind == 1:
        m["bar_open"] = e["a"]
        m["bar_high"] = e["b"]
        m["bar_low"] = e["c"]
        m["bar_close"] = e["d"]
        m["bar_volume"] = e["e"]
        m["bar_buy_volume"] = e["f"]
        m["bar_sell_volume"] = e["g"]
        m["bar_ts"] = e["ts"] - 60_000_000_000
        m["bar_interval_ns"] = 60_000_000_000
        m["bar_count"] += 1
    elif kind == 2:
        m["prev_bid"] = m["bid"]
        m["prev_ask"] = m["ask"]
        m["prev_bid_size"] = m["bid_size"]
        m["prev_ask_size"] = m["ask_size"]
        m["prev_mid"] = m["mid"]
        m["bid"] = e["a"]
        m["ask"] = e["b"]
        m["bid_size"] = e["c"]
        m["ask_size"] = e["d"]
        m["mid"] = 0.5 * (e["a"] + e["b"])
        m["quote_count"] += 1
        m["quote_ts"] = m["ts"]
    elif kind == 3:
        m["trade_price"] = e["a"]
        m["trade_size"] = e["b"]
        m["trade_side"] = e["c"]
        m["trade_count"] += 1
        m["trade_ts"] = m["ts"]
    elif kind == 4:
        m["depth_count"] += 1
        m["levels"] = gather(e, m)
    return kind


@njit(error_model="numpy")
def gather(e: Any, m: Any) -> int:
    """Put the event's levels that have sizes into the market; count the thinner side."""
    bids = 0
    asks = 0
    for k in range(10):
        m["bid_prices"][k] = m["ask_prices"][k] = np.nan
        m["bid_sizes"][k] = m["ask_sizes"][k] = 0.0
    for k in range(10):
        if e["bids"][k] > 0.0:
            m["bid_prices"][bids] = e["a"] - k * e["c"]
            m["bid_sizes"][bids] = e["bids"][k]
            bids += 1
        if e["asks"][k] > 0.0:
            m["ask_prices"][asks] = e["b"] + k * e["c"]
            m["ask_sizes"][asks] = e["asks"][k]
            asks += 1
    return min(bids, asks)


@njit(error_model="numpy")
def peer_step(m: Any, e: Any) -> bool:
    """Put the peer's bar of the same minute into the market; True when the event has one."""
    if e["kind"] != 1 or not abs(e["peer"]) >= 0.0:
        return False
    m["peer_bar_ts"] = e["ts"] - 60_000_000_000
    m["peer_bar_interval_ns"] = 60_000_000_000
    m["peer_bar_close"] = e["peer"]
    return True
