"""One symbol of the exchange: its book, trades, status, and exact money on its grid."""

from collections.abc import Iterator

from venues.embedded.book import Book
from venues.embedded.market import SymbolMarket, events
from venues.embedded.trades import TradeTable

TRADING, HALT = "TRADING", "HALT"


class Symbol:
    """State of one symbol."""

    def __init__(self, index: int, market: SymbolMarket, shift_ms: int) -> None:
        """Open the symbol.

        Args:
            index: its place in the market.
            market: what it trades.
            shift_ms: from market time to the exchange's, for the history.
        """
        self.index = index
        self.spec = market.spec
        self.name = market.spec.symbol
        self.lower = self.name.lower()
        self.book = Book()
        self.trades = TradeTable(market.history, shift_ms)
        self.status = TRADING
        self.events: Iterator = events(market.live)
        self.shift_ticks = 0  # added to every price of the market: a jump that was injected
        self.house_touch: tuple[int, int] | None = None
        self.house: dict[tuple[int, int], int] = {}  # (side, tick) -> lots that the house wants
        self.depth_from_id = 1  # first update id that no depth message of 100 ms has told yet
        self.phantoms: dict[tuple[int, int], int] = {}  # levels told to the public that no one has
        grid = market.spec.grid()
        self._num, self._den = grid.num, grid.den
        self.tick_minor = market.spec.tick_minor
        self.lot_minor = market.spec.lot_minor
        self.open_orders: dict[int, int] = {}  # account -> how many

    def value(self, price_tick: int, lots: int) -> int:
        """Return price times size in minor units of quote currency, rounded down."""
        return price_tick * lots * self._num // self._den

    def value_up(self, price_tick: int, lots: int) -> int:
        """Return price times size in minor units of quote currency, rounded up."""
        return -(-price_tick * lots * self._num // self._den)

    def affordable(self, price_tick: int, budget: int) -> int:
        """Return the lots that `budget` minor units buy at a price."""
        return budget * self._den // (price_tick * self._num)

    def last_price(self) -> int:
        """Return the last trade's tick, or the bid where nothing traded yet."""
        rows = self.trades.last(1)
        return int(rows["price"][0]) if len(rows) else self.book.touch()[0]
