"""What the three probabilities of a model's output mean: an action, and the reason of a HOLD."""

import numpy as np
from numba import njit

from engine.events import Action, HoldReason
from engine.kernel.output_layout import OutputKind
from engine.kernel.sessions import shut_for

SELL, HOLD, BUY = int(Action.SELL), int(Action.HOLD), int(Action.BUY)
NONE = int(HoldReason.NONE)
MODEL_SAYS_HOLD = int(HoldReason.MODEL_SAYS_HOLD)
BELOW_THRESHOLD = int(HoldReason.BELOW_THRESHOLD)
MODEL_NAN = int(HoldReason.MODEL_NAN)
BINARY = int(OutputKind.BINARY)
SUM_TOLERANCE = 1e-3


@njit(forceinline=True)
def read_output(root, slot, y):  # type: ignore[no-untyped-def]
    """Read the three probabilities from a model's output."""
    if slot["output_kind"] == BINARY:
        up = np.float64(y[0])
        sell, hold, buy = 1.0 - up, 0.0, up
    else:
        sell = np.float64(y[slot["sell_at"]])
        hold = np.float64(y[slot["hold_at"]])
        buy = np.float64(y[slot["buy_at"]])
    root["p_sell"], root["p_hold"], root["p_buy"] = sell, hold, buy


@njit(forceinline=True)
def judge_chances(root, slot):  # type: ignore[no-untyped-def]
    """Turn the three probabilities into an action and a reason."""
    sell, hold, buy = root["p_sell"], root["p_hold"], root["p_buy"]
    root["value"] = root["position"] = np.nan
    total = sell + hold + buy
    if not (sell >= 0.0 and hold >= 0.0 and buy >= 0.0 and abs(total - 1.0) <= SUM_TOLERANCE):
        root["p_sell"], root["p_hold"], root["p_buy"] = 0.0, 0.0, 0.0
        return HOLD, MODEL_NAN
    if hold >= sell and hold >= buy or sell == buy:
        return HOLD, MODEL_SAYS_HOLD
    action, confidence = (BUY, buy) if buy > sell else (SELL, sell)
    if confidence < slot["threshold"]:
        return HOLD, BELOW_THRESHOLD
    shut = shut_for(root, slot, action)
    return (action, NONE) if shut == NONE else (HOLD, shut)
