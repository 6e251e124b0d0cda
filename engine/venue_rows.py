"""A venue's events as rows of the tape: what the engine reads in live is what every replay reads.

One event is one packet. Events of orders of an earlier run have no number on this run's tape and
make no rows; their fills change the account, and a run that starts finds that in its opening state.
"""

import hashlib
from collections.abc import Callable, Mapping

import numpy as np

from engine.events import RejectReason
from engine.rows import LAST, ROW, Kind
from engine.venue_events import (
    Acked,
    Canceled,
    Expired,
    Filled,
    NotSent,
    OrderEvent,
    Rejected,
    Unknown,
    VenueEvent,
)

_KINDS: dict[type[OrderEvent], Kind] = {
    Acked: Kind.ACK,
    Rejected: Kind.REJECT,
    Canceled: Kind.CANCELED,
    Expired: Kind.CANCELED,
    NotSent: Kind.NOT_SENT,
    Unknown: Kind.UNKNOWN,
    Filled: Kind.FILL,
}


def id_number(text: str) -> int:
    """Return a venue's id as a number of 63 bits: itself where it is one, else a hash.

    >>> id_number("28457"), id_number("0f1c-a") == id_number("0f1c-a")
    (28457, True)
    """
    if text.isascii() and text.isdigit() and len(text) <= 18:
        return int(text)
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little") >> 1


def rows_of(
    event: VenueEvent,
    tag: str,
    ts_recv: int,
    instruments: Mapping[str, int],
    asset: Callable[[str], int],
) -> np.ndarray:
    """Return the rows of one event, ROW[n]; n is 0 for what the tape has no row for.

    Args:
        event: what the account told.
        tag: this run's.
        ts_recv: the row's time, ns.
        instruments: canonical symbol -> index on the tape.
        asset: gives a fee asset's number.
    """
    kind = _KINDS.get(type(event))  # type: ignore[arg-type]
    if kind is None or not isinstance(event, OrderEvent) or event.tag != tag:
        return np.zeros(0, ROW)
    with_fee = isinstance(event, Filled) and event.fee_minor != 0
    rows = np.zeros(1 + with_fee, ROW)
    rows["kind"], rows["ts_event"], rows["ts_recv"] = kind, event.ts_event, ts_recv
    rows["instrument"] = instruments[event.symbol]
    rows["i0"] = event.ordinal
    rows["flags"][-1] = LAST
    if isinstance(event, Acked):
        rows["i1"] = id_number(event.venue_id)
    elif isinstance(event, Filled):
        first = rows[0]
        first["side"] = event.side
        first["i1"], first["i2"] = event.price_tick, event.qty_lot
        first["i3"], first["i4"] = id_number(event.trade_id), event.liquidity
        if with_fee:
            fee = rows[1]
            fee["kind"], fee["i1"] = Kind.FILL_FEE, id_number(event.trade_id)
            fee["i2"], fee["i3"] = event.fee_minor, asset(event.fee_asset)
    elif isinstance(event, Unknown):
        rows["i1"] = event.doubt
    else:
        rows["i1"] = getattr(event, "reason", RejectReason.NONE)
    return rows
