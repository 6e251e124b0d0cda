"""Strategies by name: one file each, found by importing the folder."""

import difflib
import importlib
import pkgutil
from collections.abc import Callable, Mapping
from typing import Any

import strategies
from engine.errors import ConfigError
from engine.ports import Strategy

Params = Mapping[str, float | int | str | bool]
_FOUND: dict[str, type] = {}


def strategy(name: str) -> Callable[[type], type]:
    """Register a strategy class under a name; it is built with its parameters as keywords."""

    def register(found: type) -> type:
        assert name not in _FOUND, f"two strategies are called {name}"
        found.name = name  # type: ignore[attr-defined]
        _FOUND[name] = found
        return found

    return register


def strategy_names() -> tuple[str, ...]:
    """Return the names of all strategies, sorted."""
    for module in sorted(pkgutil.iter_modules(strategies.__path__), key=lambda m: m.name):
        if module.name != "registry":
            importlib.import_module(f"strategies.{module.name}")
    return tuple(sorted(_FOUND))


def build_strategy(name: str, params: Params) -> Strategy:
    """Build a strategy from its settings.

    Raises:
        ConfigError: no such strategy, or a parameter it does not know or cannot take.
    """
    names = strategy_names()
    if name not in names:
        near = difflib.get_close_matches(name, names, 1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise ConfigError(f"strategies: no strategy {name!r}, there are {', '.join(names)}{hint}")
    made = _FOUND[name]
    allowed: Mapping[str, Any] = made.PARAMS  # type: ignore[attr-defined]
    for key, value in params.items():
        if key not in allowed:
            near = difflib.get_close_matches(key, list(allowed), 1)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise ConfigError(
                f"strategies.{name}.params.{key}: unknown, allowed are {', '.join(allowed)}{hint}"
            )
        wanted = type(allowed[key])
        numeric = wanted is float and type(value) in (int, float)
        if not numeric and type(value) is not wanted:
            raise ConfigError(
                f"strategies.{name}.params.{key}: {value!r} must be {wanted.__name__}"
            )
    result: Strategy = made(**{**allowed, **params})
    return result
