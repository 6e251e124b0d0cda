"""What a strategy sees: the market, the advice, what its owner holds. Nothing can be changed."""

from collections.abc import Iterator, Mapping
from typing import Protocol

import numpy as np

from engine.books import Book
from engine.events import Signal
from engine.kernel.layout import WORD
from engine.money import Grid
from engine.orders import Order
from engine.output_form import OutputForm

NOW, ROW = WORD["now"], WORD["row"]
BID_TICK, ASK_TICK = WORD["touch_bid_tick"], WORD["touch_ask_tick"]


class Source(Protocol):
    """What made a fused signal. Given by ml/runtime/fusion.py."""

    owners: tuple[tuple[int, int], ...]


class View:
    """The world at one wake, for one instrument and one owner; valid until the decision ends.

    Prices are in ticks, sizes in lots; `grid` converts.

    Attributes:
        instrument: index on the tape.
        model: owner of what is decided here: a model's index, -1 for none.
        owners: the same as an intent takes it: ((model, 1),), or () for none.
        signal: the advice that led here.
        signals: the latest by (model, instrument), but for shadows'.
        grid: ticks, lots and money of the instrument.
        orders: open orders by id.
        market: MARKET record, read-only.
        features: float32[n], the row that the signal was made from.
        output: float32[C], what the model answered to it.
        form: what the columns of the output are.
        taker_fee: fee of a market order, as a share of its value.
        size_quote: what the model's settings say of an entry's size, quote currency; 0 for nothing.
    """

    __slots__ = (
        "_book",
        "_words",
        "features",
        "form",
        "grid",
        "instrument",
        "market",
        "model",
        "orders",
        "output",
        "owners",
        "signal",
        "signals",
        "size_quote",
        "taker_fee",
    )

    instrument: int
    model: int
    owners: tuple[tuple[int, int], ...]
    signal: Signal
    signals: Mapping[tuple[int, int], Signal]
    grid: Grid
    orders: Mapping[int, Order]
    market: np.void
    features: np.ndarray
    output: np.ndarray
    form: OutputForm
    taker_fee: float
    size_quote: float

    def __init__(self, words: memoryview, book: Book) -> None:
        self._words = words
        self._book = book

    @property
    def now(self) -> int:
        """Kernel time, ns."""
        return int(self._words[NOW])

    @property
    def row(self) -> int:
        """Row of the tape."""
        return int(self._words[ROW])

    @property
    def bid_tick(self) -> int:
        """Best bid."""
        return int(self._words[BID_TICK])

    @property
    def ask_tick(self) -> int:
        """Best ask."""
        return int(self._words[ASK_TICK])

    @property
    def position_lot(self) -> int:
        """The owner's position, signed."""
        return self._book.position_lot

    @property
    def closing_lot(self) -> int:
        """Lots that the owner's orders on their way will close."""
        return self._book.closing_lot

    @property
    def mid_tick(self) -> float:
        """Mid price in ticks."""
        return 0.5 * (self.bid_tick + self.ask_tick)

    @property
    def age_ns(self) -> int:
        """Age of the signal."""
        return self.now - self.signal.ts


class FusedView(View):
    """What a strategy sees of a signal that several models made: all that they hold together.

    Attributes:
        source: says who advised the signal; an entry is theirs, by their weights.
    """

    __slots__ = ("_books", "source")

    def __init__(self, words: memoryview, books: Mapping[int, Book], source: Source) -> None:
        self._words = words
        self._books = dict(books)
        self.source = source

    @property
    def owners(self) -> tuple[tuple[int, int], ...]:  # type: ignore[override]
        """Who advised the signal, with their weights."""
        return self.source.owners

    @property
    def position_lot(self) -> int:
        """The members' positions together, signed."""
        return sum(book.position_lot for book in self._books.values())

    @property
    def closing_lot(self) -> int:
        """Lots that the members' orders on their way will close."""
        return sum(book.closing_lot for book in self._books.values())

    def holders(self, side: int) -> tuple[tuple[int, int], ...]:
        """Return who holds lots of a side that nothing closes yet, and how many; an exit's owners.

        Args:
            side: +1 long, -1 short.
        """
        free = (
            (model, side * book.position_lot - book.closing_lot)
            for model, book in self._books.items()
            if side * book.position_lot > 0
        )
        return tuple((model, lots) for model, lots in free if lots > 0)


class LatestSignals(Mapping[tuple[int, int], Signal]):
    """The latest signals by (model, instrument), read from the views that got them."""

    def __init__(self) -> None:
        self._views: dict[tuple[int, int], list[View]] = {}

    def follow(self, key: tuple[int, int], view: View) -> None:
        """Let signals of a key be found where the pipeline leaves them; several slots may share."""
        self._views.setdefault(key, []).append(view)

    def __getitem__(self, key: tuple[int, int]) -> Signal:
        """Return the latest signal of a key."""
        found = [view.signal for view in self._views[key] if hasattr(view, "signal")]
        if not found:
            raise KeyError(key)
        return max(found, key=lambda signal: signal.signal_id)

    def __iter__(self) -> Iterator[tuple[int, int]]:
        """Go over the keys that have a signal."""
        return (k for k, views in self._views.items() if any(hasattr(v, "signal") for v in views))

    def __len__(self) -> int:
        """Count the keys that have a signal."""
        return sum(1 for _ in self)
