"""The catalogue of features: registration, look-up by name, and what a spec needs to run.

A feature file calls `feature(...)` once for each feature or family that it defines. A family has
whole numbers in its name (`rsi_{span}`); a spec names a member (`rsi_14`). Modules of this folder
are imported in sorted order on the first look-up; other folders may register more before that.
"""

import difflib
import importlib
import pkgutil
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

import features
from engine.errors import ConfigError
from features.feature_bars import BARS_OF, bar_of, inputs_on, too_fine
from features.spec import BAR, FeatureSpec, Params, Value, check_unique, column_name
from features.step import STATELESS

INPUTS = ("bars", "quotes", "quote_sizes", "trades", "trade_sides", "depth", "levels", "peer_bars")
# Of a run, no data set has them. With own_state, `value(s, m, o)`: o as in engine/own_state.py.
OWN_INPUTS = ("own_state", "own_signal", "own_classifier")
EVENTS = ("on_quote", "on_trade", "on_bar", "on_peer_bar", "on_depth")
OTHER = "other"
GROUPS = (
    *("price and trend", "momentum", "volatility", "volume and flow", "book", "time"),
    *("cross-instrument", "own state", OTHER),
)
MAX_NAME_NUMBER = 10_000  # upper bound of a number in a name: it sizes rings
_NOT_FEATURES = frozenset(
    {
        "registry",
        "spec",
        "fuse",
        "feed",
        "feed_module",
        "batch",
        "calculator",
        "identity",
        "catalogue",
        "examples",
        "own_record",
        "feature_bars",
        "fuse_bars",
        "windows",
    }
)

Kernel = Callable[..., Any]


class Warmup(NamedTuple):
    """How much of what must be seen before the value is finite.

    `of` is bars, quotes, trades, depth (events of that kind), or seconds or milliseconds (of kernel
    time since the first event of the feature's kind).
    """

    n: int
    of: str


def bars(count: int) -> Warmup:
    """Return the warm-up of a feature on bars."""
    return Warmup(count, "bars")


def quotes(count: int) -> Warmup:
    """Return the warm-up of a feature on touch updates."""
    return Warmup(count, "quotes")


def seconds(count: int) -> Warmup:
    """Return the warm-up of a feature on a window of kernel time."""
    return Warmup(count, "seconds")


def milliseconds(count: int) -> Warmup:
    """Return the warm-up of a feature on a window of less than seconds."""
    return Warmup(count, "milliseconds")


class FeatureWords(NamedTuple):
    """What the catalogue says of a feature; `doc` is its file's docstring."""

    unit: str
    range: str
    source: str
    doc: str
    group: str


@dataclass(frozen=True, kw_only=True)
class Feature:
    """One registered feature or family. See `feature` for the meaning of the fields."""

    name: str
    state: np.dtype[Any] | Callable[[Mapping[str, int | float]], np.dtype[Any]]
    init: Kernel
    value: Kernel
    steps: Mapping[str, Kernel]  # event name -> kernel
    defaults: Mapping[str, Value]
    choices: Mapping[str, tuple[str, ...]]
    bounds: Mapping[str, tuple[float, float]]
    check: Callable[[Mapping[str, int | float]], str]
    warmup: Callable[[Mapping[str, int | float]], Warmup]
    inputs: Callable[[Mapping[str, int | float]], tuple[str, ...]]
    words: FeatureWords
    module: str
    numbers: tuple[str, ...]  # parameters that stand in the name

    def match(self, name: str) -> dict[str, int] | None:
        """Return the numbers in a member's name, or None when the name is no member."""
        pattern = re.sub(r"\\\{(\w+)\\\}", r"(?P<\1>[1-9][0-9]*)", re.escape(self.name))
        found = re.fullmatch(pattern, name)
        return None if found is None else {k: int(v) for k, v in found.groupdict().items()}


