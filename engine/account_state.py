"""What an account's journal adds up to: orders, fills, positions, money, latches, counters. Pure.

`AccountState.apply` folds one record; the same fold serves the live engine and every restart, so
both see the same. It takes records in any order a venue can cause: fills before acknowledgements,
after cancels, twice.
"""

from collections.abc import Callable, Iterator
from decimal import Decimal

import msgspec

from engine.client_ids import client_id
from engine.events import OrderState as S
from engine.instruments import Instrument
from engine.journal_layout import NAME_BYTES, Kind, Latch, Name, Record
from engine.money import MINOR_PER_UNIT, Grid
from engine.orders import FINAL

LOSSES, WHOSE = 1, "losses"  # the counter: day, its first equity and the peak, above cost
NO_PEAK = -(1 << 62)  # a peak below any equity: the next equity is the peak
_JSON = msgspec.json.Decoder(list[str])


class Market:
    """An instrument of the account, with its grid. `ref` is its NAME record."""

    __slots__ = ("grid", "instrument", "ref")

    def __init__(self, ref: int, instrument: Instrument) -> None:
        self.ref = ref
        self.instrument = instrument
        self.grid = Grid(instrument)

    @property
    def key(self) -> str:
        """The text that names it in the journal; a changed tick or lot is another market."""
        return market_key(self.instrument)


class AccountOrder:
    """An order of the account, of this run or an earlier one."""

    __slots__ = (
        "asked_cancel", "code", "doubt", "filled_lot", "hash0", "hash1", "intent_ts", "model",
        "order_type", "ordinal", "price_tick", "purpose", "qty_lot", "reason", "ref", "sent",
        "side", "state", "tag", "venue_id", "wire_tick",
    )  # fmt: skip

    def __init__(self, record: Record) -> None:
        numbers = record.numbers
        self.tag = record.tag
        self.ordinal = record.ordinal
        self.ref = record.ref
        self.model = record.ref2
        self.side = record.side
        self.order_type = record.order_type
        self.purpose = record.code
        self.qty_lot, self.price_tick, self.wire_tick = numbers[:3]
        self.hash0 = self.hash1 = 0  # of what may go out; 0 before it is sent
        self.intent_ts = record.ts
        self.state = int(S.APPROVED)
        self.filled_lot = 0
        self.venue_id = ""
        self.sent = False
        self.asked_cancel = False
        self.reason = 0
        self.code = ""  # the venue's, of a rejection
        self.doubt = 0

    @property
    def client_id(self) -> str:
        """Its client order id."""
        return client_id(self.tag, self.ordinal)

    @property
    def left_lot(self) -> int:
        """Lots not filled."""
        return self.qty_lot - self.filled_lot

    @property
    def over(self) -> bool:
        """Return True when nothing more is expected of it."""
        return self.state in FINAL

    def words(self) -> tuple[object, ...]:
        """Return every field, for comparisons."""
        return tuple(getattr(self, name) for name in self.__slots__)


