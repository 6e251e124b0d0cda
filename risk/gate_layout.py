"""The gate's record: limits, latches, exposures, and the request that is being judged.

All money is int64 in minor units (1e-8) of the run's quote currency; equity is float64 in the same
unit, good enough to compare with a loss limit.
"""

import numpy as np

from engine.limits import FINE_DUPLICATES, MAX_INSTRUMENTS, MAX_MODELS

LARGEST = (1 << 61) - 1  # minor units: beyond it an amount is refused

REQUEST = np.dtype(
    [
        ("instrument", "i8"),
        ("model", "i8"),  # index, -1 for none
        ("side", "i8"),
        ("qty_lot", "i8"),
        ("limit_tick", "i8"),  # 0 for market orders
        ("signal_ts", "i8"),  # 0: no signal behind it
        ("notional", "i8"),  # of the whole order at the worst price, minor units
        ("opening", "i8"),  # of the part that opens exposure
        ("reference_notional", "i8"),  # of the whole order at the mid, for the minimum
        ("reduce_only", "i8"),
        ("shorts", "i8"),  # 1: the order would open a short
        ("protective", "i8"),
        ("order_type", "i8"),
        ("off_grid", "i8"),  # Block bits found before the call
        # what the ledger and the audit must know beside
        ("purpose", "i8"),
        ("signal_id", "i8"),
        ("stop_tick", "i8"),
        ("profit_tick", "i8"),
        ("strategy", "i8"),
    ],
    align=True,
)

GATE = np.dtype(
    [
        # limits
        ("max_order_notional", "i8"),
        ("max_position_notional", "i8"),
        ("max_gross_exposure", "i8"),
        ("max_daily_loss", "f8"),
        ("max_drawdown", "f8"),  # share of the peak
        ("max_price_deviation", "f8"),  # share of the mid
        ("max_orders_per_s", "f8"),
        ("max_open_orders", "i8"),
        ("duplicate_window_ns", "i8"),
        ("max_market_age_ns", "i8"),
        ("max_signal_age_ns", "i8"),
        ("allow_short", "i8"),
        ("reduce_to_fit", "i8"),
        # latches
        ("killed", "i8"),
        ("drawdown_latched", "i8"),
        # state
        ("open_orders", "i8"),
        ("gross_filled", "i8"),
        ("gross_reserved", "i8"),
        ("tokens", "f8"),
        ("tokens_ts", "i8"),
        ("realized", "f8"),  # since the start, after fees
        ("start_equity", "f8"),
        ("equity", "f8"),
        ("peak_equity", "f8"),
        ("drawdown", "f8"),  # share of the peak, now
        ("max_drawdown_seen", "f8"),
        ("day", "i8"),
        ("day_equity", "f8"),
        ("room", "i8"),  # of the last check: what the size limits leave, minor units
        ("mid_at_check", "f8"),
        ("recent", "i8", (FINE_DUPLICATES,)),
        ("recent_ts", "i8", (FINE_DUPLICATES,)),
        ("recent_at", "i8"),
        # per model
        ("limit", "i8", (MAX_MODELS,)),
        ("filled", "i8", (MAX_MODELS,)),
        ("resting", "i8", (MAX_MODELS,)),
        ("in_flight", "i8", (MAX_MODELS,)),
        ("unknown", "i8", (MAX_MODELS,)),
        ("max_seen", "i8", (MAX_MODELS,)),
        # per instrument
        ("position_lot", "i8", (MAX_INSTRUMENTS,)),
        ("position_cost", "i8", (MAX_INSTRUMENTS,)),  # signed like the position
        ("instrument_filled", "i8", (MAX_INSTRUMENTS,)),  # sum of the books' absolute costs
        ("instrument_reserved", "i8", (MAX_INSTRUMENTS,)),
        ("min_notional", "i8", (MAX_INSTRUMENTS,)),
        ("request", REQUEST),  # of the intent under way
    ],
    align=True,
)