@dataclass(frozen=True, kw_only=True)
class Resolved:
    """One concrete feature of a spec: parameters complete, words replaced by their numbers."""

    name: str  # of the column
    feature: Feature
    params: Mapping[str, int | float]  # in the order of init's arguments
    bar: str = ""  # name of the bar it is computed on; empty: the run's base bar

    @property
    def state(self) -> np.dtype[Any]:
        """Layout of its state record, aligned."""
        state = self.feature.state
        return state if isinstance(state, np.dtype) else state(self.params)

    @property
    def inputs(self) -> tuple[str, ...]:
        """Inputs it cannot do without, of INPUTS."""
        return inputs_on(self.bar, self.feature.inputs(self.params))

    @property
    def is_own(self) -> bool:
        """Whether its value reads the engine's own state: `value(s, m, o)`."""
        return "own_state" in self.inputs

    @property
    def warmup(self) -> Warmup:
        """What it must have seen before its value is finite."""
        n, of = self.feature.warmup(self.params)
        return Warmup(n, BARS_OF + self.bar if self.bar and of == "bars" else of)


_CATALOGUE: dict[str, Feature] = {}
_imported = False


def feature(
    name: str,
    *,
    value: Kernel,
    init: Kernel | None = None,
    state: np.dtype[Any] | Callable[[Mapping[str, int | float]], np.dtype[Any]] | None = None,
    on_quote: Kernel | None = None,
    on_trade: Kernel | None = None,
    on_bar: Kernel | None = None,
    on_peer_bar: Kernel | None = None,
    on_depth: Kernel | None = None,
    defaults: Mapping[str, Value] | None = None,
    choices: Mapping[str, tuple[str, ...]] | None = None,
    bounds: Mapping[str, tuple[float, float]] | None = None,
    check: Callable[[Mapping[str, int | float]], str] | None = None,
    warmup: Warmup | Callable[[Mapping[str, int | float]], Warmup],
    inputs: Sequence[str] | Callable[[Mapping[str, int | float]], tuple[str, ...]] = (),
    unit: str,
    range: str,
    source: str,
    group: str = OTHER,
) -> None:
    """Register a feature; the file's docstring holds its formula.

    Args:
        name: `rsi_{span}`; braces hold whole numbers >= 1 that stand in a member's name.
        value: `value(s, m) -> float64`, called when a row is wanted. NaN until warm, pure.
        init: `init(s, <params in the order of defaults>)`; sets every field that is read before it
            is written, whatever the record held before. None for features without state.
        state: aligned dtype, or a function of the parameters that returns one.
        on_quote, on_trade, on_bar, on_depth, on_peer_bar (a bar of the paired instrument):
            `on_x(s, m)`, called when MARKET `m` is up to date with the event. Allocates nothing.
        defaults: every parameter with its default. Its type is the parameter's type; a word among
            `choices` reaches the kernels as its index there.
        bounds, check: lowest and highest of numbers; what is wrong with all together, or "".
        warmup, inputs: see Warmup, INPUTS, OWN_INPUTS; may depend on the parameters.
        unit, range, source, group: words for the catalogue; group is one of GROUPS.
    Raises:
        ValueError: a part is missing or the name is taken, at import.
    """
    kernels = (on_quote, on_trade, on_bar, on_peer_bar, on_depth)
    numbers = tuple(re.findall(r"\{(\w+)\}", name))
    entry = Feature(
        name=name, value=value, state=STATELESS if state is None else state,
        init=value if init is None else init,
        steps={event: kernel for event, kernel in zip(EVENTS, kernels) if kernel is not None},
        defaults=dict(defaults or {}),
        choices=dict(choices or {}),
        bounds={**dict.fromkeys(numbers, (1, MAX_NAME_NUMBER)), **(bounds or {})},
        check=check if check is not None else _constant(""),
        warmup=warmup if not isinstance(warmup, Warmup) else _constant(warmup),
        inputs=inputs if callable(inputs) else _constant(tuple(inputs)),
        words=FeatureWords(unit, range, source, _doc(value), group),
        module=value.__module__,
        numbers=numbers,
    )  # fmt: skip
    _check_entry(entry, (state is None) == (init is None))
    _CATALOGUE[name] = entry


