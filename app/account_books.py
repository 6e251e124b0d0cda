"""What an account's fills add up to: positions at average cost, by model."""

from pathlib import Path
from typing import NamedTuple

import msgspec

from engine.account_state import AccountState
from engine.books import Book
from engine.client_ids import client_id
from engine.instruments import Instrument
from engine.journal_layout import Kind, Record
from engine.journal_reader import read_journal


class Held(NamedTuple):
    """A position that fills have made."""

    model: str  # its id, whatever its version; "" for none
    instrument: Instrument
    lots: int  # signed
    cost: int  # signed like the lots, minor units


class ModelBooks:
    """The books that an account's fills make, at average cost, by model.

    The versions of a model are one owner: what one has bought another may have sold.
    """

    def __init__(self) -> None:
        self._books: dict[tuple[str, int], Book] = {}

    def take(self, state: AccountState, record: Record) -> None:
        """Book a FILL record that `state` has just folded and counted."""
        order = state.orders.get(client_id(record.tag, record.ordinal))
        model = model_id_of(state.names.get(order.model, "")) if order is not None else ""
        price_tick, qty_lot = record.mixed[:2]
        grid = state.markets[record.ref].grid
        book = self._books.setdefault((model, record.ref), Book())
        book.apply(record.side, qty_lot, grid.notional(price_tick, qty_lot))

    def held(self, state: AccountState) -> list[Held]:
        """Return the positions."""
        return [
            Held(model, state.markets[ref].instrument, book.position_lot, book.cost)
            for (model, ref), book in self._books.items()
            if book.position_lot
        ]


def positions_of(folder: Path) -> list[Held]:
    """Return the positions of all fills of an account's journal, at average cost, by model.

    Args:
        folder: `runs/accounts/<venue>-<account>`; it may be in use.
    """
    state, books = AccountState(), ModelBooks()

    def each(record: Record) -> None:
        if state.apply(record) and record.kind == Kind.FILL:
            books.take(state, record)

    read_journal(folder, each)
    return books.held(state)


def model_id_of(name: str) -> str:
    """Return the model's id of a journal's name.

    >>> model_id_of('["TickMLP","1.0.0","ab"]'), model_id_of("")
    ('TickMLP', '')
    """
    return str(msgspec.json.decode(name, type=list[str])[0]) if name else ""
