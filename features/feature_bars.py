"""The bars that features are computed on: the run's base bars, or others that the spec names."""

from collections.abc import Collection, Iterable, Mapping

from engine.bar_kinds import BarKind, parse_bar, several
from engine.errors import ConfigError
from features.spec import BAR, FeatureSpec, Value

BARS_OF = "bars of "  # before a bar's name, in the kinds of warm-ups


def bar_of(feature: str, bar: Value, inputs: Collection[str]) -> str:
    """Check the bar that a spec names for a feature.

    Args:
        feature: its name, for messages.
        bar: as the spec says it, "" for the base bar.
        inputs: what the feature needs.
    Raises:
        ConfigError: it is no bar, or none that the feature can be computed on.
    """
    if bar == "":
        return ""
    try:
        found = parse_bar(str(bar))
    except ValueError as error:
        raise ConfigError(f"feature {feature!r}: {error}") from None
    if "bars" not in inputs:
        raise ConfigError(f"feature {feature!r} is not computed on bars: it takes no {BAR!r}")
    if "peer_bars" in inputs and found.kind != BarKind.TIME:
        raise ConfigError(f"feature {feature!r}: bars are paired by time, {bar!r} is none of these")
    return found.name


def inputs_on(bar: str, inputs: tuple[str, ...]) -> tuple[str, ...]:
    """Return what a feature needs when it is computed on this bar: bars by count need trades.

    >>> inputs_on("ticks:50", ("bars",)), inputs_on("5m", ("bars",))
    (('trades',), ('bars',))
    """
    if not bar or parse_bar(bar).kind == BarKind.TIME:
        return inputs
    return (*(name for name in inputs if name not in ("bars", "trades")), "trades")


def too_fine(bar: str, row_interval_ns: int) -> bool:
    """Tell whether data of bars only, of this interval, cannot be put together to this bar."""
    return bool(bar and row_interval_ns and parse_bar(bar).size % row_interval_ns)


def bars_of(specs: Iterable[FeatureSpec], more: Iterable[str] = ()) -> tuple[str, ...]:
    """List the bars beside the base bars that these specs name, each once, in order of first use.

    Args:
        specs: of a run.
        more: names of bars that are wanted besides.
    Raises:
        ConfigError: too many.
    """
    named = [str(p[BAR]) for spec in specs for _, p in spec.features if p.get(BAR, "") != ""]
    try:
        return tuple(bar.name for bar in several((*named, *more)))
    except ValueError as error:
        raise ConfigError(str(error)) from None


def base_bars(needs: Mapping[str, int], interval_ns: int) -> int:
    """Return how many base bars warm up what `registry.warmup_of` says, other bars made of them.

    >>> base_bars({"bars": 15, "bars of 1h": 3, "bars of ticks:50": 9}, 60_000_000_000)
    240
    """
    most = needs.get("bars", 0)
    for of, n in needs.items():
        if of.startswith(BARS_OF):
            bar = parse_bar(of.removeprefix(BARS_OF))
            if bar.kind == BarKind.TIME and bar.size % interval_ns == 0:
                most = max(most, (n + 1) * (bar.size // interval_ns))  # the first may be cut off
    return most