def _check_entry(entry: Feature, whole: bool) -> None:
    """Refuse a registration that is not whole; see `feature`."""
    name = entry.name
    if name in _CATALOGUE:
        raise ValueError(f"feature {name!r} is registered twice")
    if not whole:
        raise ValueError(f"feature {name!r}: state and init go together")
    if not set(entry.numbers) <= set(entry.defaults):
        raise ValueError(f"feature {name!r}: defaults lack one of {entry.numbers}")
    if not all(entry.words):
        raise ValueError(f"feature {name!r}: doc, unit, range and source must be given")
    if entry.words.group not in GROUPS:
        raise ValueError(f"feature {name!r}: group {entry.words.group!r} is none of {GROUPS}")
    for key, words in entry.choices.items():
        if entry.defaults.get(key) not in words:
            raise ValueError(f"feature {name!r}: default of {key} is none of {words}")


def _doc(value: Kernel) -> str:
    return importlib.import_module(value.__module__).__doc__ or ""


def _constant(x: Any) -> Callable[[Mapping[str, int | float]], Any]:
    return lambda params: x


def catalogue() -> tuple[Feature, ...]:
    """Return every registered feature, sorted by name."""
    global _imported
    if not _imported:
        for name in sorted(info.name for info in pkgutil.iter_modules(features.__path__)):
            if name not in _NOT_FEATURES:
                importlib.import_module(f"features.{name}")
        _imported = True
    return tuple(_CATALOGUE[name] for name in sorted(_CATALOGUE))


def lookup(name: str) -> tuple[Feature, dict[str, int]]:
    """Find the feature that a name means, with the numbers in the name.

    Raises:
        ConfigError: no feature has this name; the message names the nearest ones.
    """
    known = catalogue()
    for entry in known:
        if not entry.numbers and entry.name == name:
            return entry, {}
    for entry in known:
        numbers = entry.match(name)
        if numbers is not None:
            return entry, numbers
    shown = {entry.name.format(**entry.defaults): entry.name for entry in known}
    near = difflib.get_close_matches(name, list(shown), n=3, cutoff=0.5)
    hint = f"; nearest: {', '.join(shown[member] for member in near)}" if near else ""
    raise ConfigError(f"unknown feature {name!r}{hint}; docs/features.md lists all")


def resolve_one(name: str, params: Params | None = None) -> Resolved:
    """Resolve one entry of a spec.

    Raises:
        ConfigError: unknown feature or parameter, or a value of the wrong type or out of range.
    Example:
        >>> r = resolve_one("rsi_14")
        >>> r.params, r.inputs, r.warmup
        ({'span': 14}, ('bars',), Warmup(n=15, of='bars'))
    """
    entry, numbers = lookup(name)
    given = dict(params or {})
    column = column_name(name, given)
    named = given.pop(BAR, "")
    free = [key for key in entry.defaults if key not in entry.numbers]
    for key in given:
        if key in entry.numbers:
            raise ConfigError(f"feature {name!r}: {key} stands in the name, not in params")
        if key not in free:
            allowed = ", ".join(free) or "none"
            raise ConfigError(f"feature {name!r}: unknown parameter {key!r}; known: {allowed}")
    merged = {**entry.defaults, **numbers, **given}
    values = {key: _checked(entry, name, key, value) for key, value in merged.items()}
    wrong = entry.check(values)
    if wrong:
        raise ConfigError(f"feature {name!r}: {wrong}")
    bar = bar_of(name, named, entry.inputs(values))
    return Resolved(name=column, feature=entry, params=values, bar=bar)


