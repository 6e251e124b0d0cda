"""Open result of the own position in percent of the equity: 100 * (value at mid - cost) / equity.

Cost is the average cost of the lots held, before fees; a short has both signs turned. 0 when flat.
"""

from features.own_record import OWN_STATE, percent_of_equity
from features.registry import feature, quotes
from features.step import Record, step


@step
def value(s: Record, m: Record, o: Record) -> float:
    """Return the open result's share of the equity."""
    return percent_of_equity(o["position"] - o["cost"], o)


feature(
    "unrealised_pnl_pct",
    value=value,
    warmup=quotes(1),
    group="own state",
    unit="percent of the equity",
    range="any",
    source="own definition",
    inputs=OWN_STATE,
)
