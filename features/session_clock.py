"""Where the last bar stands among an exchange's regular sessions: the state of five features.

The sessions are a table made from the library exchange_calendars (engine/session_table.py),
holidays and early closes included; a break for lunch lies inside. A bar is inside when it lies
wholly between open and close. Outside the years of the table nothing is known: NaN.
"""

import numpy as np

from engine.session_table import EXCHANGES, sessions
from features.step import Record, step

NS_PER_MINUTE = 60_000_000_000
_TABLES = [sessions(name) for name in EXCHANGES]
OPENS = np.concatenate([table[:, 0] for table in _TABLES])  # minutes since 1970, UTC
CLOSES = np.concatenate([table[:, 1] for table in _TABLES])
FIRST = tuple(int(n) for n in np.cumsum([0, *(len(table) for table in _TABLES)]))

SESSION = np.dtype(
    [
        ("exchange", "i8"),
        ("known", "i8"),  # 1 when the bar lies in the years of the table
        ("inside", "i8"),
        ("from_open", "f8"),  # minutes, of the session that the bar is inside
        ("to_close", "f8"),
        ("from_close", "f8"),  # minutes, outside
        ("to_open", "f8"),
    ],
    align=True,
)


@step
def session_init(s: Record, exchange: int) -> None:
    """Start before the first bar."""
    s["exchange"] = exchange
    s["known"] = 0
    s["inside"] = 0
    s["from_open"] = 0.0
    s["to_close"] = 0.0
    s["from_close"] = 0.0
    s["to_open"] = 0.0


@step
def opened_until(exchange: int, ns: int) -> int:
    """Return the place in the table behind the last session that opened at or before a time."""
    low = FIRST[exchange]
    high = FIRST[exchange + 1]
    while low < high:
        middle = (low + high) // 2
        if OPENS[middle] * NS_PER_MINUTE <= ns:
            low = middle + 1
        else:
            high = middle
    return low


@step
def session_on_bar(s: Record, m: Record) -> None:
    """Find the sessions around the bar that has just closed."""
    opened = m["bar_ts"]
    closed = opened + m["bar_interval_ns"]
    at = opened_until(s["exchange"], opened)
    s["known"] = 1 if FIRST[s["exchange"]] < at and at < FIRST[s["exchange"] + 1] else 0
    if s["known"] == 0:
        return
    begin = OPENS[at - 1] * NS_PER_MINUTE
    end = CLOSES[at - 1] * NS_PER_MINUTE
    inside = closed <= end
    s["inside"] = 1 if inside else 0
    s["from_open"] = (closed - begin) / NS_PER_MINUTE if inside else 0.0
    s["to_close"] = (end - closed) / NS_PER_MINUTE if inside else 0.0
    s["from_close"] = 0.0 if inside else max(closed - end, 0) / NS_PER_MINUTE
    ahead = OPENS[at] * NS_PER_MINUTE - closed
    s["to_open"] = 0.0 if inside else max(ahead, 0) / NS_PER_MINUTE
