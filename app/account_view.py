"""What an account's journal says now, for a person or a program: read, never written.

The journal may be in use. What a session writes while it is read is seen or not; a record that is
being written in that instant looks torn, so a journal in use is read again before it is called bad.
"""

import time
from decimal import Decimal
from pathlib import Path

import msgspec

from app.account_books import Held, ModelBooks
from engine.account_lock import holder_of
from engine.account_state import LOSSES, NO_PEAK, WHOSE, AccountOrder, AccountState
from engine.client_ids import client_id
from engine.errors import DataError, UsageError
from engine.events import OrderState, OrderType
from engine.journal_layout import Doubt, Kind, Latch, Name, Note, Record
from engine.journal_reader import Verified, read_journal
from engine.money import MINOR_PER_UNIT
from engine.wire_order import decimal_text

TRIES, PAUSE_S = 5, 0.05


class LatchLine(msgspec.Struct, frozen=True):
    """What stays latched until an operator clears it; `since` is ns UTC."""

    latch: str
    why: str
    since: int


class OrderLine(msgspec.Struct, frozen=True):
    """An order that is not over; `since` is when its state became what it is, ns UTC."""

    client_id: str
    symbol: str
    side: str
    type: str
    quantity: str
    filled: str
    price: str
    state: str
    doubt: str | None
    since: int


class PositionLine(msgspec.Struct, frozen=True):
    """What fills add up to, by model ("" for none); `cost` in the quote currency."""

    symbol: str
    model: str
    quantity: str
    cost: str
    quote: str


class LossLine(msgspec.Struct, frozen=True):
    """The day, and how far its first equity and the peak lie above equity at cost.

    `peak` is None where it begins anew with the next equity that is known.
    """

    day: int
    began: str
    peak: str | None


class NoteLine(msgspec.Struct, frozen=True):
    """A line for the operator, or by one."""

    ts: int
    about: str
    text: str


class AccountView(msgspec.Struct, frozen=True):
    """An account as its journal stands; `held_by` is the process that has it, None for nobody."""

    account: str
    folder: str
    held_by: str | None
    records: int
    runs: int
    last_ts: int
    torn_bytes: int
    latches: tuple[LatchLine, ...]
    orders: tuple[OrderLine, ...]
    positions: tuple[PositionLine, ...]
    balances: dict[str, str]
    losses: LossLine | None
    notes: tuple[NoteLine, ...]


class _Reading:
    """The fold of a journal, with the times that the fold itself does not keep."""

    def __init__(self, notes: int) -> None:
        self.state = AccountState()
        self.books = ModelBooks()
        self.latched: dict[int, int] = {}
        self.changed: dict[str, tuple[int, int]] = {}  # of open orders: state, and since when
        self.notes: list[NoteLine] = []
        self.last_ts = 0
        self._kept = notes

    def take(self, record: Record) -> None:
        """Fold one record."""
        state, kind = self.state, record.kind
        counts = state.apply(record)
        self.last_ts = record.ts
        if kind == Kind.FILL and counts:
            self.books.take(state, record)
        elif kind == Kind.LATCH:
            if record.code in state.latches:
                self.latched.setdefault(record.code, record.ts)
            else:
                self.latched.pop(record.code, None)
        elif kind == Kind.NOTE and self._kept:
            text = state.names.get(record.ref, "")
            self.notes.append(NoteLine(record.ts, Note(record.code).name, text))
            del self.notes[: -self._kept]
        if record.tag:
            self._order(record)

    def _order(self, record: Record) -> None:
        """Note when an order's state became what it is."""
        client = client_id(record.tag, record.ordinal)
        order = self.state.live.get(client)
        if order is None:
            self.changed.pop(client, None)
        elif self.changed.get(client, (-1, 0))[0] != order.state:
            self.changed[client] = (order.state, record.ts)


