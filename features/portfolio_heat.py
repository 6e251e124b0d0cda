"""What the account loses if every position goes to its stop, in percent of the equity.

    100 * sum(lots under a stop * max(0, way from mid to it) + worth of all other lots) / equity

Over all instruments and owners, at the mids of now. A position without a stop is at risk with its
whole worth, and so are lots whose stop has fired until the exit fills; gaps beyond a stop are not
in it. 0 when nothing is held.
"""

from features.own_record import OWN_STATE, percent_of_equity
from features.registry import feature, quotes
from features.step import Record, step


@step
def value(s: Record, m: Record, o: Record) -> float:
    """Return the share of the equity that is at risk."""
    return percent_of_equity(o["at_risk"], o)


feature(
    "portfolio_heat",
    value=value,
    warmup=quotes(1),
    group="own state",
    unit="percent of the equity",
    range="0 or more",
    source="Elder, Come Into My Trading Room (2002), the six percent rule; Tharp, portfolio heat",
    inputs=OWN_STATE,
)
