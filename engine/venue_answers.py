"""A venue's answers, as rows of the tape, into orders and books: live and every replay alike.

Orders are found by their number. A fill waits for its fee where the packet has one more row; one
that comes after its order's end opens the order once more, for as long as it is booked.
"""

from collections import OrderedDict

import numpy as np

from engine.events import OrderState
from engine.fills import FillDesk
from engine.kept_orders import LARGEST_QUEUE
from engine.kernel.layout import Out
from engine.orders import FINAL, Order
from engine.ports import AccountGate
from engine.rows import LAST, Kind

MAX_CLOSED = 65_536  # orders that are over and may still be told of fills
REJECT, CANCELED = int(Out.REJECT), int(Out.CANCELED)
S_UNKNOWN = int(OrderState.UNKNOWN)
POSITION = -1  # `asset` of an OPENING row that is a position
LOST_FILL = 22  # event code of the audit: a fill of an order that is not known


class VenueAnswers:
    """Books what a venue said of our orders.

    Args:
        desk: the orders and books.
        gate: the desk's gate, with what an account outside needs of it.
    """

    def __init__(self, desk: FillDesk, gate: AccountGate) -> None:
        self._desk = desk
        self._kept = desk.kept
        self._gate = gate
        self._money = desk.portfolio
        self._assets = tuple(desk.portfolio.total)
        self._closed: OrderedDict[int, tuple[Order, int]] = OrderedDict()
        self._fill: np.void | None = None  # waits for its fee, the next row of its packet

    def on_row(self, row: np.void) -> None:
        """Carry out one row of the kinds OPENING, ACK to FILL_FEE, and UNKNOWN; others: nothing."""
        kind = int(row["kind"])
        if kind == Kind.FILL:
            if row["flags"] & LAST:
                self._book(row, 0)
            else:
                self._fill = row.copy()
        elif kind == Kind.FILL_FEE:
            fill, self._fill = self._fill, None
            if fill is not None:
                self._book_with_fee(fill, int(row["i2"]), int(row["i3"]))
        elif kind == Kind.OPENING:
            self._open(row)
        else:
            order = self._open_order(int(row["i0"]))
            if order is not None:
                self._fate(order, kind, int(row["i1"]))

    def _open_order(self, order_id: int) -> Order | None:
        """Return an order that is not over; the first word about one takes it from the ledger."""
        order = self._kept.orders.get(order_id)
        return self._kept.adopt(order_id) if order is None else order

    def _fate(self, order: Order, kind: int, word: int) -> None:
        """Move an order that is not over."""
        if kind == Kind.UNKNOWN:
            if order.state != S_UNKNOWN:
                self._gate.doubt(order, True)
                self._kept.on_doubt(order, word)
            return
        if kind not in (Kind.ACK, Kind.REJECT, Kind.CANCELED, Kind.NOT_SENT):
            return
        self._proven(order)
        if kind == Kind.ACK:
            if not order.rests:
                self._kept.on_ack(order.order_id, LARGEST_QUEUE)
            return
        refused = kind != Kind.CANCELED and not order.filled_lot
        self._remember(order, word)
        self._kept.on_end(order.order_id, REJECT if refused else CANCELED, word)

    def _proven(self, order: Order) -> None:
        """Take an order out of the unknown exposure: its fate is known from here on."""
        if order.state == S_UNKNOWN:
            self._gate.doubt(order, False)

    def _remember(self, order: Order, reason: int) -> None:
        self._closed[order.order_id] = (order, reason)
        if len(self._closed) > MAX_CLOSED:
            self._closed.popitem(last=False)

    def _book_with_fee(self, fill: np.void, fee_minor: int, asset: int) -> None:
        """Book a fill and its fee: in the quote currency as its cost, else from that wallet."""
        money = self._money
        quote = money.currencies[int(fill["instrument"])][1]
        name = self._assets[asset] if 0 <= asset < len(self._assets) else ""
        if name == quote:
            self._book(fill, fee_minor)
            return
        self._book(fill, 0)
        if name:
            money.total[name] -= fee_minor
            money.fees[name] += fee_minor
        else:
            self._desk.recorder.event(
                LOST_FILL, "fee_without_wallet", f"{fee_minor} of an asset without a wallet"
            )

    def _book(self, fill: np.void, paid: int) -> None:
        """Book a fill, also one of an order that is over."""
        order_id, qty = int(fill["i0"]), int(fill["i2"])
        order = self._open_order(order_id)
        reason, late = 0, False
        if order is None:
            order, reason = self._closed.get(order_id, (None, 0))
            if order is None or qty > order.left_lot:
                text = f"order {order_id}: {qty} lots of an order that is not known"
                self._desk.recorder.event(LOST_FILL, "fill_without_order", text, (order_id,))
                return
            late = True
            self._gate.reopen(order)
            self._kept.reopen(order)
        self._proven(order)
        self._remember(order, reason)
        self._kept.on_fill(order_id, qty, int(fill["i1"]), int(fill["i4"]), paid)
        if late and order.state not in FINAL:
            self._kept.end_again(order, reason)

    def _open(self, row: np.void) -> None:
        """Add what is there without an order of this run: balances, positions."""
        asset, amount, owner = int(row["i0"]), int(row["i1"]), int(row["i2"])
        if asset != POSITION:
            if 0 <= asset < len(self._assets):
                name = self._assets[asset]
                self._money.total[name] += amount
                if row["i3"] and name == self._money.currencies[0][1]:
                    self._gate.capital(amount)
            return
        instrument, side = int(row["instrument"]), int(row["side"])
        book = self._money.book(owner, instrument)
        moved = book.apply(side, amount, int(row["i4"]))
        self._money.realized[self._money.currencies[instrument][1]] += moved[2]
        self._gate.opening(instrument, owner, side * amount, moved)
        if self._money.currencies[instrument][1] == self._money.currencies[0][1]:
            self._gate.capital(side * int(row["i4"]))
