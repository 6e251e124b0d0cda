"""Reads a cadence: when a model is asked."""

import re

from engine.errors import ConfigError
from engine.kernel.layout import Cadence
from engine.rows import NS_PER_S

_UNITS_NS = {
    "ms": 1_000_000,
    "s": NS_PER_S,
    "m": 60 * NS_PER_S,
    "h": 3600 * NS_PER_S,
    "d": 86400 * NS_PER_S,
}
_SPAN = re.compile(r"^([0-9]+)(ms|s|m|h|d)$")
_SIMPLE = {"quote": Cadence.QUOTE, "trade": Cadence.TRADE, "members": Cadence.MEMBERS}


def parse_cadence(text: str, bar_interval_ns: int) -> tuple[Cadence, int]:
    """Return a cadence and its number (ns or events).

    >>> parse_cadence("every:250ms", 60 * NS_PER_S)
    (<Cadence.EVERY_NS: 3>, 250000000)

    Raises:
        ConfigError: no such cadence, or a bar interval that is not the engine's.
    """
    word, _, rest = text.partition(":")
    if word in _SIMPLE and not rest:
        return _SIMPLE[word], 0
    if word == "every_n" and rest.isdigit() and int(rest) > 0:
        return Cadence.EVERY_N, int(rest)
    found = _SPAN.match(rest)
    if found and int(found[1]) > 0:
        span = int(found[1]) * _UNITS_NS[found[2]]
        if word == "every":
            return Cadence.EVERY_NS, span
        if word == "bar" and span == bar_interval_ns:
            return Cadence.BAR, span
        if word == "bar":
            raise ConfigError(
                f"cadence {text!r}: the engine's bars are {bar_interval_ns // NS_PER_S} s "
                f"(engine.bar_interval_s)"
            )
    raise ConfigError(
        f"cadence {text!r}: must be quote, trade, bar:1m, every:250ms or every_n:50 in form"
    )
