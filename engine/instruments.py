"""What the engine must know of an instrument: its names, its grid, and what its data holds."""

from decimal import Decimal

import msgspec


class Instrument(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One tradable thing on one venue.

    `tick`, `lot` and `min_notional` are decimal strings, so that they are exact; `has` names the
    data that the tape holds of it: quotes, quote_sizes, trades, trade_sides, depth, bars, and
    bar_quotes where the bars have bids and asks of their own.
    """

    venue: str
    symbol: str  # canonical: upper case, no separator
    base: str
    quote: str
    tick: str
    lot: str
    min_notional: str = "0"
    has: tuple[str, ...] = ()
    bar_interval_ns: int = 0  # of the BAR rows on the tape; 0 where there are none
    inferred: tuple[str, ...] = ()  # which of tick, lot, min_notional were inferred from the data
    clock_offset_ns: int = 0  # added to ts_recv when the data was made, see store/clock.py

    @property
    def name(self) -> str:
        """Return `venue:SYMBOL`, unique on a tape.

        >>> Instrument(venue="binance_spot", symbol="BTCUSDT", base="BTC", quote="USDT",
        ...            tick="0.01", lot="0.00001").name
        'binance_spot:BTCUSDT'
        """
        return f"{self.venue}:{self.symbol}"

    @property
    def tick_size(self) -> float:
        """Price increment as float64."""
        return float(self.tick)

    @property
    def lot_size(self) -> float:
        """Size increment as float64."""
        return float(self.lot)


# Longest first, so that BTCUSDT is BTC/USDT and not BTCUS/DT.
KNOWN_QUOTES = (
    "FDUSD", "USDT", "USDC", "BUSD", "TUSD", "USD", "EUR", "GBP", "JPY", "CHF", "AUD", "CAD",
    "NZD", "TRY", "BRL", "BTC", "ETH", "BNB", "DAI",
)  # fmt: skip


def split_symbol(text: str) -> tuple[str, str, str]:
    """Split `BTC/USDT`, `BTC-USDT`, `btcusdt` or `SPY` into (canonical, base, quote).

    A symbol without a known quote currency (a share) is quoted in USD.

    >>> split_symbol("btc/usdt")
    ('BTCUSDT', 'BTC', 'USDT')
    >>> split_symbol("SPY")
    ('SPY', 'SPY', 'USD')
    """
    upper = text.strip().upper()
    for separator in ("/", "-", "_"):
        base, found, quote = upper.partition(separator)
        if found and base and quote:
            return base + quote, base, quote
    for quote in KNOWN_QUOTES:
        base = upper.removesuffix(quote)
        if base != upper and len(base) >= 2:
            return upper, base, quote
    return upper, upper, "USD"


def decimals(text: str) -> int:
    """Count the decimals of an increment: `0.010` has 2, `5` has 0.

    >>> decimals("0.010"), decimals("5"), decimals("1e-8")
    (2, 0, 8)
    """
    exponent = Decimal(text).normalize().as_tuple().exponent
    return max(0, -int(exponent))
