"""Books and wallets as Python sees them: views of the records that the kernel works on as well."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from engine.kernel.ledger import BOOK, WALLET

NOBODY = -1
_BOOK_WORDS = BOOK.itemsize // 8
_WALLET_WORDS = WALLET.itemsize // 8


def words_of(array: np.ndarray) -> "memoryview[int]":
    """View an array of records as int64 words."""
    return memoryview(array.view(np.uint8)).cast("B").cast("q")


def reals_of(array: np.ndarray) -> "memoryview[float]":
    """View an array of records as float64 words."""
    return memoryview(array.view(np.uint8)).cast("B").cast("d")


def _place(dtype: np.dtype[Any], name: str) -> int:
    return int(dtype.fields[name][1]) // 8  # type: ignore[index]


class _Word:
    """A field of a Book that is an int64 of its record."""

    def __init__(self, name: str) -> None:
        self._at = _place(BOOK, name)

    def __get__(self, book: "Book", _: type | None = None) -> int:
        value: int = book._words[book._at + self._at]
        return value

    def __set__(self, book: "Book", value: int) -> None:
        book._words[book._at + self._at] = value


class _Real:
    """A field of a Book that is a float64 of its record."""

    def __init__(self, name: str) -> None:
        self._at = _place(BOOK, name)

    def __get__(self, book: "Book", _: type | None = None) -> float:
        value: float = book._reals[book._at + self._at]
        return value

    def __set__(self, book: "Book", value: float) -> None:
        book._reals[book._at + self._at] = value


class Book:
    """One owner's position in one instrument: signed lots, their signed cost, and results.

    Args:
        records: BOOK[n]; without it the book stands alone.
        at: which of them.
    """

    __slots__ = ("_at", "_reals", "_words")

    def __init__(self, records: np.ndarray | None = None, at: int = 0) -> None:
        records = np.zeros(1, BOOK) if records is None else records
        self._words = words_of(records)
        self._reals = reals_of(records)
        self._at = at * _BOOK_WORDS

    position_lot = _Word("position_lot")
    cost = _Word("cost")
    realized = _Word("realized")  # before fees
    fees = _Word("fees")
    closing_lot = _Word("closing_lot")  # lots that orders on their way will close
    opening_buy_lot = _Word("opening_buy_lot")  # lots that buys on their way will open
    opening_sell_lot = _Word("opening_sell_lot")
    legs = _Word("legs")  # protective legs that stand
    used = _Word("used")
    peak = _Real("peak")  # of the result after fees, as marked, minor units
    drawdown = _Real("drawdown")  # the largest fall from the peak
    trip_from = _Word("trip_from")  # result after fees when the position was last flat

    def apply(self, side: int, qty: int, notional: int) -> tuple[int, int, int]:
        """Book a fill of `qty` lots for `notional`; return (opened, closed at cost, realized).

        Average cost: what closes takes its share of the cost, the last lot takes all that is left.
        """
        position = self.position_lot
        if position * side >= 0:
            self.position_lot = position + side * qty
            self.cost += side * notional
            return notional, 0, 0
        closing = min(qty, abs(position))
        paid = notional if closing == qty else notional * closing // qty
        out = self.cost * closing // abs(position) if closing < abs(position) else self.cost
        gain = -side * paid - out
        self.position_lot = position + side * closing
        self.cost -= out
        self.realized += gain
        opened = notional - paid
        if qty > closing:
            self.position_lot += side * (qty - closing)
            self.cost += side * opened
        return opened, abs(out), gain


class Books(Mapping[tuple[int, int], Book]):
    """The books that were ever used, by (owner, instrument); `get` and `[]` make none."""

    def __init__(self, owners: int, first: int, instruments: int) -> None:
        self.records = np.zeros(owners * instruments, BOOK)
        self._first = first
        self._instruments = instruments
        self._made: dict[tuple[int, int], Book] = {}

    def book(self, owner: int, instrument: int) -> Book:
        """Return a book, empty when it has none yet; it counts as used from here on."""
        found = self._made.get((owner, instrument))
        if found is None:
            at = (owner - self._first) * self._instruments + instrument
            found = self._made[(owner, instrument)] = Book(self.records, at)
        found.used = 1
        return found

    def peek(self, owner: int, instrument: int) -> Book:
        """Return a book without using it: empty while nothing was booked."""
        return Book(self.records, (owner - self._first) * self._instruments + instrument)

    def __getitem__(self, key: tuple[int, int]) -> Book:
        at = (key[0] - self._first) * self._instruments + key[1]
        if not 0 <= at < len(self.records) or not self.records["used"][at]:
            raise KeyError(key)
        return self.book(*key)

    def __iter__(self) -> Iterator[tuple[int, int]]:
        for at in np.flatnonzero(self.records["used"]).tolist():
            yield at // self._instruments + self._first, at % self._instruments

    def __len__(self) -> int:
        return int(np.count_nonzero(self.records["used"]))


class Amounts(Mapping[str, int]):
    """One field of the wallets by currency; values are whole minor units."""

    def __init__(self, wallets: np.ndarray, places: Mapping[str, int], field: str) -> None:
        self._words = words_of(wallets)
        self._places = places
        self._field = _place(WALLET, field)

    def __getitem__(self, currency: str) -> int:
        value: int = self._words[self._places[currency] * _WALLET_WORDS + self._field]
        return value

    def __setitem__(self, currency: str, amount: int) -> None:
        self._words[self._places[currency] * _WALLET_WORDS + self._field] = amount

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)
