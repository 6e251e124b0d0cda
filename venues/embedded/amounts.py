"""Decimal text of the wire to whole minor units (1e-8) and back, exactly."""

import re

from venues.embedded.refusals import Refused, illegal

UNIT = 10**8  # minor units in one
DECIMALS = 8
_LEGAL = r"^([0-9]{1,20})(\.[0-9]{1,20})?$"
_MATCH = re.compile(r"([0-9]{1,20})(?:\.([0-9]{1,20}))?", re.ASCII)


def text(minor: int) -> str:
    """Return an amount as Binance writes it, with eight decimals.

    >>> text(6_000_010_000_000), text(-5)
    ('60000.10000000', '-0.00000005')
    """
    if minor < 0:
        return "-" + text(-minor)
    return f"{minor // UNIT}.{minor % UNIT:08d}"


def parse(name: str, value: str) -> int:
    """Read a decimal parameter as minor units.

    Raises:
        Refused: -1100 no plain decimal, -1111 more than eight decimals.
    Example:
        >>> parse("price", "60000.1"), parse("quantity", "0.00001000")
        (6000010000000, 1000)
    """
    found = _MATCH.fullmatch(value)
    if found is None:
        raise illegal(name, _LEGAL)
    whole, part = found[1], (found[2] or "").rstrip("0")
    if len(part) > DECIMALS:
        raise Refused(-1111, f"Parameter '{name}' has too much precision.")
    return int(whole) * UNIT + int(part.ljust(DECIMALS, "0") or 0)