def _checked(entry: Feature, name: str, key: str, value: Value) -> int | float:
    where = f"feature {name!r}: {key} is {value!r}"
    if key in entry.choices:
        if value not in entry.choices[key]:
            raise ConfigError(f"{where}; allowed: {', '.join(entry.choices[key])}")
        return entry.choices[key].index(str(value))
    default = entry.defaults[key]
    if isinstance(value, (str, bool)):
        raise ConfigError(f"{where}; a number is wanted")
    if isinstance(default, int) and not isinstance(value, int):
        raise ConfigError(f"{where}; a whole number is wanted")
    low, high = entry.bounds.get(key, (-np.inf, np.inf))
    if not low <= value <= high:
        raise ConfigError(f"{where}; allowed: {low} to {high}")
    return value if isinstance(default, int) else float(value)


def resolve(spec: FeatureSpec) -> tuple[Resolved, ...]:
    """Resolve a spec, in its order.

    Raises:
        ConfigError: see resolve_one; also a feature named twice.
    """
    check_unique(spec)
    return tuple(resolve_one(name, params) for name, params in spec.features)


def required_inputs(spec: FeatureSpec) -> frozenset[str]:
    """Return what the data must hold of the instrument itself: bars, quotes, ..., depth."""
    found = {name for entry in resolve(spec) for name in entry.inputs}
    found -= {"peer_bars", *OWN_INPUTS}
    return frozenset("depth" if name == "levels" else name for name in found)


def absent_features(
    spec: FeatureSpec, has: Iterable[str], row_interval_ns: int = 0
) -> dict[str, tuple[str, ...]]:
    """Name the features whose inputs the data lacks, and the inputs.

    Depth implies quotes with sizes; bars can be built from trades or from quotes. Bars that the
    data itself holds are used as they are, and these do not say who the aggressor was.

    Args:
        spec: the model's spec.
        has: what the data holds, as in `Instrument.has`, peer_bars where the instrument is paired
            with another one whose bars are there, and OWN_INPUTS as far as a run gives them.
        row_interval_ns: of the bars that the data holds, 0 where it holds none.
    Returns:
        Feature name -> missing inputs, in the order of the spec; empty when all are there.
    """
    given = set(has)
    there = set(given)
    if "depth" in there:
        there |= {"quotes", "quote_sizes", "levels"}
    if there & {"trades", "quotes"}:
        there.add("bars")
    absent = {}
    for entry in resolve(spec):
        missing = tuple(name for name in entry.inputs if name not in there)
        if "bars" in given and "bars" in entry.inputs and "trade_sides" in entry.inputs:
            missing = (*(name for name in missing if name != "trade_sides"), "trade_sides")
        if "bars" in given and "bars" in entry.inputs and too_fine(entry.bar, row_interval_ns):
            missing = (*missing, BARS_OF + entry.bar)
        if missing:
            absent[entry.name] = missing
    return absent


def reads_levels(specs: Iterable[FeatureSpec]) -> int:
    """Tell whether features read the gathered levels of the book: 1 in `value`, 2 in steps too."""
    found = [entry for spec in specs for entry in resolve(spec) if "levels" in entry.inputs]
    return 2 if any("on_depth" in entry.feature.steps for entry in found) else int(bool(found))


def reads_peer(specs: Iterable[FeatureSpec]) -> bool:
    """Tell whether a feature of these specs reads the instrument that its own is paired with."""
    return any("peer_bars" in entry.inputs for spec in specs for entry in resolve(spec))


def own_features(spec: FeatureSpec) -> tuple[str, ...]:
    """Name the features of a spec that read the engine's own state, in its order."""
    return tuple(entry.name for entry in resolve(spec) if entry.is_own)


def warmup_of(spec: FeatureSpec) -> dict[str, int]:
    """Return the longest warm-up of a spec by kind: bars, bars of 5m, quotes, trades, seconds."""
    longest: dict[str, int] = {}
    for entry in resolve(spec):
        n, of = entry.warmup
        longest[of] = max(n, longest.get(of, 0))
    return longest