class AccountState:
    """The fold of a journal."""

    def __init__(self) -> None:
        self.records = 0
        self.orders: dict[str, AccountOrder] = {}
        self.live: dict[str, AccountOrder] = {}  # those that are not over
        self.by_venue_id: dict[tuple[str, str], str] = {}  # by symbol and the venue's order id
        self.fills: set[tuple[str, str]] = set()  # (symbol, venue trade id): one fill once
        self.positions: dict[int, int] = {}  # by market: lots of all fills
        self.money: dict[str, int] = {}  # by asset: minor units that fills and fees moved
        self.baseline: dict[str, str] = {}  # by asset: decimal text
        self.moved_before: dict[str, int] = {}  # `money` when the baseline was set
        self.latches: dict[int, str] = {}  # Latch -> why; only those that are latched
        self.counters: dict[tuple[int, int], tuple[int, ...]] = {}
        self.tags: dict[str, int] = {}  # run tag -> highest ordinal, -1 for none yet
        self.boot = ""  # of the run that wrote last
        self.markets: dict[int, Market] = {}
        self.names: dict[int, str] = {}
        self.references: dict[tuple[int, str], int] = {}
        self.notes: list[tuple[int, str]] = []
        self._parts: dict[int, str] = {}

    def apply(self, record: Record) -> bool:
        """Fold one record; return False for one that changes nothing (a fill known already)."""
        self.records = record.seq + 1
        action = _ACTIONS.get(record.kind)
        if action is not None:
            return action(self, record) is not False
        if record.ordinal or record.tag:
            order = self.orders.get(client_id(record.tag, record.ordinal))
            if order is not None:
                self._order(order, record)
        return True

    def expected(self, asset: str) -> Decimal | None:
        """Return what the account should hold of an asset, None when it was never declared."""
        base = self.baseline.get(asset)
        if base is None:
            return None
        moved = self.money.get(asset, 0) - self.moved_before.get(asset, 0)
        return Decimal(base) + Decimal(moved) / MINOR_PER_UNIT

    def open_orders(self) -> Iterator[AccountOrder]:
        """Yield the orders that are not over, oldest first."""
        yield from self.live.values()

    def reference(self, what: int, text: str) -> int:
        """Return the number of a name, 0 when it has none yet."""
        return self.references.get((what, text), 0)

    def _order(self, order: AccountOrder, record: Record) -> None:
        """Fold what happened to an order."""
        kind = record.kind
        if kind == Kind.ACK:
            if record.text:
                order.venue_id = record.text
                symbol = self.markets[order.ref].instrument.symbol
                self.by_venue_id[symbol, record.text] = order.client_id
            if order.state in _BEFORE_ACK:  # REJECTED too: the venue's word counts
                self.live[order.client_id] = order
                order.state = S.PENDING_CANCEL if order.asked_cancel else _working(order)
        elif kind == Kind.SENT:
            order.sent = True
            order.hash0, order.hash1 = record.numbers[:2]
            if order.state == S.APPROVED:
                order.state = S.SENT
        elif kind == Kind.CANCEL_ASKED:
            order.asked_cancel = True
            if order.state in (S.ACKED, S.PARTIAL):
                order.state = S.PENDING_CANCEL
        elif kind == Kind.UNKNOWN:
            order.doubt = record.code
            if order.state not in FINAL:
                order.state = S.UNKNOWN
        elif kind in _ENDS and order.state not in FINAL:
            order.state = _ENDS[kind]
            order.reason = record.code
            if kind == Kind.REJECT:
                order.code = record.text
        order.state = int(order.state)
        if order.over:
            self.live.pop(order.client_id, None)

    def _intent(self, record: Record) -> None:
        order = AccountOrder(record)
        name = order.client_id
        assert name not in self.orders, f"client id {name} was used twice"
        self.orders[name] = order
        self.live[name] = order
        self.tags[record.tag] = max(self.tags.get(record.tag, -1), record.ordinal)

    def _fill(self, record: Record) -> bool:
        market = self.markets[record.ref]
        key = (market.instrument.symbol, record.text)
        if key in self.fills:
            return False
        self.fills.add(key)
        price_tick, qty_lot, fee, _ = record.mixed
        order = self.orders.get(client_id(record.tag, record.ordinal)) if record.tag else None
        if order is not None:
            order.filled_lot += qty_lot
            if order.filled_lot >= order.qty_lot:
                order.state = int(S.FILLED)
                self.live.pop(order.client_id, None)
            elif order.state not in _KEEPS:
                order.state = int(S.PARTIAL)
                self.live[order.client_id] = order
        self.positions[record.ref] = self.positions.get(record.ref, 0) + record.side * qty_lot
        instrument = market.instrument
        self._move(instrument.base, record.side * qty_lot * market.grid.lot_minor)
        self._move(instrument.quote, -record.side * market.grid.notional(price_tick, qty_lot))
        if record.ref2:
            self._move(self.names[record.ref2], -fee)
        return True

    def _move(self, asset: str, minor: int) -> None:
        self.money[asset] = self.money.get(asset, 0) + minor

    def _name(self, record: Record) -> None:
        part, parts = divmod(record.ordinal, 256)
        text = record.body[:NAME_BYTES].rstrip(b"\0").decode("utf-8", "replace")
        whole = (self._parts.pop(record.ref, "") if part else "") + text
        if part + 1 < parts:
            self._parts[record.ref] = whole
            return
        self.names[record.ref] = whole
        self.references[record.code, whole] = record.ref
        if record.code == Name.INSTRUMENT:
            self.markets[record.ref] = Market(record.ref, instrument_of(whole))

    def _run(self, record: Record) -> None:
        self.tags.setdefault(record.tag, -1)
        self.boot = record.text

    def _latch(self, record: Record) -> None:
        if record.numbers[0]:
            self.latches[Latch(record.code)] = self.names.get(record.ref, "")
        else:
            self.latches.pop(record.code, None)

    def _counters(self, record: Record) -> None:
        self.counters[record.code, record.ref] = record.numbers

    def _note(self, record: Record) -> None:
        self.notes.append((record.code, self.names.get(record.ref, "")))
        del self.notes[:-MAX_NOTES]

    def _balance(self, record: Record) -> None:
        asset = self.names[record.ref]
        self.baseline[asset] = record.text
        self.moved_before[asset] = self.money.get(asset, 0)


MAX_NOTES = 1000  # the latest are kept in memory; all of them are in the file
_BEFORE_ACK = frozenset({S.APPROVED, S.SENT, S.UNKNOWN, S.REJECTED})
_KEEPS = frozenset({S.PENDING_CANCEL, S.CANCELED, S.EXPIRED})  # a part filled changes them not
_ENDS: dict[int, S] = {
    Kind.REJECT: S.REJECTED,
    Kind.CANCELED: S.CANCELED,
    Kind.EXPIRED: S.EXPIRED,
    Kind.NOT_SENT: S.REJECTED,
}
_ACTIONS: dict[int, Callable[[AccountState, Record], bool | None]] = {
    Kind.RUN: AccountState._run,
    Kind.NAME: AccountState._name,
    Kind.INTENT: AccountState._intent,
    Kind.FILL: AccountState._fill,
    Kind.LATCH: AccountState._latch,
    Kind.COUNTERS: AccountState._counters,
    Kind.NOTE: AccountState._note,
    Kind.BALANCE: AccountState._balance,
}


def _working(order: AccountOrder) -> S:
    """Return the state of an order that the venue is known to have."""
    return S.PARTIAL if order.filled_lot else S.ACKED


def market_key(instrument: Instrument) -> str:
    """Return the JSON text by which the journal knows an instrument and its grid."""
    fields = (instrument.venue, instrument.symbol, instrument.base, instrument.quote)
    return msgspec.json.encode([*fields, instrument.tick, instrument.lot]).decode()


def instrument_of(key: str) -> Instrument:
    """Return the instrument that `market_key` made a text of."""
    venue, symbol, base, quote, tick, lot = _JSON.decode(key)
    return Instrument(venue=venue, symbol=symbol, base=base, quote=quote, tick=tick, lot=lot)
