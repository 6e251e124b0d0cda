"""What each model of a run has earned, from the fills of its audit; orders of several are split."""

from pathlib import Path

import msgspec
import numpy as np

from engine.audit_layout import NO_INDEX, Record, Verdict
from engine.audit_reader import AuditFile
from engine.books import NOBODY, Book
from engine.json_files import read_lines
from engine.money import MINOR_PER_UNIT, Grid, split
from engine.records import OWNERS_EVENT
from engine.run_files import EVENTS, EventLine

Owners = tuple[tuple[int, int], ...]


class Money(msgspec.Struct, kw_only=True):
    """A model's result, in the quote currency."""

    fills: int = 0
    realized: float = 0.0  # before fees
    fees: float = 0.0
    unrealized: float = 0.0  # of what is held at the end, at the last price

    @property
    def total(self) -> float:
        """After fees."""
        return self.realized + self.unrealized - self.fees


class _Order:
    """Whose an order is, and how many of its lots are still to come for each."""

    def __init__(self, owners: Owners, qty: int) -> None:
        self.models = [model for model, _ in owners]
        self.left = split(qty, tuple(weight for _, weight in owners))

    def take(self, qty: int) -> list[tuple[int, int]]:
        """Split a fill as the portfolio does: each owner's part of what is left for him."""
        parts = split(qty, self.left)
        self.left = tuple(left - part for left, part in zip(self.left, parts, strict=True))
        return [(model, part) for model, part in zip(self.models, parts, strict=True) if part]


def money_of(run: Path, grids: list[Grid], last: list[float]) -> dict[int, Money]:
    """Book every fill of a run once more, for each model.

    Args:
        grids: of the instruments.
        last: their last prices; NaN where there is none.
    Returns:
        By model index; NOBODY for strategies without a model.
    """
    books: dict[tuple[int, int], Book] = {}
    found: dict[int, Money] = {}
    owners = {
        line.event_id: line.text
        for _, _, line in read_lines(run / EVENTS, EventLine)
        if line is not None and line.code == OWNERS_EVENT
    }
    shared = _Shared(owners)
    for records in AuditFile(run).pick((Record.EVENT, Record.VERDICT, Record.FILL)):
        for record in records:
            if record["kind"] != Record.FILL:
                shared.hear(record)
                continue
            instrument, qty = int(record["instrument"]), int(record["i2"])
            grid, parts = grids[instrument], shared.parts(record)
            lots = tuple(part for _, part in parts)
            notional = split(grid.notional(int(record["i3"]), qty), lots)
            paid = int(record["i4"])
            fees = split(abs(paid), lots)
            for (model, part), value, share in zip(parts, notional, fees, strict=True):
                book = books.setdefault((model, instrument), Book())
                book.apply(int(record["i1"]), part, value)
                book.fees += share if paid >= 0 else -share
                found.setdefault(model, Money()).fills += 1
    for (model, instrument), book in books.items():
        mine, price, grid = found[model], last[instrument], grids[instrument]
        mine.realized += book.realized / MINOR_PER_UNIT
        mine.fees += book.fees / MINOR_PER_UNIT
        if book.position_lot and np.isfinite(price):
            worth = book.position_lot * price / grid.tick * grid.unit
            mine.unrealized += (worth - book.cost) / MINOR_PER_UNIT
    return found


class _Shared:
    """The open orders of several models."""

    def __init__(self, texts: dict[int, str]) -> None:
        self._texts = texts
        self._intents: dict[int, Owners] = {}
        self._orders: dict[int, _Order] = {}

    def hear(self, record: np.void) -> None:
        """Take an EVENT that names owners, or the VERDICT that makes their intent an order."""
        ident = int(record["id"])
        if record["kind"] == Record.VERDICT:
            owners = self._intents.pop(ident, ())
            if owners and record["code"] != Verdict.BLOCKED:
                self._orders[int(record["i5"])] = _Order(owners, int(record["i1"]))
        elif record["code"] == OWNERS_EVENT:
            pairs = (word.split(":") for word in self._texts[ident].split())
            self._intents[int(record["i0"])] = tuple((int(m), int(w)) for m, w in pairs)

    def parts(self, fill: np.void) -> list[tuple[int, int]]:
        """Return whose lots a fill is: (model, lots)."""
        order, qty, model = int(fill["i0"]), int(fill["i2"]), int(fill["model"])
        if model != NO_INDEX or order not in self._orders:
            return [(NOBODY if model == NO_INDEX else model, qty)]
        shared = self._orders[order]
        parts = shared.take(qty)
        if not any(shared.left):
            del self._orders[order]
        return parts
