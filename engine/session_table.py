"""Regular sessions of exchanges, from a table that is made once and committed.

`make sessions` writes engine/session_data.py from the library exchange_calendars, with holidays,
early closes, breaks for lunch and changes of the clock; no library is needed to read it.
"""

import base64
import zlib

import numpy as np

from engine.session_data import BREAKS, PACKED

NS_PER_MINUTE = 60_000_000_000
EXCHANGES = tuple(PACKED)  # market identifier codes: XNYS New York, XLON, XETR, XTKS Tokyo


def sessions(exchange: str) -> np.ndarray:
    """Return an exchange's sessions as int64[n, 2]: open and close, in minutes since 1970, UTC.

    One a day: a break for lunch lies inside.

    >>> table = sessions("XNYS")
    >>> [str(np.datetime64(int(minute), "m")) for minute in table[0]]
    ['2000-01-03T14:30', '2000-01-03T21:00']
    """
    return unpacked(PACKED[exchange])


def trading_hours(exchange: str) -> np.ndarray:
    """Return when an exchange trades, as `sessions` does, with its breaks left out.

    >>> [str(np.datetime64(int(minute), "m"))[11:] for minute in trading_hours("XTKS")[:2].ravel()]
    ['00:00', '02:30', '03:30', '06:00']
    """
    if exchange not in BREAKS:
        return sessions(exchange)
    days, breaks = sessions(exchange), unpacked(BREAKS[exchange])
    opens = np.sort(np.concatenate([days[:, 0], breaks[:, 1]]))
    closes = np.sort(np.concatenate([days[:, 1], breaks[:, 0]]))
    return np.stack([opens, closes], axis=1)


def packed(table: np.ndarray) -> str:
    """Pack sessions as text: steps from open to open, then lengths, compressed."""
    steps = np.concatenate([np.diff(table[:, 0], prepend=0), table[:, 1] - table[:, 0]])
    return base64.b85encode(zlib.compress(steps.astype("<i4").tobytes(), 9)).decode()


def unpacked(text: str) -> np.ndarray:
    """Undo `packed`.

    >>> unpacked(packed(np.array([[10, 12], [20, 21]]))).tolist()
    [[10, 12], [20, 21]]
    """
    words = np.frombuffer(zlib.decompress(base64.b85decode(text)), "<i4").astype(np.int64)
    opens = np.cumsum(words[: len(words) // 2])
    return np.stack([opens, opens + words[len(words) // 2 :]], axis=1)
