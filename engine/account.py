"""An account in use: journal first, then the fold, then the event. The only writer of both.

Whatever a venue says, by answer, stream, poll or reconciliation, comes in here; what is known
already goes no further. Events reach the listener in the order in which they were journalled.
"""

from collections.abc import Callable
from pathlib import Path

from engine.account_state import AccountOrder, AccountState, Market
from engine.client_ids import run_tag
from engine.errors import DataError
from engine.events import RejectReason
from engine.journal import SEGMENT_RECORDS, Journal
from engine.journal_layout import (
    NAME_BYTES,
    RECORD_BYTES,
    Doubt,
    Kind,
    Name,
    Note,
    named,
    text_bytes,
    unpack,
)
from engine.venue_events import (
    Acked,
    Canceled,
    Expired,
    Filled,
    Measure,
    NotSent,
    Rejected,
    TradeReport,
    Trouble,
    Unknown,
    VenueEvent,
)
from engine.wire_order import WireOrder

_INTENT, _SENT = int(Kind.INTENT), int(Kind.SENT)


class Account:
    """One account at one venue.

    Args:
        folder: `runs/accounts/<venue>-<account>`.
        emit: is given every event, in the caller's turn; must not call back.
        now: wall clock, ns UTC.
        boot: text that changes when the machine starts anew ("" when unknown).
    Raises:
        UsageError, DataError, JournalError: as `Journal`.
    """

    def __init__(
        self,
        folder: Path,
        emit: Callable[[VenueEvent], None],
        now: Callable[[], int],
        *,
        policy: str = "written",
        boot: str = "",
        segment_records: int = SEGMENT_RECORDS,
    ) -> None:
        self._state = AccountState()
        self._last_ordinal = -1
        self.journal = Journal(folder, self._fold, policy, segment_records)
        self._folded = self.journal.head  # records; intents leave before they are folded
        self.journal.before_rotation = self._fold_rest
        self.tag = ""
        self.tell = emit
        self.now = now
        self._boot = boot[:32]
        if self.journal.cut:
            self.note(Note.TAIL_CUT, f"{self.journal.cut} bytes of a torn record were cut")

    @property
    def state(self) -> AccountState:
        """What the journal adds up to now."""
        if self._folded < self.journal.head:
            self._fold_rest()
        return self._state

    def _fold_rest(self) -> None:
        """Fold what was stored since somebody looked."""
        raw = self.journal.since(self._folded)
        self._folded = self.journal.head
        for at in range(0, len(raw), RECORD_BYTES):
            self._state.apply(unpack(raw[at : at + RECORD_BYTES]))

    def start_run(self, chance: int) -> str:
        """Reserve a run tag on the disk and judge what an earlier run left; return the tag.

        An intent without a SENT record, in the same boot of the machine, never left: it is proven
        not sent. Everything else without an answer becomes UNKNOWN.
        """
        survived = bool(self._boot) and self.state.boot == self._boot
        second = self.now() // 1_000_000_000
        tag = run_tag(second, chance)
        while tag in self.state.tags:
            second += 1
            tag = run_tag(second, chance)
        self.put(Kind.RUN, tag=tag.encode(), body=named(self._boot))
        self.journal.sync()
        self.tag = tag
        for order in list(self.state.open_orders()):
            if order.state == 1 and survived:
                self.ended(order.client_id, Kind.NOT_SENT, RejectReason.RUN_ENDED)
            elif order.state in (1, 2):
                self.unknown(order.client_id, Doubt.RESTART)
        return tag

    def name(self, what: Name, text: str) -> int:
        """Return the number by which records refer to a text, journalled at its first use."""
        known = self.state.reference(what, text)
        if known:
            return known
        data = text.encode()
        parts = [data[at : at + NAME_BYTES] for at in range(0, len(data), NAME_BYTES)]
        assert 0 < len(parts) < 256
        number = len(self.state.names) + 1
        for part, piece in enumerate(parts):
            self.put(Kind.NAME, ref=number, code=what, ordinal=part * 256 + len(parts), body=piece)
        return number

    def intent(self, order: WireOrder, market: Market, words: tuple[int, ...]) -> int:
        """Store an order before its first byte goes out; return the record's number.

        Args:
            order: what will go out.
            market: its instrument.
            words: purpose, price_tick, collar_low, collar_high, intent_id, model reference.
        Raises:
            JournalError: it cannot be kept: the order must not leave.
        """
        assert order.tag == self.tag
        assert order.ordinal > self._last_ordinal, "client ids are used once, in order"
        self.journal.check_room()
        purpose, price_tick, low, high, intent_id, model = words
        numbers = (order.qty_lot, price_tick, order.wire_tick, low, high, intent_id)
        seq = self.journal.append(
            _INTENT,
            self.now(),
            tag=order.tag.encode(),
            ordinal=order.ordinal,
            ref=market.ref,
            ref2=model,
            side=order.side,
            order_type=order.order_type,
            code=purpose,
            numbers=(*numbers, 0, 0, 0),
        )
        self._last_ordinal = order.ordinal
        return seq

    def sent(self, client: str, words: tuple[int, int]) -> int:
        """Store that the call which sends comes next; return the record's number.

        Args:
            client: the order's id.
            words: the hash of what may go out (`WireOrder.hash_words`).
        """
        order = self.state.orders[client]
        return self._order(_SENT, order, numbers=(*words, 0, 0, 0, 0, 0, 0, 0))

    def acked(self, client: str, venue_id: str, ts_event: int = 0) -> None:
        """Store that the venue has the order."""
        order = self.state.orders[client]
        if order.venue_id:
            return
        was_over, body = order.over, named(venue_id, ts_event)
        self._order(Kind.ACK, order, body=body)
        self._say(Acked, order, ts_event=ts_event, venue_id=venue_id)
        if was_over and order.reason not in (0, RejectReason.BY_REQUEST) and not order.filled_lot:
            self._trouble("orders.ack_after_end", "the venue has an order that was over", order)

    def ended(
        self, client: str, kind: Kind, reason: int = 0, ts_event: int = 0, code: str = ""
    ) -> None:
        """Store the end of an order: REJECT, NOT_SENT, CANCELED or EXPIRED."""
        order = self.state.orders[client]
        if order.over:
            return
        body = named(code, ts_event)
        self._order(kind, order, code=reason, body=body)
        extra = {"code": code} if kind == Kind.REJECT else {}
        self._say(_END_EVENTS[kind], order, ts_event=ts_event, reason=int(reason), **extra)

    def unknown(self, client: str, doubt: Doubt) -> None:
        """Store that nobody knows what became of an order."""
        order = self.state.orders[client]
        if order.over or order.state == 9 or order.venue_id:
            return
        self._order(Kind.UNKNOWN, order, code=doubt)
        self._say(Unknown, order, doubt=int(doubt))

    def cancel_asked(self, client: str) -> None:
        """Store that its removal was asked for."""
        order = self.state.orders[client]
        if not order.asked_cancel:
            self._order(Kind.CANCEL_ASKED, order)

    def filled(self, trade: TradeReport) -> bool:
        """Store an execution that is not known yet; return True when it was booked.

        One of an order that is not ours is left alone; one that cannot be true (side, symbol, more
        than the order) is put aside with an alarm, and the account halts.
        """
        state = self.state
        trade_id = text_bytes(trade.trade_id).decode()
        if (trade.symbol, trade_id) in state.fills:
            return False
        client = trade.client_id or state.by_venue_id.get((trade.symbol, trade.venue_id), "")
        order = state.orders.get(client)
        if order is None:
            return False
        market = state.markets[order.ref]
        wrong = _contradiction(order, market, trade)
        if wrong:
            self.note(Note.QUARANTINE, f"{client}: {wrong}")
            self._trouble("orders.quarantine", f"a fill of {client} {wrong}", order)
            return False
        if trade.venue_id and not order.venue_id:
            self.acked(client, trade.venue_id, trade.ts_event)
        late = order.over
        fee_asset = self.name(Name.ASSET, trade.fee_asset) if trade.fee_asset else 0
        self._order(
            Kind.FILL,
            order,
            ref=order.ref,
            ref2=fee_asset,
            side=trade.side,
            code=trade.liquidity,
            body=named(trade_id, trade.price_tick, trade.qty_lot, trade.fee_minor, trade.ts_event),
        )
        self._say(
            Filled,
            order,
            ts_event=trade.ts_event,
            side=trade.side,
            price_tick=trade.price_tick,
            qty_lot=trade.qty_lot,
            fee_minor=trade.fee_minor,
            fee_asset=trade.fee_asset,
            liquidity=trade.liquidity,
            trade_id=trade_id,
            late=late,
        )
        return True

    def note(self, about: Note, text: str) -> None:
        """Store a line for the operator."""
        self.put(Kind.NOTE, code=about, ref=self.name(Name.TEXT, text[:1000] or "-"))

    def _say(self, event: Callable[..., VenueEvent], order: AccountOrder, **fields: object) -> None:
        symbol = self.state.markets[order.ref].instrument.symbol
        self.tell(event(tag=order.tag, ordinal=order.ordinal, symbol=symbol, **fields))

    def _order(self, kind: int, order: AccountOrder, **fields: object) -> int:
        """Append a record of an order and fold it."""
        return self.put(kind, tag=order.tag.encode(), ordinal=order.ordinal, **fields)

    def put(self, kind: int, **fields: object) -> int:
        """Append a record and fold it; return its number. See journal_layout.py for the fields."""
        seq = self.journal.append(kind, self.now(), **fields)  # type: ignore[arg-type]
        self._fold_rest()
        return seq

    def _fold(self, record: object) -> None:
        try:
            self._state.apply(record)  # type: ignore[arg-type]
        except (AssertionError, KeyError, ValueError) as error:
            raise DataError(f"the journal contradicts itself ({error})") from None

    def _trouble(self, code: str, text: str, order: AccountOrder) -> None:
        symbol = self.state.markets[order.ref].instrument.symbol
        self.tell(
            Trouble(
                code=code,
                text=text,
                measure=Measure.HALT,
                symbol=symbol,
                orders=(order.client_id,),
            )
        )


def _contradiction(order: AccountOrder, market: Market, trade: TradeReport) -> str:
    """Say what cannot be true of an execution, "" when it can."""
    if trade.symbol != market.instrument.symbol:
        return "is of another symbol"
    if trade.side != order.side:
        return "is of the other side"
    if trade.qty_lot <= 0 or trade.price_tick <= 0:
        return "has no size or price"
    if order.filled_lot + trade.qty_lot > order.qty_lot:
        return "is more than the order"
    if (trade.price_tick - order.wire_tick) * order.side > 0:
        return "is worse than the order's limit"
    return ""


_END_EVENTS: dict[Kind, Callable[..., VenueEvent]] = {
    Kind.REJECT: Rejected,
    Kind.NOT_SENT: NotSent,
    Kind.CANCELED: Canceled,
    Kind.EXPIRED: Expired,
}