def view_of(folder: Path, *, notes: int = 10) -> AccountView:
    """Read an account's journal.

    Args:
        folder: `runs/accounts/<venue>-<account>`; it may be in use.
        notes: how many of the latest are told.
    Raises:
        DataError: no journal is there, or it is damaged; the message says where and what to do.
    """
    held_by = holder_of(folder)
    for last in range(TRIES - 1, -1, -1):
        reading = _Reading(notes)
        try:
            found = read_journal(folder, reading.take)
            break
        except DataError:
            if not last or not held_by:
                raise
            time.sleep(PAUSE_S)
    return _view(folder, held_by, found, reading)


def _view(folder: Path, held_by: str, found: Verified, reading: _Reading) -> AccountView:
    state = reading.state
    latches = [
        LatchLine(Latch(which).name, why, reading.latched[which])
        for which, why in sorted(state.latches.items())
    ]
    orders = [
        order_line(state, order, reading.changed[client][1]) for client, order in state.live.items()
    ]
    return AccountView(
        account=folder.resolve().name,
        folder=str(folder),
        held_by=held_by or None,
        records=found.records,
        runs=len(state.tags),
        last_ts=reading.last_ts,
        torn_bytes=0 if held_by else found.torn_bytes,
        latches=tuple(latches),
        orders=tuple(orders),
        positions=tuple(_position(held) for held in reading.books.held(state)),
        balances={name: f"{state.expected(name):f}" for name in sorted(state.baseline)},
        losses=_losses(state),
        notes=tuple(reading.notes),
    )


def order_line(state: AccountState, order: AccountOrder, since: int) -> OrderLine:
    """Return an order in units instead of ticks and lots."""
    one = state.markets[order.ref].instrument
    return OrderLine(
        client_id=order.client_id,
        symbol=one.symbol,
        side="buy" if order.side > 0 else "sell",
        type=OrderType(order.order_type).name,
        quantity=decimal_text(order.qty_lot, one.lot),
        filled=decimal_text(order.filled_lot, one.lot),
        price=decimal_text(order.wire_tick, one.tick),
        state=OrderState(order.state).name,
        doubt=Doubt(order.doubt).name if order.state == OrderState.UNKNOWN else None,
        since=since,
    )


def _position(held: Held) -> PositionLine:
    one = held.instrument
    return PositionLine(
        symbol=one.symbol,
        model=held.model,
        quantity=decimal_text(held.lots, one.lot),
        cost=_units(held.cost),
        quote=one.quote,
    )


def _losses(state: AccountState) -> LossLine | None:
    kept = state.counters.get((LOSSES, state.reference(Name.TEXT, WHOSE)))
    if kept is None:
        return None
    day, began, peak = kept[:3]
    return LossLine(day, _units(began), None if peak <= NO_PEAK // 2 else _units(peak))


def _units(minor: int) -> str:
    """Write minor units as a decimal text.

    >>> _units(123_450_000_000), _units(-5)
    ('1234.5', '-0.00000005')
    """
    text = f"{Decimal(minor) / MINOR_PER_UNIT:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def accounts_in(runs_dir: Path) -> list[Path]:
    """Return the folders of accounts that have a journal."""
    found = (runs_dir / "accounts").glob("*/journal/000000.journal")
    return sorted(path.parents[1] for path in found)


def account_at(named: str, runs_dir: Path) -> Path:
    """Return an account's folder by path, by name (`embedded-main`, `main`), or the only one.

    Raises:
        UsageError: there is none of that name, or more than one to choose from.
    """
    if named and (Path(named) / "journal").is_dir():
        return Path(named)
    there = accounts_in(runs_dir)
    if not there:
        raise DataError(f"{runs_dir / 'accounts'}: no account is here; a live session makes one")
    names = ", ".join(path.name for path in there)
    if not named:
        if len(there) > 1:
            raise UsageError(f"there are several accounts, name one of them: {names}")
        return there[0]
    exact = [path for path in there if path.name == named]
    found = exact or [path for path in there if path.name.partition("-")[2] == named]
    if len(found) != 1:
        raise UsageError(f"account {named!r}: there are {names} in {runs_dir / 'accounts'}")
    return found[0]
