"""An approved order as it stands on the wire: exact texts, and a hash that both ends must agree on.

Ticks and lots become decimal texts by whole numbers alone. What a client library made of them is
read back and hashed; only a request whose hash equals the approved record's may leave.
"""

import hashlib
import struct
from decimal import Decimal, InvalidOperation
from fractions import Fraction
from typing import NamedTuple

from engine.events import OrderType
from engine.orders import Approved

_FIELDS = struct.Struct("<8sQbBqq")
_WORDS = struct.Struct("<qq")


class WireOrder(NamedTuple):
    """What may go out, in whole numbers. `symbol` is canonical (BTCUSDT)."""

    tag: str
    ordinal: int
    symbol: str
    side: int
    order_type: int  # OrderType; MARKET goes out as an immediate limit at its collar
    qty_lot: int
    wire_tick: int

    def hash_words(self) -> tuple[int, int]:
        """Return the order's hash as two int64."""
        packed = _FIELDS.pack(
            self.tag.encode(),
            self.ordinal,
            self.side,
            self.order_type,
            self.qty_lot,
            self.wire_tick,
        )
        digest = hashlib.blake2b(packed + self.symbol.encode(), digest_size=16).digest()
        first, second = _WORDS.unpack(digest)
        return first, second

    @property
    def immediate(self) -> bool:
        """Return True for an order that must not rest."""
        return self.order_type in (OrderType.MARKET, OrderType.LIMIT_IOC)


def wire_order(approved: Approved, tag: str, symbol: str) -> WireOrder:
    """Return the wire form of what the gate approved.

    A market order goes out as an immediate limit at the far end of its collar: no venue can fill it
    worse than the gate has counted.
    """
    assert type(approved) is Approved, "a venue takes only what the risk gate approved"
    order = approved.order
    tick = order.price_tick
    if order.order_type == OrderType.MARKET:
        tick = approved.collar_high if order.side > 0 else approved.collar_low
    assert tick > 0, "an order without a price has no collar"
    assert order.qty_lot > 0, "an order without a size"
    return WireOrder(tag, order.order_id, symbol, order.side, order.order_type, order.qty_lot, tick)


def decimal_text(count: int, increment: str) -> str:
    """Return count times increment as a plain decimal text, exactly.

    >>> decimal_text(6_000_012, "0.01"), decimal_text(3, "1e-8"), decimal_text(20, "5")
    ('60000.12', '0.00000003', '100')
    """
    _, digits, exponent = Decimal(increment).as_tuple()
    assert isinstance(exponent, int)
    whole = abs(count) * int("".join(map(str, digits)))
    text = str(whole) + "0" * max(exponent, 0)
    if exponent < 0:
        text = text.rjust(1 - exponent, "0")
        text = f"{text[:exponent]}.{text[exponent:]}".rstrip("0").rstrip(".")
    return f"-{text}" if count < 0 else text


def count_of(text: str, increment: str) -> int | None:
    """Return how many increments a decimal text is, None when it is not a whole number of them.

    >>> count_of("60000.120", "0.01"), count_of("60000.125", "0.01"), count_of("nan", "0.01")
    (6000012, None, None)
    """
    try:
        value = Decimal(text)
    except InvalidOperation:
        return None
    if not value.is_finite() or not -40 < value.adjusted() < 40:
        return None
    count = Fraction(value) / Fraction(Decimal(increment))
    return count.numerator if count.denominator == 1 else None


def minor_of(text: str) -> int | None:
    """Return an amount in minor units (1e-8), rounded half to even; None when it is no number.

    >>> minor_of("0.00000123"), minor_of("-1.5"), minor_of("1e999")
    (123, -150000000, None)
    """
    try:
        value = Decimal(text)
    except InvalidOperation:
        return None
    if not value.is_finite() or not -40 < value.adjusted() < 40:
        return None
    return round(Fraction(value) * 10**8)
