"""Fall of the account's equity from its peak, in percent of the peak: 100 * (peak - equity) / peak.

Equity is what the account started with, realised results after fees, and open results at mid. The
peak is the risk gate's: the highest equity at an order's check, at a minute's mark, or now.
"""

from features.own_record import OWN_STATE
from features.registry import feature, quotes
from features.step import NAN, Record, step


@step
def value(s: Record, m: Record, o: Record) -> float:
    """Return the drawdown; NaN while the account has no equity."""
    return 100.0 * (o["peak"] - o["equity"]) / o["peak"] if o["peak"] > 0.0 else NAN


feature(
    "current_drawdown_pct",
    value=value,
    warmup=quotes(1),
    group="own state",
    unit="percent of the peak",
    range="0 or more",
    source="Magdon-Ismail, Atiya, Maximum Drawdown (2004)",
    inputs=OWN_STATE,
)
