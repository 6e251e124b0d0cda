"""The gate's judgement: one pure check of an order against the limits, which also reserves.

An order that passes is counted as in flight in the same call, so nothing can slip between check and
count. The record is laid out in risk/gate_layout.py; risk/exposure_kernel.py counts what follows.
"""

import math

import numpy as np
from numba import njit

from engine.events import Block
from engine.limits import FINE_DUPLICATES
from risk.exposure_kernel import move, used_by

NS_PER_DAY = 86_400_000_000_000
KILLED = int(Block.KILLED)
ORDER_NOTIONAL, POSITION = int(Block.ORDER_NOTIONAL), int(Block.POSITION)
MODEL_EXPOSURE, GROSS_EXPOSURE = int(Block.MODEL_EXPOSURE), int(Block.GROSS_EXPOSURE)
PRICE_COLLAR = int(Block.PRICE_COLLAR)
ORDER_RATE, DUPLICATE = int(Block.ORDER_RATE), int(Block.DUPLICATE)
MARKET_STALE = int(Block.MARKET_STALE)
MARKET_CROSSED, MARKET_HALTED = int(Block.MARKET_CROSSED), int(Block.MARKET_HALTED)
DAILY_LOSS, DRAWDOWN = int(Block.DAILY_LOSS), int(Block.DRAWDOWN)
EQUITY_UNKNOWN = int(Block.EQUITY_UNKNOWN)
SIGNAL_AGE, MIN_NOTIONAL = int(Block.SIGNAL_AGE), int(Block.MIN_NOTIONAL)
OPEN_ORDERS = int(Block.OPEN_ORDERS)
SHORT_NOT_ALLOWED, REDUCE_ONLY = int(Block.SHORT_NOT_ALLOWED), int(Block.REDUCE_ONLY)
MINOR = 1e8
KEY_START, KEY_STEP = 0x2545F491, 0x9E3779B97F4A7C15


@njit(forceinline=True)
def equity_now(gate, markets):  # type: ignore[no-untyped-def]
    """Return the equity at the current mids; NaN where one that is needed was never seen."""
    unrealized = 0.0
    for at in range(len(markets)):
        lots = gate["position_lot"][at]
        if lots != 0:
            m = markets[at]
            unrealized += lots * m["lot"] * m["mid"] * MINOR - gate["position_cost"][at]
    return gate["start_equity"] + gate["realized"] + unrealized


@njit
def mark(gate, markets, now):  # type: ignore[no-untyped-def]
    """Bring equity, peak, drawdown and the day up to date at the current mids.

    While equity is unknown (NaN) nothing else moves: a day begins with the first that is known.
    """
    gate["equity"] = equity_now(gate, markets)
    if math.isnan(gate["equity"]):
        return
    if gate["equity"] > gate["peak_equity"]:
        gate["peak_equity"] = gate["equity"]
    peak = gate["peak_equity"]
    gate["drawdown"] = (peak - gate["equity"]) / peak if peak > 0.0 else 0.0
    if gate["drawdown"] > gate["max_drawdown_seen"]:
        gate["max_drawdown_seen"] = gate["drawdown"]
    if gate["drawdown"] > gate["max_drawdown"]:
        gate["drawdown_latched"] = 1
    day = now // NS_PER_DAY
    if day != gate["day"]:
        gate["day"] = day
        gate["day_equity"] = gate["equity"]


@njit
def market_blocks(gate, m, x, request, now):  # type: ignore[no-untyped-def]
    """Check the market the order would meet: trusted, fresh, and near the order's price."""
    blocks = 0
    if x["trusted"] == 0 or m["quote_count"] == 0:
        blocks |= MARKET_CROSSED
    if x["halted"] == 1:
        blocks |= MARKET_HALTED
    if now - m["quote_ts"] > gate["max_market_age_ns"]:
        blocks |= MARKET_STALE
    if request["signal_ts"] > 0 and now - request["signal_ts"] > gate["max_signal_age_ns"]:
        blocks |= SIGNAL_AGE
    if request["limit_tick"] > 0:
        away = abs(request["limit_tick"] * m["tick"] - m["mid"])
        if not away <= gate["max_price_deviation"] * m["mid"]:
            blocks |= PRICE_COLLAR
    return blocks


@njit
def duplicate_key(request):  # type: ignore[no-untyped-def]
    """Hash what makes two orders the same: instrument, model, side, size, price and type."""
    h = np.uint64(KEY_START)
    for word in (
        request["instrument"],
        request["model"],
        request["side"],
        request["qty_lot"],
        request["limit_tick"],
        request["order_type"],
    ):
        h = (h ^ np.uint64(word)) * np.uint64(KEY_STEP)
        h ^= h >> np.uint64(32)
    return np.int64(h >> np.uint64(1))


