"""The limits of a run as the gate's record holds them: minor units, shares, nanoseconds."""

from collections.abc import Sequence

import numpy as np

from config.settings import RiskLimits
from engine.money import MAX_INT64, minor
from risk.gate_layout import GATE

NS_PER_MS = 1_000_000


def gate_record(limits: RiskLimits, model_limits: Sequence[float], start_equity: int) -> np.ndarray:
    """Make the gate's record.

    Args:
        limits: the settings, money in the run's quote currency.
        model_limits: exposure limit of each model, by index.
        start_equity: opening balance of the quote currency in minor units.
    Returns:
        GATE[1], owned by the caller.
    """
    record = np.zeros(1, GATE)
    gate = record[0]
    for name in ("max_order_notional", "max_position_notional", "max_gross_exposure"):
        gate[name] = _bounded(getattr(limits, name))
    gate["max_daily_loss"] = float(_bounded(limits.max_daily_loss))
    gate["max_drawdown"] = limits.max_drawdown_pct / 100.0
    gate["max_price_deviation"] = limits.max_price_deviation_pct / 100.0
    gate["max_orders_per_s"] = limits.max_orders_per_s
    gate["max_open_orders"] = limits.max_open_orders
    gate["duplicate_window_ns"] = int(limits.duplicate_window_ms * NS_PER_MS)
    gate["max_market_age_ns"] = int(limits.max_market_age_ms * NS_PER_MS)
    gate["max_signal_age_ns"] = int(limits.max_signal_age_ms * NS_PER_MS)
    gate["allow_short"] = int(limits.allow_short)
    gate["reduce_to_fit"] = int(limits.reduce_to_fit)
    gate["tokens"] = max(1.0, limits.max_orders_per_s)
    for name in ("start_equity", "equity", "peak_equity", "day_equity"):
        gate[name] = float(start_equity)
    gate["day"] = -1
    for at, limit in enumerate(model_limits):
        gate["limit"][at] = _bounded(limit)
    return record


def _bounded(amount: float) -> int:
    """Return an amount in minor units, at most what 62 bits hold."""
    return min(minor(amount), MAX_INT64 // 2)


def at_cost_of(gate: np.void) -> int:
    """Return equity with every position at what it cost, minor units; it is always known."""
    return int(gate["start_equity"]) + int(gate["realized"])
