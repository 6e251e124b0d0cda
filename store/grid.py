"""Infer tick, lot and minimum notional from the values seen: the finest increment, exact."""

from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation

import numpy as np

from engine.errors import UsageError

MAX_DECIMALS = 10
MAX_SIZE_DECIMALS = 8  # what lies beyond is the noise of summed volumes
MAX_DIGITS = 10**15  # more significant digits than that are float noise, no decimal of a venue
TRUSTED_STEPS = 32  # so many changes are needed before an increment above 10^-decimals is believed
TRUSTED_TRADES = 1000  # so many trades before their smallest notional says anything


@dataclass
class Increment:
    """The finest increment of the values seen so far.

    A value counts with the decimals of its shortest form; one that has none within ten decimals and
    15 digits (an averaged mid) is noise and does not count. The increment is the greatest common
    divisor of what counts: 4500.25 and 4500.50 give 0.25.
    """

    decimals: int = 0
    divisor: int = 0  # gcd of the values in units of 10^-decimals; 0 before the first value
    steps: int = 0  # changes from one value to the next
    noise: int = 0
    values: int = 0
    largest: float = 0.0
    max_decimals: int = MAX_DECIMALS

    def add(self, values: np.ndarray) -> None:
        """Take in float64[n], positive and finite or 0."""
        values = values[values > 0]
        if len(values) == 0:
            return
        self.values += len(values)
        self.largest = max(self.largest, float(values.max()))
        self.steps += int(np.count_nonzero(values[1:] != values[:-1]))
        distinct = np.unique(values) if len(values) > 64 else values
        scaled, exact = _scaled(distinct, self.decimals)
        while not exact.all() and self.decimals < self.max_decimals:
            finer, finer_exact = _scaled(distinct, self.decimals + 1)
            if np.count_nonzero(finer_exact) <= np.count_nonzero(exact) and not _any_finer(
                distinct[~exact], self.decimals, self.max_decimals
            ):
                break
            self.decimals += 1
            self.divisor *= 10
            scaled, exact = finer, finer_exact
        self.noise += int(np.count_nonzero(~exact))
        if exact.any():
            divisor = int(np.gcd.reduce(scaled[exact].astype(np.int64)))
            self.divisor = int(np.gcd(self.divisor, divisor))

    def text(self, *, decimal: bool = False) -> str | None:
        """Return the increment as a decimal string, or None if nothing was seen.

        Args:
            decimal: a power of ten, also where all values have a larger divisor.
        """
        if self.divisor == 0:
            return None
        unit = Decimal(1).scaleb(-self.decimals)
        step = _usual(self.divisor) if self.steps >= TRUSTED_STEPS and not decimal else 1
        return format((unit * step).normalize(), "f")


@dataclass
class Grid:
    """What is learnt of one instrument's grid.

    The lot comes from trades and quotes; from resting levels only if there are none (old ones keep
    the lot of years ago), and from bars only as a power of ten (volumes are sums).
    """

    price: Increment = field(default_factory=Increment)
    size: Increment = field(default_factory=lambda: Increment(max_decimals=MAX_SIZE_DECIMALS))
    level: Increment = field(default_factory=lambda: Increment(max_decimals=MAX_SIZE_DECIMALS))
    volume: Increment = field(default_factory=lambda: Increment(max_decimals=MAX_SIZE_DECIMALS))
    trades: int = 0
    smallest_notional: float = float("inf")

    def add_trades(self, prices: np.ndarray, sizes: np.ndarray) -> None:
        """Take in market trades."""
        sized = sizes > 0
        self.trades += int(np.count_nonzero(sized))
        if sized.any():
            least = float((prices[sized] * sizes[sized]).min())
            self.smallest_notional = min(self.smallest_notional, least)

    def tick(self) -> str:
        """Return the tick; 0.01 where no price was seen."""
        return self.price.text() or "0.01"

    def lot(self) -> tuple[str, bool]:
        """Return (lot, whether sizes were seen).

        Without sizes the lot is the power of ten that is worth at most 0.01 in quote currency.
        """
        text = self.size.text() or self.level.text() or self.volume.text(decimal=True)
        if text is not None:
            return text, True
        worth = max(self.price.largest, 1e-9)
        exponent = int(np.floor(np.log10(0.01 / worth)))
        return format(Decimal(1).scaleb(max(min(exponent, 0), -8)), "f"), False

    def min_notional(self) -> str:
        """Return the smallest notional traded, down to one digit; 0 below 1,000 trades."""
        if self.trades < TRUSTED_TRADES:
            return "0"
        exponent = int(np.floor(np.log10(self.smallest_notional)))
        digit = int(self.smallest_notional / 10.0**exponent * (1 + 1e-12))
        return format((Decimal(max(digit, 1)).scaleb(exponent)).normalize(), "f")


def _scaled(values: np.ndarray, decimals: int) -> tuple[np.ndarray, np.ndarray]:
    """Return (values in units of 10^-decimals, whether that is their exact shortest form)."""
    power = 10.0**decimals
    scaled = np.rint(values * power)
    return scaled, (scaled / power == values) & (scaled < MAX_DIGITS)


def _any_finer(values: np.ndarray, decimals: int, most: int) -> bool:
    """Say whether some value is exact with more decimals than these, but no more than `most`."""
    return any(_scaled(values, d)[1].any() for d in range(decimals + 1, most + 1))


def _usual(divisor: int) -> int:
    """Return the largest of 1, 2, 5, 25, 10, ... that divides a number and venues use as a step."""
    step = 1
    for candidate in (1, 2, 5, 25):
        power = candidate
        while power <= divisor:
            if divisor % power == 0:
                step = max(step, power)
            power *= 10
    return step


def checked_increment(name: str, text: str | None, *, zero: bool = False) -> str | None:
    """Return an increment that a person gave, as a plain decimal.

    Raises:
        UsageError: not a positive decimal number (or 0, where that is allowed).
    Example:
        >>> checked_increment("--tick", "5e-1"), checked_increment("--tick", None)
        ('0.5', None)
    """
    if text is None:
        return None
    try:
        value = Decimal(text)
    except InvalidOperation:
        value = Decimal("NaN")
    if not value.is_finite() or value < 0 or (value == 0 and not zero) or value > 10**12:
        allowed = "a decimal number, 0 or above" if zero else "a decimal number above 0"
        raise UsageError(f"{name} {text}: allowed is {allowed}")
    return format(value.normalize(), "f")
