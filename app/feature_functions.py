"""What bias is looked for in: a set, a model's answers, or somebody's own function.

A function of one's own reads whole columns, as in a notebook: it gets a dict of arrays of n rows
and returns a dict (or a table) of columns with n values each.
"""

import importlib.util
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from app.feature_bias import Compute, Table
from app.feature_checks import compute_table
from app.feature_paths import Stretch
from app.kernel import load_kernel
from engine.errors import UsageError
from engine.rows import Kind
from features.spec import FeatureSpec

COLUMNS = {
    Kind.BAR: {"open": "f0", "high": "f1", "low": "f2", "close": "f3", "volume": "f4"},
    Kind.QUOTE: {"bid": "f0", "ask": "f1", "bid_size": "f2", "ask_size": "f3"},
    Kind.TRADE: {"price": "f0", "size": "f1", "side": "side"},
}


def of_set(spec: FeatureSpec, stretch: Stretch) -> Compute:
    """Return what computes a set by the kernel that trains and trades."""
    return partial(compute_table, load_kernel([spec]), spec, stretch)


def of_model(compute: Compute, ask: Callable[[np.ndarray], np.ndarray], classes: Any) -> Compute:
    """Return what computes a set and, beside it, a model's answers on whole rows."""

    def signals(rows: np.ndarray) -> Table:
        table = compute(rows)
        answers = np.full((len(table.ts), len(classes)), np.nan, np.float32)
        whole = np.isfinite(table.x).all(axis=1)
        if whole.any():
            answers[whole] = ask(table.x[whole].astype(np.float32))
        names = (*table.names, *(f"signal {name}" for name in classes))
        return table._replace(x=np.concatenate([table.x, answers], axis=1), names=names)

    return signals


def of_function(function: Callable[[dict[str, np.ndarray]], Any], kind: Kind) -> Compute:
    """Return what computes somebody's function of whole columns over the rows of one kind."""

    def compute(rows: np.ndarray) -> Table:
        at = np.flatnonzero((rows["kind"] == kind) & (rows["instrument"] == 0))
        chosen = rows[at]
        columns = {"ts_event": chosen["ts_event"].copy()}
        for name, slot in COLUMNS[kind].items():
            columns[name] = chosen[slot].astype(np.float64)
        try:
            found = function(columns)
        except Exception as error:  # somebody's code may raise anything
            text = f"{getattr(function, '__name__', 'function')} raised {type(error).__name__}"
            raise UsageError(f"{text}: {error}") from error
        names = tuple(str(name) for name in found)
        arrays = [np.asarray(found[name], np.float64) for name in found]
        for name, values in zip(names, arrays, strict=True):
            if values.shape != (len(at),):
                raise UsageError(f"column {name}: shape {values.shape}, ({len(at)},) is wanted")
        x = np.stack(arrays, axis=1) if arrays else np.zeros((len(at), 0))
        known = np.where(chosen["ts_recv"] > 0, chosen["ts_recv"], chosen["ts_event"])
        return Table(np.maximum.accumulate(known), at, x, names)

    return compute


def kind_read(stretch: Stretch) -> Kind:
    """Return which rows a function gets: bars where the data has them, else quotes, else trades."""
    has = stretch.instruments[0].has
    if "bars" in has:
        return Kind.BAR
    return Kind.QUOTE if "quotes" in has else Kind.TRADE


def load_function(text: str) -> Callable[[dict[str, np.ndarray]], Any]:
    """Import a function by FILE.py:NAME.

    Raises:
        UsageError: no such file or function, or the file cannot be imported.
    """
    file, _, name = text.rpartition(":")
    path = Path(file)
    if not file.endswith(".py") or not name or not path.is_file():
        raise UsageError(f"--function {text}: must be FILE.py:NAME of a file that is there")
    module_name = f"examined_{path.stem}"
    found = importlib.util.spec_from_file_location(module_name, path)
    assert found is not None
    assert found.loader is not None
    module = importlib.util.module_from_spec(found)
    sys.modules[module_name] = module
    try:
        found.loader.exec_module(module)
    except Exception as error:  # somebody's code may raise anything
        raise UsageError(f"--function {text}: {type(error).__name__}: {error}") from error
    function = getattr(module, name, None)
    if not callable(function):
        raise UsageError(f"--function {text}: {path.name} has no function {name}")
    return function  # type: ignore[no-any-return]


def model_of(named: str, artifacts: Path) -> tuple[FeatureSpec, Any, tuple[str, ...]]:
    """Load a registered version: its spec, what answers rows, and the names of its answers.

    Raises:
        UsageError: it is not registered. ModelRefused: it cannot be loaded.
    """
    from ml.loading import model_of as asked_of
    from ml.registry import entries, load_any

    entry = next((one for one in entries(artifacts) if one.name == named), None)
    if entry is None:
        known = ", ".join(one.name for one in entries(artifacts))
        raise UsageError(f"--model {named}: not registered; known are {known}")
    loaded = load_any(artifacts, entry)
    classes = tuple(entry.output_schema.classes)
    return loaded.spec, asked_of(loaded).run_rows, classes
