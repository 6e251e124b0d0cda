"""What a test event does to the MARKET record; embedded in the harness's generated driver."""

from typing import Any

from numba import njit


@njit(error_model="numpy")
def market_step(m: Any, e: Any) -> int:
    """Bring the market up to date with one event; return its kind."""
    kind = e["kind"]
    m["ts"] = max(m["ts"], e["ts"])
    m["gap_count"] += e["gap"]
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
    elif kind == 3:
        m["trade_price"] = e["a"]
        m["trade_size"] = e["b"]
        m["trade_side"] = e["c"]
        m["trade_count"] += 1
    elif kind == 4:
        m["depth_count"] += 1
        m["levels"] = 10
        for k in range(10):
            m["bid_sizes"][k] = e["bids"][k]
            m["ask_sizes"][k] = e["asks"][k]
    return kind