@njit
def flow_blocks(gate, request, now):  # type: ignore[no-untyped-def]
    """Check the flow of orders: rate, duplicates, how many stand open."""
    blocks = 0
    elapsed = (now - gate["tokens_ts"]) * 1e-9
    rate = gate["max_orders_per_s"]
    gate["tokens"] = min(max(1.0, rate), gate["tokens"] + elapsed * rate)
    gate["tokens_ts"] = now
    if gate["tokens"] < 1.0:
        blocks |= ORDER_RATE
    if gate["open_orders"] >= gate["max_open_orders"]:
        blocks |= OPEN_ORDERS
    if gate["duplicate_window_ns"] <= 0:
        return blocks
    key = duplicate_key(request)
    for at in range(FINE_DUPLICATES):
        if gate["recent"][at] == key:
            age = now - gate["recent_ts"][at]
            if gate["recent_ts"][at] > 0 and age < gate["duplicate_window_ns"]:
                blocks |= DUPLICATE
    return blocks


@njit
def size_blocks(gate, request):  # type: ignore[no-untyped-def]
    """Check the sizes; leaves in `room` what the limits would still allow to open."""
    blocks = 0
    opening = request["opening"]
    room = gate["max_order_notional"]
    if request["notional"] > room and request["reduce_only"] == 0:
        blocks |= ORDER_NOTIONAL
    if opening == 0:
        gate["room"] = room
        return blocks
    at = request["instrument"]
    left = gate["max_position_notional"]
    left -= gate["instrument_filled"][at] + gate["instrument_reserved"][at]
    if opening > left:
        blocks |= POSITION
    room = min(room, left)
    left = gate["max_gross_exposure"] - gate["gross_filled"] - gate["gross_reserved"]
    if opening > left:
        blocks |= GROSS_EXPOSURE
    room = min(room, left)
    if request["model"] >= 0:
        left = gate["limit"][request["model"]] - used_by(gate, request["model"])
        if opening > left:
            blocks |= MODEL_EXPOSURE
        room = min(room, left)
    gate["room"] = max(0, room)
    return blocks


@njit
def loss_blocks(gate, request):  # type: ignore[no-untyped-def]
    """Check what must not open while the account loses or the kill switch is latched."""
    blocks = 0
    if gate["killed"] == 1:
        blocks |= KILLED
    if request["opening"] > 0:
        if gate["drawdown_latched"] == 1:
            blocks |= DRAWDOWN
        if math.isnan(gate["equity"]):
            blocks |= EQUITY_UNKNOWN
        if gate["day_equity"] - gate["equity"] > gate["max_daily_loss"]:
            blocks |= DAILY_LOSS
        if request["reduce_only"] == 1:
            blocks |= REDUCE_ONLY
        if request["shorts"] == 1 and gate["allow_short"] == 0:
            blocks |= SHORT_NOT_ALLOWED
    return blocks


@njit
def judge_order(gate, markets, x, request, now):  # type: ignore[no-untyped-def]
    """Return the bits of every limit that the order breaks; 0 approves and reserves.

    A protective order is spared what would keep a position open: rate, duplicates, open orders,
    signal age; never the market checks, the grid or the sizes.
    """
    m = markets[request["instrument"]]
    mark(gate, markets, now)
    gate["mid_at_check"] = m["mid"]
    blocks = request["off_grid"] | market_blocks(gate, m, x, request, now)
    if request["protective"] == 0:
        blocks |= flow_blocks(gate, request, now)
    else:
        blocks &= ~SIGNAL_AGE
    blocks |= size_blocks(gate, request) | loss_blocks(gate, request)
    if request["reduce_only"] == 0:
        if request["reference_notional"] < gate["min_notional"][request["instrument"]]:
            blocks |= MIN_NOTIONAL
    if blocks == 0:
        reserve(gate, request, now)
    return blocks


@njit
def reserve(gate, request, now):  # type: ignore[no-untyped-def]
    """Count an approved order as in flight."""
    gate["tokens"] -= 1.0
    gate["open_orders"] += 1
    if gate["duplicate_window_ns"] > 0:
        at = gate["recent_at"]
        gate["recent"][at] = duplicate_key(request)
        gate["recent_ts"][at] = now
        gate["recent_at"] = (at + 1) % FINE_DUPLICATES
    opening = request["opening"]
    if opening > 0:
        gate["gross_reserved"] += opening
        gate["instrument_reserved"][request["instrument"]] += opening
        if request["model"] >= 0:
            move(gate, request["model"], (0, 0, opening, 0))
