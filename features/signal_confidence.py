"""Confidence of another model's latest signal: its probability of the action that it advises.

The model is the one that the setting `models[].signal_from` names, its signal that on the same
instrument. Below its thresholds it advises HOLD, and this is its probability of HOLD. NaN while its
last decision was no answer of the model's (not warm, stale data, failed), or is older than
`models[].signal_age_ms`.
"""

from engine.events import Action
from features.own_record import OWN_SIGNAL
from features.registry import feature, quotes
from features.step import Record, step

SELL, BUY = float(Action.SELL), float(Action.BUY)


@step
def value(s: Record, m: Record, o: Record) -> float:
    """Return the probability of the advised action."""
    if o["signal_action"] == SELL:
        return o["signal_sell"]
    return o["signal_buy"] if o["signal_action"] == BUY else o["signal_hold"]


feature(
    "signal_confidence",
    value=value,
    warmup=quotes(1),
    group="own state",
    unit="probability",
    range="0 to 1",
    source="own definition",
    inputs=OWN_SIGNAL,
)
