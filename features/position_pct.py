"""Own position in the instrument, in percent of the equity: 100 * lots * lot * mid / equity.

Signed; whose lots they are the setting `models[].book_from` says, the model's own by default.
"""

from features.own_record import OWN_STATE, percent_of_equity
from features.registry import feature, quotes
from features.step import Record, step


@step
def value(s: Record, m: Record, o: Record) -> float:
    """Return the position's share of the equity."""
    return percent_of_equity(o["position"], o)


feature(
    "position_pct",
    value=value,
    warmup=quotes(1),
    group="own state",
    unit="percent of the equity",
    range="any; below 0 for a short",
    source="own definition",
    inputs=OWN_STATE,
)
