"""Exact money of one instrument: ticks times lots in minor units, as Python integers.

Prices and sizes of our own orders are whole ticks and lots; their product times tick and lot is an
exact decimal. A balance of 1e9 with 8 decimals fits neither float64 nor a 64-bit product, so all of
it is done in Python integers (they have no bound) and rounded once, half up, to 1e-8.
"""

from decimal import Decimal
from fractions import Fraction

from engine.audit_layout import MINOR_DECIMALS
from engine.errors import DataError
from engine.instruments import Instrument

MINOR_PER_UNIT = 10**MINOR_DECIMALS
FEE_SCALE = 10**8  # fee rates are counted in 1e-8 of the notional (1e-4 bps)
MAX_INT64 = 2**63 - 1


class Grid:
    """The price and size grid of one instrument, and money on it.

    Example:
        >>> grid = Grid(Instrument(venue="x", symbol="BTCUSDT", base="BTC", quote="USDT",
        ...                        tick="0.01", lot="0.00001"))
        >>> grid.notional(6_000_000, 100_000)  # 60,000.00 times 1 BTC, in 1e-8 USDT
        6000000000000
    """

    __slots__ = ("den", "lot", "lot_minor", "name", "num", "tick", "unit")

    def __init__(self, instrument: Instrument) -> None:
        self.name = instrument.name
        self.tick = float(instrument.tick)
        self.lot = float(instrument.lot)
        product = Fraction(Decimal(instrument.tick)) * Fraction(Decimal(instrument.lot))
        scaled = product * MINOR_PER_UNIT
        self.num, self.den = scaled.numerator, scaled.denominator
        self.unit = float(scaled)  # minor units of one tick times one lot
        lot_minor = Fraction(Decimal(instrument.lot)) * MINOR_PER_UNIT
        if lot_minor.denominator != 1:
            raise DataError(
                f"{instrument.name}: lot {instrument.lot} has more than {MINOR_DECIMALS} decimals"
            )
        self.lot_minor = int(lot_minor)

    def notional(self, price_tick: int, qty_lot: int) -> int:
        """Return price times size in minor units of the quote currency, rounded half up."""
        if self.den == 1:
            return price_tick * qty_lot * self.num
        return (2 * price_tick * qty_lot * self.num + self.den) // (2 * self.den)

    def lots(self, quote_amount: float, price_tick: float) -> int:
        """Return the whole lots that an amount of quote currency buys at a price."""
        if not price_tick > 0:
            return 0
        return int(quote_amount * MINOR_PER_UNIT / (price_tick * self.unit) + 1e-9)


def minor(amount: str | int | float) -> int:
    """Return an amount in minor units; more than 8 decimals are cut.

    >>> minor("1000000000.00000001"), minor(0.1)
    (100000000000000001, 10000000)
    """
    return int(Decimal(str(amount)) * MINOR_PER_UNIT)


def fee_rate(bps: float) -> int:
    """Return a fee in basis points as a whole number of 1e-8 of the notional.

    >>> fee_rate(2.0), fee_rate(-0.5)
    (20000, -5000)
    """
    return round(Decimal(str(bps)) * FEE_SCALE / 10_000)


def fee(notional: int, rate: int) -> int:
    """Return the fee on a notional in minor units, rounded half up; negative is a rebate."""
    return (2 * notional * rate + FEE_SCALE) // (2 * FEE_SCALE)


def split(total: int, weights: tuple[int, ...]) -> tuple[int, ...]:
    """Split a whole number by weights with the largest remainder; the parts add up to it exactly.

    >>> split(10, (1, 1, 1)), split(7, (3, 1))
    ((4, 3, 3), (5, 2))
    """
    assert total >= 0
    whole = sum(weights)
    assert whole > 0
    parts = [total * weight // whole for weight in weights]
    rest = [total * weight % whole for weight in weights]
    order = sorted(range(len(weights)), key=lambda at: (-rest[at], at))
    for at in order[: total - sum(parts)]:
        parts[at] += 1
    return tuple(parts)
