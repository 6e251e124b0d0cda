"""When a model is asked, from the words of the config to the kernel's numbers."""

import re
from collections.abc import Sequence

from engine.bar_kinds import parse_bar
from engine.errors import ConfigError
from engine.kernel.layout import Cadence
from engine.rows import NS_PER_S

_UNITS_NS = {"ms": 1_000_000, "s": NS_PER_S}
_SPAN = re.compile(r"^([0-9]+)(ms|s)$")
_SIMPLE = {"quote": Cadence.QUOTE, "trade": Cadence.TRADE, "members": Cadence.MEMBERS}


def parse_cadence(text: str, bar_interval_ns: int, bars: Sequence[str] = ()) -> tuple[Cadence, int]:
    """Return a cadence and its number (ns, events, or a bar's place among `bars`).

    Args:
        text: as in the config.
        bar_interval_ns: of the base bars.
        bars: names of those beside them.
    Raises:
        ConfigError: no such cadence, or no such bar.
    Example:
        >>> parse_cadence("every:250ms", 60 * NS_PER_S)
        (<Cadence.EVERY_NS: 3>, 250000000)
        >>> parse_cadence("bar:ticks:500", 60 * NS_PER_S, ("5m", "ticks:500"))
        (<Cadence.SERIES: 6>, 1)
    """
    word, _, rest = text.partition(":")
    if word in _SIMPLE and not rest:
        return _SIMPLE[word], 0
    if word == "every_n" and rest.isdigit() and int(rest) > 0:
        return Cadence.EVERY_N, int(rest)
    found = _SPAN.match(rest)
    if word == "every" and found and int(found[1]) > 0:
        return Cadence.EVERY_NS, int(found[1]) * _UNITS_NS[found[2]]
    if name := bar_of_cadence(text):
        if name in bars:
            return Cadence.SERIES, list(bars).index(name)
        bar = parse_bar(name)
        if not bar.kind and bar.size == bar_interval_ns:
            return Cadence.BAR, bar.size
        raise ConfigError(
            f"cadence {text!r}: the engine's bars are {bar_interval_ns // NS_PER_S} s "
            f"(engine.bar_interval_s)"
        )
    raise ConfigError(
        f"cadence {text!r}: must be quote, trade, bar:1m, every:250ms or every_n:50 in form"
    )


def bar_of_cadence(text: str) -> str:
    """Return the name of the bar that a cadence waits for, "" where it waits for none.

    Raises:
        ConfigError: it names a bar that cannot be.
    """
    word, _, name = text.partition(":")
    if word != "bar":
        return ""
    try:
        return parse_bar(name).name
    except ValueError as error:
        raise ConfigError(f"cadence {text!r}: {error}") from None
