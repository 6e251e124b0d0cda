"""Probability of BUY in the latest signal of a named model.

The setting `models[].classifier_from` names it, else `models[].signal_from`. NaN when it is silent
or its signal too old, as for `signal_confidence`.
"""

from features.own_record import OWN_CLASSIFIER
from features.registry import feature, quotes
from features.step import Record, step


@step
def value(s: Record, m: Record, o: Record) -> float:
    """Return the probability of BUY."""
    return o["classifier_buy"]


feature(
    "signal_classifier_prob",
    value=value,
    warmup=quotes(1),
    group="own state",
    unit="probability",
    range="0 to 1",
    source="own definition",
    inputs=OWN_CLASSIFIER,
)
