"""Protective stops and targets: watched on every believed touch, fired once confirmed."""

import numpy as np
from numba import njit

from engine.kernel.layout import NO_BUY, NO_SELL, Out
from engine.kernel.places import answer_at, market_at, matching_at, trigger_at
from engine.kernel.sessions import exits_shut
from engine.kernel.touch import touch_ticks

OUT_STOP, OUT_PROFIT = int(Out.STOP), int(Out.PROFIT)


@njit
def nearest_triggers(root, instrument):  # type: ignore[no-untyped-def]
    """Recompute the nearest prices at which a trigger of an instrument could fire."""
    x = matching_at(root, instrument)
    x["stop_below"] = NO_BUY
    x["stop_above"] = NO_SELL
    for at in range(root["trigger_high"]):
        g = trigger_at(root, at)
        if g["active"] == 0 or g["instrument"] != instrument:
            continue
        below = g["stop_tick"] if g["side"] > 0 else g["profit_tick"]
        above = g["profit_tick"] if g["side"] > 0 else g["stop_tick"]
        if below > 0:
            x["stop_below"] = max(x["stop_below"], below)
        if above > 0:
            x["stop_above"] = min(x["stop_above"], above)


@njit
def forget_trigger(root, g):  # type: ignore[no-untyped-def]
    """Free a trigger's place."""
    g["active"] = 0
    root["trigger_count"] -= 1
    matching_at(root, g["instrument"])["triggers"] -= 1
    while root["trigger_high"] > 0 and trigger_at(root, root["trigger_high"] - 1)["active"] == 0:
        root["trigger_high"] -= 1


@njit
def fire(root, g, kind, tick):  # type: ignore[no-untyped-def]
    """Report that a trigger fired; it fires once."""
    event = answer_at(root, root["out_count"])
    event["kind"] = kind
    event["order_id"] = g["trigger_id"]
    event["qty"] = 0
    event["price_tick"] = tick
    event["liquidity"] = 0
    event["reason"] = 0
    event["ts"] = root["now"]
    event["queue"] = 0.0
    event["ledger"] = -1
    event["done"] = 0
    root["out_count"] += 1
    forget_trigger(root, g)


@njit
def check_triggers(root, instrument, prices, needed):  # type: ignore[no-untyped-def]
    """Count confirmations at the prices seen; fire what has `needed` of them, stops before targets.

    prices = (worst and best at which a long could be sold, worst and best at which a short could be
    bought back), in ticks: (bid, bid, ask, ask) of a touch, (low, high, high, low) of a bar.
    """
    if exits_shut(root, instrument):
        return
    x = matching_at(root, instrument)
    watching = 0
    fired = 0
    for at in range(root["trigger_high"]):
        g = trigger_at(root, at)
        if g["active"] == 0 or g["instrument"] != instrument:
            continue
        side = g["side"]
        worst = prices[0] if side > 0 else prices[2]
        best = prices[1] if side > 0 else prices[3]
        stop = g["stop_tick"] > 0 and (worst - g["stop_tick"]) * side <= 0
        profit = g["profit_tick"] > 0 and (best - g["profit_tick"]) * side >= 0
        g["stop_seen"] = g["stop_seen"] + 1 if stop else 0
        g["profit_seen"] = g["profit_seen"] + 1 if profit else 0
        if g["stop_seen"] >= needed:
            fire(root, g, OUT_STOP, worst)
            fired = 1
        elif g["profit_seen"] >= needed:
            fire(root, g, OUT_PROFIT, best)
            fired = 1
        elif stop or profit:
            watching = 1
    x["watching"] = watching
    if fired == 1:
        nearest_triggers(root, instrument)


@njit
def triggers_on_touch(root, instrument):  # type: ignore[no-untyped-def]
    """Look at the triggers after a believed touch: two comparisons unless one is near."""
    x = matching_at(root, instrument)
    m = market_at(root, instrument)
    touch_ticks(m, x)
    near = x["bid_tick"] <= x["stop_below"] or x["ask_tick"] <= x["stop_below"]
    near = near or x["ask_tick"] >= x["stop_above"] or x["bid_tick"] >= x["stop_above"]
    if near or x["watching"] == 1:
        bid, ask = x["bid_tick"], x["ask_tick"]
        check_triggers(root, instrument, (bid, bid, ask, ask), root["trigger_confirmations"])


@njit
def triggers_on_bar(root, instrument):  # type: ignore[no-untyped-def]
    """Fire what a bar's range reached: the market traded there, which is confirmation enough."""
    m = market_at(root, instrument)
    low = np.int64(np.floor(m["bar_low"] / m["tick"] + 0.5))
    high = np.int64(np.floor(m["bar_high"] / m["tick"] + 0.5))
    check_triggers(root, instrument, (low, high, high, low), 1)
