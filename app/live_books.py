"""What a live run starts from: what the account's journal adds up to, by model, and its losses."""

from decimal import Decimal
from pathlib import Path
from typing import NamedTuple

import msgspec

from engine.account import Account
from engine.account_marks import count, counted
from engine.account_state import AccountState
from engine.books import Book
from engine.client_ids import client_id
from engine.errors import RunError
from engine.instruments import Instrument
from engine.journal_layout import Kind, Record
from engine.journal_reader import read_journal
from engine.money import MINOR_PER_UNIT

LOSSES, WHOSE = 1, "losses"  # the counter: day, its first equity and the peak, above cost
NS_PER_DAY = 86_400_000_000_000


class Held(NamedTuple):
    """A position that fills have made."""

    model: str  # its id, whatever its version; "" for none
    instrument: Instrument
    lots: int  # signed
    cost: int  # signed like the lots, minor units


def positions_of(folder: Path) -> list[Held]:
    """Return the positions of all fills of an account's journal, at average cost, by model.

    The versions of a model are one owner: what one has bought another may have sold.

    Args:
        folder: `runs/accounts/<venue>-<account>`; it may be in use.
    """
    state, books = AccountState(), {}  # type: ignore[var-annotated]

    def each(record: Record) -> None:
        counts = state.apply(record)
        if record.kind != Kind.FILL or not counts:
            return
        order = state.orders.get(client_id(record.tag, record.ordinal))
        model = model_id_of(state.names.get(order.model, "")) if order is not None else ""
        price_tick, qty_lot = record.mixed[:2]
        grid = state.markets[record.ref].grid
        book = books.setdefault((model, record.ref), Book())
        book.apply(record.side, qty_lot, grid.notional(price_tick, qty_lot))

    read_journal(folder, each)
    return [
        Held(model, state.markets[ref].instrument, book.position_lot, book.cost)
        for (model, ref), book in books.items()
        if book.position_lot
    ]


def model_id_of(name: str) -> str:
    """Return the model's id of a journal's name.

    >>> model_id_of('["TickMLP","1.0.0","ab"]'), model_id_of("")
    ('TickMLP', '')
    """
    return str(msgspec.json.decode(name, type=list[str])[0]) if name else ""


def balances_of(account: Account) -> dict[str, str]:
    """Return what the account holds of each asset that it counts, as decimal texts.

    Raises:
        RunError: less than nothing.
    """
    found = {}
    for asset in sorted(account.state.baseline):
        amount = account.state.expected(asset)
        assert amount is not None
        if amount < 0:
            raise RunError(f"the journal adds up to {amount:f} {asset}; see docs/live_orders.md")
        found[asset] = f"{amount.quantize(Decimal(1) / MINOR_PER_UNIT):f}"
    return found


class Losses:
    """Keeps an account's losses in its journal, across runs, as distances from equity at cost.

    Equity at cost moves only with fills and is always known; what prices have made of the positions
    is counted when the next run has seen prices, whatever they did in between.

    Args:
        account: whose.
    """

    def __init__(self, account: Account) -> None:
        self._account = account
        self._kept = counted(account, LOSSES, WHOSE) or (0,) * 9

    @property
    def before(self) -> tuple[int, int, int]:
        """Return what is kept: the day since the epoch, its first equity, the peak."""
        day, began, peak = self._kept[:3]
        return day, began, peak

    def keep(self, day: int, began: int, peak: int) -> None:
        """Store the distances of now, if they are others."""
        numbers = (day, began, peak)
        if numbers != self._kept[:3] and day > 0:
            count(self._account, LOSSES, WHOSE, numbers)
            self._kept = (*numbers, *(0,) * 6)
