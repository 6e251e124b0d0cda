"""Whether the last bar lies wholly inside a regular session of the exchange: 1 or 0.

`exchange` is named by its market identifier code; features/session_clock.py says more.
"""

from engine.session_table import EXCHANGES
from features.registry import bars, feature
from features.session_clock import SESSION, session_init, session_on_bar
from features.step import NAN, Record, step


@step
def value(s: Record, m: Record) -> float:
    """Return it for the last bar."""
    return float(s["inside"]) if s["known"] == 1 else NAN


feature(
    "regular_hours",
    state=SESSION,
    defaults={"exchange": "XNYS"},
    choices={"exchange": EXCHANGES},
    init=session_init,
    on_bar=session_on_bar,
    value=value,
    warmup=bars(1),
    group="time",
    unit="flag",
    range="0 to 1",
    source="the exchanges' hours, from the library exchange_calendars",
    inputs=("bars",),
)
