"""What a round trip on the latest signal is expected to leave, in bps of the price.

    |p_buy - p_sell| * ATR - 2 * taker fee - spread        (each in bps of the price)

The move to win or lose is one average true range over `span` bars (`atr_pct`); both ways are paid
as taker, and the spread of now once. p is the signal of `models[].signal_from`, NaN when silent or
too old.
"""

from features.atr_pct import STATE, init, on_bar
from features.atr_pct import value as atr_pct
from features.own_record import OWN_SIGNAL
from features.registry import bars, feature
from features.step import NAN, Record, step

BPS, BPS_PER_PERCENT = 1e4, 100.0


@step
def value(s: Record, m: Record, o: Record) -> float:
    """Return the expected result after costs."""
    if not m["mid"] > 0.0:
        return NAN
    edge = abs(o["signal_buy"] - o["signal_sell"]) * BPS_PER_PERCENT * atr_pct(s, m)
    return edge - BPS * (2.0 * o["taker_fee"] + (m["ask"] - m["bid"]) / m["mid"])


feature(
    "expected_profit_after_fees",
    state=STATE,
    defaults={"span": 14},
    bounds={"span": (1, 10_000)},
    init=init,
    on_bar=on_bar,
    value=value,
    warmup=lambda p: bars(int(p["span"]) + 1),
    group="own state",
    unit="bps of the price",
    range="any",
    source="expected value as in Kelly, A New Interpretation of Information Rate (1956)",
    inputs=("bars", *OWN_SIGNAL),
)
