"""Round trips lost in a row: how many ended below what they cost, fees included, since one gained.

A round trip goes from flat to flat (or to the other side) in one instrument; those of all
instruments of the same owner count in the order in which they end. One that ends at exactly 0
changes nothing. The owner is the model of `models[].book_from`, the model itself by default.
"""

from features.own_record import OWN_STATE
from features.registry import feature, quotes
from features.step import Record, step


@step
def value(s: Record, m: Record, o: Record) -> float:
    """Return the count."""
    return o["losses"]


feature(
    "consecutive_losses",
    value=value,
    warmup=quotes(1),
    group="own state",
    unit="round trips",
    range="0 or more",
    source="own definition",
    inputs=OWN_STATE,
)
