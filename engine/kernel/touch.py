"""The touch: which quotes are believed, and what follows when one is."""

import numpy as np
from numba import njit

from engine.kernel.book import tick_of

GOOD, CROSSED, INSANE = 0, 1, 2


@njit(forceinline=True)
def judge(root, m, x, bid, ask):  # type: ignore[no-untyped-def]
    """Decide whether a quote can be believed: GOOD, CROSSED (or locked) or INSANE.

    Insane is what is not positive and finite, a spread wider than `max_jump` of the mid, or a mid
    further than `max_jump` from the one in force, until `jump_confirmations` quotes in a row agree.
    """
    if not (bid > 0.0 and bid < ask and ask < np.inf):  # three looks at what is nearly always so
        sane = 0.0 < bid < np.inf and 0.0 < ask < np.inf
        return CROSSED if sane else INSANE
    mid = 0.5 * (bid + ask)
    limit = root["max_jump"]
    if ask - bid > limit * mid:
        return INSANE
    if m["quote_count"] > 0 and abs(mid - m["mid"]) > limit * m["mid"]:
        near = x["suspect"] > 0 and abs(mid - x["suspect_mid"]) <= limit * x["suspect_mid"]
        x["suspect"] = x["suspect"] + 1 if near else 1
        x["suspect_mid"] = mid
        if x["suspect"] < root["jump_confirmations"]:
            return INSANE
    x["suspect"] = 0
    return GOOD


@njit(forceinline=True)
def set_touch(root, m, x, quote):  # type: ignore[no-untyped-def]
    """Put a quote (bid, ask, bid_size, ask_size) in force if it is believed; return 1 if it was."""
    bid, ask, bid_size, ask_size = quote
    verdict = judge(root, m, x, bid, ask)
    if verdict != GOOD:
        x["trusted"] = 0
        if verdict == CROSSED:
            root["dropped_crossed"] += 1
        else:
            root["dropped_insane"] += 1
        return 0
    if x["taken"] != 0:  # what is new is there again (products: a branch would guess)
        x["used_bid"] *= np.float64((bid == m["bid"]) & (bid_size == m["bid_size"]))
        x["used_ask"] *= np.float64((ask == m["ask"]) & (ask_size == m["ask_size"]))
        x["taken"] = 1 if x["used_bid"] + x["used_ask"] > 0.0 else 0
    m["prev_bid"] = m["bid"]
    m["prev_ask"] = m["ask"]
    m["prev_bid_size"] = m["bid_size"]
    m["prev_ask_size"] = m["ask_size"]
    m["prev_mid"] = m["mid"]
    m["bid"] = bid
    m["ask"] = ask
    m["bid_size"] = bid_size
    m["ask_size"] = ask_size
    m["mid"] = 0.5 * (bid + ask)
    m["quote_ts"] = m["ts"]
    m["quote_count"] += 1
    m["stale"] = 0
    x["trusted"] = 1
    x["updates"] += 1
    return 1


@njit(forceinline=True)
def touch_ticks(m, x):  # type: ignore[no-untyped-def]
    """Bring the touch in ticks up to date; wanted only where our orders or triggers stand."""
    x["bid_tick"] = tick_of(m, m["bid"])
    x["ask_tick"] = tick_of(m, m["ask"])


@njit(forceinline=True)
def market_print(root, m, price, size):  # type: ignore[no-untyped-def]
    """Return 1 when a trade is a believable market print: positive, finite and near the market."""
    if not (0.0 < price < np.inf) or not (0.0 < size < np.inf):
        return 0
    near = m["mid"] if m["quote_count"] > 0 else m["trade_price"]
    if near > 0.0 and abs(price - near) > root["max_jump"] * near:
        return 0
    return 1
