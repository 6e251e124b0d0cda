"""All independent versions of features, by name: what every file of this folder lists.

A file here states formulas a second time, on whole columns, and shares no code with features/. It
lists them in a dict: ON_BARS (`f(bars, params)`, see bars.py), ON_TICKS (`f(columns, params)`, see
ticks.py) or ON_LEVELS (`f(book, params)`, see levels.py); `params` are the feature's parameters,
words as words; the result is float64, one value for each row, NaN until warm.
"""

import importlib
import pkgutil
from collections.abc import Callable
from typing import Any

import references

Version = Callable[[Any, dict[str, Any]], Any]


def on_bars() -> dict[str, Version]:
    """Return those that read bars."""
    return _listed("ON_BARS")


def on_ticks() -> dict[str, Version]:
    """Return those that read quotes and trades."""
    return _listed("ON_TICKS")


def on_levels() -> dict[str, Version]:
    """Return those that read the levels of a book."""
    return _listed("ON_LEVELS")


def _listed(table: str) -> dict[str, Version]:
    found: dict[str, Version] = {}
    for name in sorted(info.name for info in pkgutil.iter_modules(references.__path__)):
        if name != "registry":
            for feature, version in getattr(
                importlib.import_module(f"references.{name}"), table, {}
            ).items():
                assert feature not in found, f"{feature} has two independent versions"
                found[feature] = version
    return found
