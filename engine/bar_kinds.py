"""What a bar may be: a span of time, or a count of trades, base units or quote units; its name.

Names: `1s` `5m` `4h` `1d`; `ticks:500` (trades), `volume:25` (base units), `dollar:250000` (quote
units).
"""

import re
from decimal import Decimal
from enum import IntEnum

import msgspec

from engine.limits import MAX_BARS
from engine.rows import NS_PER_S

DAY_S = 86_400
UNITS_S = {"d": DAY_S, "h": 3600, "m": 60, "s": 1}  # the largest that divides names a span
PARTS = 100_000_000  # of a base or quote unit: what sizes of bars by count are kept in
MAX_SIZE = 10_000_000_000  # units of a bar by count
_TIME = re.compile(r"([1-9][0-9]{0,4})([smhd])")
_COUNT = re.compile(r"(ticks|volume|dollar):([0-9]{1,11}(?:\.[0-9]{1,8})?)")
_WORDS = ("ticks", "volume", "dollar")
FORMS = "5m (s, m, h or d), ticks:500, volume:25 or dollar:250000"


class BarKind(IntEnum):
    """What closes a bar."""

    TIME = 0
    TICKS = 1
    VOLUME = 2
    DOLLAR = 3


class Bar(msgspec.Struct, frozen=True):
    """A kind of bar and its size.

    Attributes:
        name: the one way to write it.
        kind: what closes it.
        size: ns, or trades, or 1e-8 of a base or quote unit.
    """

    name: str
    kind: BarKind
    size: int


def parse_bar(name: str) -> Bar:
    """Read a bar's name.

    Raises:
        ValueError: it is none, out of range, or has a shorter form; the text says what is allowed.
    Example:
        >>> parse_bar("5m").size, parse_bar("ticks:500").size, parse_bar("volume:0.5").size
        (300000000000, 500, 50000000)
        >>> parse_bar("60s")
        Traceback (most recent call last):
        ...
        ValueError: bar '60s' is written 1m
    """
    if found := _TIME.fullmatch(name):
        return _time_bar(name, int(found[1]) * UNITS_S[found[2]])
    found = _COUNT.fullmatch(name)
    if not found:
        raise ValueError(f"bar {name!r}: must be {FORMS} in form")
    word, number = found[1], Decimal(found[2])
    size = number if word == "ticks" else number * PARTS
    if size != int(size):
        raise ValueError(f"bar {name!r}: trades are counted in whole numbers")
    if not 0 < number <= MAX_SIZE:
        raise ValueError(f"bar {name!r}: its size must be above 0 and at most {MAX_SIZE}")
    plain = f"{word}:{number.normalize():f}"
    if plain != name:
        raise ValueError(f"bar {name!r} is written {plain}")
    return Bar(name, BarKind(1 + _WORDS.index(word)), int(size))


def _time_bar(name: str, seconds: int) -> Bar:
    if DAY_S % seconds:
        raise ValueError(f"bar {name!r}: its span must divide a day (1 s to 1 d)")
    plain = time_bar_name(seconds)
    if plain != name:
        raise ValueError(f"bar {name!r} is written {plain}")
    return Bar(name, BarKind.TIME, seconds * NS_PER_S)


def time_bar_name(seconds: int) -> str:
    """Return the name of a bar of so many seconds.

    >>> time_bar_name(60), time_bar_name(86400), time_bar_name(90)
    ('1m', '1d', '90s')
    """
    unit = next(word for word, size in UNITS_S.items() if seconds % size == 0)
    return f"{seconds // UNITS_S[unit]}{unit}"


def several(names: tuple[str, ...]) -> tuple[Bar, ...]:
    """Read the names of a run's further bars, each once.

    Raises:
        ValueError: see parse_bar; also more than MAX_BARS.
    """
    found = tuple(parse_bar(name) for name in dict.fromkeys(names))
    if len(found) > MAX_BARS:
        raise ValueError(f"{len(found)} bars beside the base bars are named, {MAX_BARS} can be")
    return found
