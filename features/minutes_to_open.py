"""Minutes from the close of the last bar to the next open of the exchange; 0 inside a session.

`exchange` is named by its market identifier code; features/session_clock.py says more.
"""

from engine.session_table import EXCHANGES
from features.registry import bars, feature
from features.session_clock import SESSION, session_init, session_on_bar
from features.step import NAN, Record, step


@step
def value(s: Record, m: Record) -> float:
    """Return it for the last bar."""
    return s["to_open"] if s["known"] == 1 else NAN


feature(
    "minutes_to_open",
    state=SESSION,
    defaults={"exchange": "XNYS"},
    choices={"exchange": EXCHANGES},
    init=session_init,
    on_bar=session_on_bar,
    value=value,
    warmup=bars(1),
    group="time",
    unit="minutes",
    range="0 or more",
    source="the exchanges' hours, from the library exchange_calendars",
    inputs=("bars",),
)
