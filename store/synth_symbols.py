"""The instruments of the synthetic market: names, grids and typical sizes by index."""

from decimal import Decimal

import msgspec

from engine.instruments import Instrument

VENUE = "synthetic"
MAX_SYMBOLS = 64


class SynthSymbol(msgspec.Struct, frozen=True, kw_only=True):
    """One synthetic instrument: its grid as exact decimals, its scales in ticks and lots."""

    symbol: str
    base: str
    tick: str
    lot: str
    min_notional: str
    start_bid_tick: int
    move_ticks: float  # scale of a mid move at the starting price
    touch_lots: float  # median size at the touch
    trade_lots: float  # median trade size
    step_lots: int  # sizes are multiples of this

    def instrument(self) -> Instrument:
        """Return what the engine must know of it."""
        return Instrument(
            venue=VENUE,
            symbol=self.symbol,
            base=self.base,
            quote="USDT",
            tick=self.tick,
            lot=self.lot,
            min_notional=self.min_notional,
            has=("quotes", "quote_sizes", "trades", "trade_sides"),
        )


_KNOWN = (
    SynthSymbol(
        symbol="BTCUSDT", base="BTC", tick="0.1", lot="0.00001", min_notional="5",
        start_bid_tick=600_000, move_ticks=45.0, touch_lots=120_000.0, trade_lots=3_000.0,
        step_lots=100,
    ),
    SynthSymbol(
        symbol="ETHUSDT", base="ETH", tick="0.01", lot="0.0001", min_notional="5",
        start_bid_tick=300_000, move_ticks=24.0, touch_lots=150_000.0, trade_lots=4_000.0,
        step_lots=100,
    ),
)  # fmt: skip


def synth_symbol(index: int) -> SynthSymbol:
    """Return the synthetic instrument number `index`, the same for every seed.

    Args:
        index: 0 <= index < MAX_SYMBOLS; 0 is like BTCUSDT, 1 like ETHUSDT, the rest are made up.
    Example:
        >>> synth_symbol(0).symbol, synth_symbol(2).symbol, synth_symbol(2).tick
        ('BTCUSDT', 'SYN02USDT', '0.001')
    """
    assert 0 <= index < MAX_SYMBOLS
    if index < len(_KNOWN):
        return _KNOWN[index]
    price = Decimal((7, 19, 48, 130, 310)[index % 5])  # spread over two decades
    tick = Decimal("0.001") if price < 100 else Decimal("0.01")
    ticks = int(price / tick)
    return SynthSymbol(
        symbol=f"SYN{index:02d}USDT",
        base=f"SYN{index:02d}",
        tick=str(tick),
        lot="0.001",
        min_notional="5",
        start_bid_tick=ticks,
        move_ticks=max(3.0, ticks * (0.9 + 0.1 * (index % 7)) * 1e-4),
        touch_lots=float(50_000_000 / int(price)),
        trade_lots=float(1_500_000 / int(price)),
        step_lots=100,
    )
