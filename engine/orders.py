"""The life of an order: a literal table of states and the moves allowed between them.

    INTENT -> APPROVED -> SENT -> ACKED -> PARTIAL -> FILLED
                            |        `-> PENDING_CANCEL -> CANCELED
                            |-> REJECTED | CANCELED | EXPIRED
                            `-> UNKNOWN -> anything that is proven

Fills are accepted in every state from SENT on, final ones too: a venue's word counts.
"""

import struct

from engine.events import OrderState as S
from engine.events import Purpose
from engine.kernel.ledger import LEDGER

MOVES: dict[S, frozenset[S]] = {
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
FINAL = frozenset({S.FILLED, S.CANCELED, S.REJECTED, S.EXPIRED})
_ALLOWED = {(int(a), int(b)) for a, targets in MOVES.items() for b in targets}
_GATE_KEY = object()  # taken by risk/gate.py alone; a tidy test keeps it so


class Order:
    """An order that the gate approved, and what has become of it (lots, minor units)."""

    __slots__ = (
        "closing_lot",
        "filled_lot",
        "instrument",
        "intent_id",
        "locked",
        "opening_lot",
        "order_id",
        "order_type",
        "owner_left",
        "owner_open",
        "owner_reserve",
        "owners",
        "price_tick",
        "purpose",
        "qty_lot",
        "rests",
        "side",
        "signal_id",
        "state",
        "stop_loss_tick",
        "strategy",
        "take_profit_tick",
        "trigger_id",
        "worst_tick",
    )

    def __init__(self, order_id: int, intent_id: int, instrument: int, side: int) -> None:
        self.order_id = order_id
        self.intent_id = intent_id
        self.instrument = instrument
        self.side = side
        self.state = 1  # APPROVED
        self.filled_lot = 0
        self.rests = False
        self.locked = 0
        self.trigger_id = -1
        self.strategy = -1  # index of the strategy that wanted it
        # Of orders with several owners, in their order: lots left, those that open, their reserve.
        self.owner_left: tuple[int, ...] = ()
        self.owner_open: list[int] = []
        self.owner_reserve: list[int] = []

    qty_lot: int
    order_type: int
    price_tick: int
    purpose: int
    owners: tuple[tuple[int, int], ...]
    signal_id: int
    opening_lot: int  # lots that open exposure when they fill; the closing ones fill first
    closing_lot: int
    worst_tick: int  # worst price it may fill at: what the reserve is counted with
    stop_loss_tick: int
    take_profit_tick: int

    @property
    def left_lot(self) -> int:
        """Lots not yet filled."""
        return self.qty_lot - self.filled_lot

    @property
    def is_protective(self) -> bool:
        """Return True for exits that must not be held back by flow limits."""
        return self.purpose >= Purpose.STOP_LOSS

    def move(self, state: int) -> None:
        """Go to another state; an illegal move is a programmer's error."""
        assert (self.state, state) in _ALLOWED, f"order {self.order_id}: {self.state} -> {state}"
        self.state = state


class Approved:
    """Proof that the risk gate let an order pass. Nothing else can be given to a venue.

    Attributes:
        line: the order's LEDGER record, as it was approved; empty where Python keeps the order.
    """

    __slots__ = ("_collar", "_order", "line")

    def __init__(
        self, order: Order | None, collar: tuple[int, int], key: object, line: bytes = b""
    ) -> None:
        """Take the order and its collar (low, high), or its record, from which they are read."""
        assert key is _GATE_KEY, "only the risk gate approves orders"
        self._order = order
        self._collar = collar
        self.line = line

    def _read(self) -> tuple[Order, tuple[int, int]]:
        if self._order is None:
            self._order, self._collar = order_of(self.line)
        return self._order, self._collar

    @property
    def order(self) -> Order:
        """The order; one of the ledger is a copy of what was approved."""
        return self._read()[0]

    @property
    def collar_low(self) -> int:
        """Lowest price at which it may fill, ticks."""
        return self._read()[1][0]

    @property
    def collar_high(self) -> int:
        """Highest price at which it may fill, ticks."""
        return self._read()[1][1]


_LINE = struct.Struct(f"<{LEDGER.itemsize // 8}q")
_COPIED = (
    "strategy order_type qty_lot filled_lot price_tick purpose signal_id opening_lot"
    " closing_lot worst_tick locked"
).split()


def order_of(line: bytes) -> tuple[Order, tuple[int, int]]:
    """Return (the order, its collar) that a LEDGER record describes."""
    found = dict(zip(LEDGER.names or (), _LINE.unpack(line), strict=True))
    order = Order(found["order_id"], found["intent_id"], found["instrument"], found["side"])
    order.state = found["state"]
    owner = found["owner"]
    order.owners = ((owner, 1),) if owner >= 0 else ()
    order.rests = bool(found["rests"])
    order.stop_loss_tick = found["stop_tick"]
    order.take_profit_tick = found["profit_tick"]
    for name in _COPIED:
        setattr(order, name, found[name])
    return order, (found["collar_low"], found["collar_high"])
