"""What the exchange must be given as its market: symbols, a history, and events to come.

The exchange does not know where its other participants come from: app/exchange.py hands it a
synthetic market or one from a tape in these types.
"""

from collections.abc import Iterator
from decimal import Decimal
from typing import NamedTuple

import msgspec
import numpy as np

from engine.instruments import Instrument
from engine.money import Grid
from venues.embedded.amounts import UNIT

NS_PER_MS = 1_000_000
QUOTES = np.dtype(
    [("ts", "i8"), ("bid", "i8"), ("ask", "i8"), ("bid_lots", "i8"), ("ask_lots", "i8")]
)
TRADES = np.dtype([("ts", "i8"), ("price", "i8"), ("lots", "i8"), ("side", "i8")])
TRADE_EVENT, QUOTE_EVENT = 0, 1  # trades of a moment go before the quote that they cause

Event = tuple[int, int, int, int, int, int]  # ts, TRADE_EVENT price lots side 0 | QUOTE_EVENT ...


class SymbolSpec(msgspec.Struct, frozen=True, kw_only=True):
    """One instrument of the exchange; decimals are exact text."""

    symbol: str
    base: str
    quote: str
    tick: str
    lot: str
    min_notional: str = "5"
    ladder_ticks: int = 10  # distance of the levels behind the touch
    ladder_lots: int = 1000  # typical size of such a level
    ladder_levels: int = 12  # of each side

    @property
    def tick_minor(self) -> int:
        """Price increment in 1e-8 of the quote currency."""
        return int(Decimal(self.tick) * UNIT)

    @property
    def lot_minor(self) -> int:
        """Size increment in 1e-8 of the base currency."""
        return int(Decimal(self.lot) * UNIT)

    @property
    def min_notional_minor(self) -> int:
        """Smallest order value in 1e-8 of the quote currency."""
        return int(Decimal(self.min_notional) * UNIT)

    def grid(self) -> Grid:
        """Return exact money on this symbol's grid."""
        return Grid(
            Instrument(
                venue="embedded",
                symbol=self.symbol,
                base=self.base,
                quote=self.quote,
                tick=self.tick,
                lot=self.lot,
            )
        )


class Block(NamedTuple):
    """Some market time of one symbol: QUOTES[n] and TRADES[m], each in order of time."""

    quotes: np.ndarray
    trades: np.ndarray


class SymbolMarket(NamedTuple):
    """One symbol's market: what happened before the exchange opened, and what comes."""

    spec: SymbolSpec
    history: np.ndarray  # TRADES[n] before `Market.live_ns`
    touch: tuple[int, int, int, int]  # bid, ask (ticks), bid_lots, ask_lots at `live_ns`
    live: Iterator[Block]


class Market(NamedTuple):
    """All symbols on one time line of their own (ns); `live_ns` is where trading opens."""

    symbols: tuple[SymbolMarket, ...]
    live_ns: int
    seed: int
    name: str  # what it is, for people


def events(blocks: Iterator[Block]) -> Iterator[Event]:
    """Yield the events of blocks one by one: trades of a moment before its quotes.

    Example:
        >>> quotes = np.array([(5, 1, 2, 10, 20)], QUOTES)
        >>> trades = np.array([(5, 2, 7, 1)], TRADES)
        >>> list(events(iter([Block(quotes, trades)])))
        [(5, 0, 2, 7, 1, 0), (5, 1, 1, 2, 10, 20)]
    """
    for block in blocks:
        rows = np.zeros((len(block.quotes) + len(block.trades), 6), np.int64)
        split = len(block.trades)
        for at, name in ((0, "ts"), (2, "price"), (3, "lots"), (4, "side")):
            rows[:split, at] = block.trades[name]
        rows[split:, 1] = QUOTE_EVENT
        for at, name in ((0, "ts"), (2, "bid"), (3, "ask"), (4, "bid_lots"), (5, "ask_lots")):
            rows[split:, at] = block.quotes[name]
        order = np.lexsort((rows[:, 1], rows[:, 0]))
        for row in rows[order].tolist():
            yield tuple(row)
