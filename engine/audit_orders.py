"""Follow every intent to its end: the check that an audit's order stream is complete and legal.

State is kept for intents and orders that are open, and for a bounded number that have just closed;
so a run of any length is checked in the same memory. Everything here reads records only: it shares
no code with the part that trades, which is why the table of moves stands here again.
"""

from collections import OrderedDict

import numpy as np

from engine.audit_layout import ORDER_STREAM, Record, Verdict
from engine.audit_reader import reason_name
from engine.events import OrderState as S

KEPT_CLOSED = 4096  # closed orders remembered, so that a fill may stand before or after its state

MOVES: dict[int, frozenset[int]] = {  # a test holds it against engine/orders.py
    S.INTENT: frozenset({S.APPROVED}),
    S.APPROVED: frozenset({S.SENT, S.REJECTED}),
    S.SENT: frozenset(
        {S.ACKED, S.PARTIAL, S.FILLED, S.CANCELED, S.REJECTED, S.EXPIRED, S.UNKNOWN}
        | {S.PENDING_CANCEL}
    ),
    S.ACKED: frozenset(
        {S.PARTIAL, S.FILLED, S.CANCELED, S.EXPIRED, S.UNKNOWN, S.PENDING_CANCEL, S.REJECTED}
    ),
    S.PARTIAL: frozenset(
        {S.PARTIAL, S.FILLED, S.CANCELED, S.EXPIRED, S.UNKNOWN, S.PENDING_CANCEL, S.ACKED}
    ),
    S.PENDING_CANCEL: frozenset(
        {S.CANCELED, S.FILLED, S.PARTIAL, S.EXPIRED, S.UNKNOWN, S.PENDING_CANCEL, S.REJECTED}
    ),
    S.UNKNOWN: frozenset(
        {S.ACKED, S.PARTIAL, S.FILLED, S.CANCELED, S.REJECTED, S.EXPIRED, S.PENDING_CANCEL}
    ),
    S.FILLED: frozenset({S.FILLED}),
    S.CANCELED: frozenset({S.CANCELED, S.PARTIAL, S.FILLED}),
    S.REJECTED: frozenset({S.REJECTED, S.PARTIAL, S.FILLED}),
    S.EXPIRED: frozenset({S.EXPIRED, S.PARTIAL, S.FILLED}),
}
CLOSED = frozenset({S.FILLED, S.CANCELED, S.REJECTED, S.EXPIRED})
_FIELDS = ("seq", "id", "kind", "code", "instrument", "i0", "i1", "i2", "i3", "i4", "i5")


class BrokenAudit(Exception):
    """A record contradicts the ones before it. `seq` names it."""

    def __init__(self, seq: int, what: str) -> None:
        """Keep the record's sequence number and what is wrong with it."""
        super().__init__(f"record {seq}: {what}")
        self.seq = seq
        self.what = what


class _Order:
    """What is known of one approved order."""

    __slots__ = (
        "approved_seq",
        "claimed",
        "claimed_seq",
        "filled",
        "instrument",
        "intent",
        "qty",
        "side",
        "state",
    )

    def __init__(self, seq: int, intent: int, instrument: int, side: int, qty: int) -> None:
        self.approved_seq = seq
        self.intent = intent
        self.instrument = instrument
        self.side = side
        self.qty = qty
        self.state: int | None = None
        self.filled = 0
        self.claimed = 0  # filled_lot of its last ORDER record
        self.claimed_seq = seq


