"""Minutes from the open of the regular session to the close of the last bar; 0 outside sessions.

`exchange` is named by its market identifier code; features/session_clock.py says more.
"""

from engine.session_table import EXCHANGES
from features.registry import bars, feature
from features.session_clock import SESSION, session_init, session_on_bar
from features.step import NAN, Record, step


@step
def value(s: Record, m: Record) -> float:
    """Return it for the last bar."""
    return s["from_open"] if s["known"] == 1 else NAN


feature(
    "minutes_from_open",
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