class OrderFlow:
    """Checks INTENT, VERDICT, ORDER and FILL records in order."""

    def __init__(self) -> None:
        """Start before the first record."""
        self._intents: dict[int, tuple[int, int, int, int]] = {}
        self._open: dict[int, _Order] = {}
        self._closed: OrderedDict[int, _Order] = OrderedDict()
        self._next_intent: int | None = None
        self._next_fill: int | None = None
        self._last_order = -1
        self._steps = {
            int(Record.INTENT): self._intent,
            int(Record.VERDICT): self._verdict,
            int(Record.ORDER): self._order,
            int(Record.FILL): self._fill,
        }

    def update(self, block: np.ndarray) -> None:
        """Check the next AUDIT[n] records.

        Raises:
            BrokenAudit: the first record that contradicts the ones before it.
        """
        chosen = block[np.isin(block["kind"], ORDER_STREAM[:4])]
        columns = (chosen[name].tolist() for name in _FIELDS)
        steps = self._steps
        for seq, ident, kind, code, instrument, *slots in zip(*columns, strict=True):
            steps[kind](seq, ident, code, instrument, slots)

    def finish(self) -> int:
        """Check what may only be checked at the end; return how many orders are still open.

        Raises:
            BrokenAudit: an intent without a verdict, or an approved verdict without its order.
        """
        for intent, (seq, *_) in self._intents.items():
            raise BrokenAudit(seq, f"intent {intent} has no verdict")
        for order_id, order in self._open.items():
            if order.state is None:
                raise BrokenAudit(order.approved_seq, f"order {order_id} has no ORDER record")
            self._settle(order_id, order)
        for order_id, order in self._closed.items():
            self._settle(order_id, order)
        return len(self._open)

    def _intent(self, seq: int, ident: int, code: int, instrument: int, i: list[int]) -> None:
        if self._next_intent is not None and ident != self._next_intent:
            raise BrokenAudit(seq, f"intent {ident} follows intent {self._next_intent - 1}")
        if i[1] not in (1, -1):
            raise BrokenAudit(seq, f"intent {ident} has side {i[1]}")
        self._next_intent = ident + 1
        self._intents[ident] = (seq, instrument, i[1], i[2])

    def _verdict(self, seq: int, ident: int, code: int, instrument: int, i: list[int]) -> None:
        known = self._intents.pop(ident, None)
        if known is None:
            raise BrokenAudit(seq, f"verdict on intent {ident}, which does not exist or had one")
        _, intent_instrument, side, wanted = known
        if instrument != intent_instrument:
            raise BrokenAudit(seq, f"verdict on intent {ident} names another instrument")
        blocks, qty, order_id = i[0], i[1], i[5]
        if code == Verdict.BLOCKED:
            if not blocks:
                raise BrokenAudit(seq, f"intent {ident} is blocked without a reason")
            return
        if code not in (Verdict.APPROVED, Verdict.REDUCED):
            raise BrokenAudit(seq, f"verdict code {code} is not known")
        if code == Verdict.APPROVED and qty != wanted:
            raise BrokenAudit(seq, f"intent {ident} asked for {wanted} lots, approved were {qty}")
        if code == Verdict.REDUCED and not 0 < qty < wanted:
            raise BrokenAudit(seq, f"intent {ident} asked for {wanted} lots, reduced to {qty}")
        if order_id <= self._last_order:
            raise BrokenAudit(seq, f"order {order_id} comes after order {self._last_order}")
        self._last_order = order_id
        self._open[order_id] = _Order(seq, ident, instrument, side, qty)

    def _order(self, seq: int, ident: int, code: int, instrument: int, i: list[int]) -> None:
        order = self._open.get(ident) or self._closed.get(ident)
        if order is None:
            raise BrokenAudit(seq, f"order {ident} was never approved, or ended long ago")
        self._matches(seq, ident, order, (instrument, i[0], i[1], i[2]))
        known = code in MOVES
        if order.state is None:
            if not known or code in (S.INTENT, S.UNKNOWN):
                raise BrokenAudit(seq, f"order {ident} begins as {reason_name(S, code)}")
        elif code not in MOVES[order.state]:
            before, after = reason_name(S, order.state), reason_name(S, code)
            raise BrokenAudit(seq, f"order {ident} moves from {before} to {after}")
        if not order.claimed <= i[4] <= order.qty:
            raise BrokenAudit(seq, f"order {ident} has {i[4]} of {order.qty} lots filled")
        if (code == S.FILLED) != (i[4] == order.qty):
            what = f"order {ident} is {reason_name(S, code)} with {i[4]} lots filled"
            raise BrokenAudit(seq, what)
        order.state, order.claimed, order.claimed_seq = code, i[4], seq
        if code in CLOSED and ident in self._open:
            self._closed[ident] = self._open.pop(ident)
            if len(self._closed) > KEPT_CLOSED:
                self._settle(*self._closed.popitem(last=False))

    def _matches(self, seq: int, ident: int, order: _Order, has: tuple[int, int, int, int]) -> None:
        wanted = (order.instrument, order.intent, order.side, order.qty)
        names = ("instrument", "intent", "side", "lots")
        for name, one, other in zip(names, has, wanted, strict=True):
            if one != other:
                raise BrokenAudit(seq, f"order {ident} has {name} {one}, approved was {other}")

    def _fill(self, seq: int, ident: int, code: int, instrument: int, i: list[int]) -> None:
        if self._next_fill is not None and ident != self._next_fill:
            raise BrokenAudit(seq, f"fill {ident} follows fill {self._next_fill - 1}")
        self._next_fill = ident + 1
        order_id, side, qty = i[0], i[1], i[2]
        order = self._open.get(order_id) or self._closed.get(order_id)
        if order is None:
            raise BrokenAudit(seq, f"fill {ident} belongs to order {order_id}, which is not known")
        if instrument != order.instrument or side != order.side:
            what = f"fill {ident} differs from order {order_id} in instrument or side"
            raise BrokenAudit(seq, what)
        order.filled += qty
        if qty <= 0 or order.filled > order.qty:
            what = f"fill {ident} makes {order.filled} lots of order {order_id}'s {order.qty}"
            raise BrokenAudit(seq, what)

    def _settle(self, ident: int, order: _Order) -> None:
        if order.filled != order.claimed:
            raise BrokenAudit(
                order.claimed_seq,
                f"order {ident} says {order.claimed} lots filled, its fills make {order.filled}",
            )
