"""Reads somebody's feature matrix: Parquet or CSV, times in any usual form, numbers as float64."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from engine.errors import DataError, UsageError
from ml.column_names import SYMBOL_NAMES, TIME_NAMES

MAX_ROWS = 20_000_000
NS = {"s": 1_000_000_000, "ms": 1_000_000, "us": 1_000, "ns": 1}


@dataclass(frozen=True)
class Matrix:
    """A table of feature rows.

    Attributes:
        ts: int64[n] ns UTC.
        symbols: name of the instrument of each row; None where there is no such column.
        columns: name -> float64[n], every column of numbers but the time.
    """

    ts: np.ndarray
    symbols: np.ndarray | None
    columns: dict[str, np.ndarray]

    def only(self, chosen: np.ndarray) -> "Matrix":
        """Return the chosen rows."""
        symbols = None if self.symbols is None else self.symbols[chosen]
        columns = {name: values[chosen] for name, values in self.columns.items()}
        return Matrix(self.ts[chosen], symbols, columns)


def read_matrix(path: Path, time_column: str = "") -> Matrix:
    """Read a matrix.

    Args:
        path: a Parquet or CSV(.gz) file.
        time_column: name of the column of times; empty looks for a usual one.
    Raises:
        UsageError: no such file.
        DataError: it cannot be read, has no time, or a time that cannot be understood.
    """
    table = _read(path)
    if not 1 <= table.num_rows <= MAX_ROWS:
        raise DataError(f"{path}: {table.num_rows} rows; 1 to {MAX_ROWS} are compared")
    names = [str(name) for name in table.column_names]
    if doubled := sorted({name for name in names if names.count(name) > 1}):
        raise DataError(f"{path}: column {doubled[0]!r} stands twice")
    timed = time_column or _first(names, TIME_NAMES) or _index_name(names)
    if timed not in names:
        wanted = f"--time {time_column}: no such column" if time_column else "no column of times"
        raise DataError(f"{path}: {wanted}; usual names are {', '.join(TIME_NAMES[:5])} (--time)")
    symbol = _first(names, SYMBOL_NAMES)
    columns = {}
    for name in names:
        if name in (timed, symbol):
            continue
        values = _numbers(table[name])
        if values is not None:
            columns[name] = values
    symbols = None if not symbol else np.asarray(table[symbol].to_pylist(), object)
    return Matrix(times_ns(table[timed], f"{path}: {timed}"), symbols, columns)


def _read(path: Path) -> Any:
    import pyarrow
    from pyarrow import csv, parquet

    if not path.is_file():
        raise UsageError(f"--matrix {path}: no such file")
    try:
        if path.suffix in (".parquet", ".pq"):
            return parquet.read_table(path)
        return csv.read_csv(path)
    except (pyarrow.ArrowException, OSError, ValueError) as error:
        raise DataError(f"{path}: cannot be read: {str(error)[:200]}") from None


def _first(names: list[str], known: tuple[str, ...]) -> str:
    lower = {name.lower(): name for name in names}
    return next((lower[name] for name in known if name in lower), "")


def _index_name(names: list[str]) -> str:
    """Return the column in which pandas keeps an index without a name."""
    return next((name for name in names if name.startswith("__index_level_") or name == ""), "")


def _numbers(column: Any) -> np.ndarray | None:
    import pyarrow

    kind = column.type
    if pyarrow.types.is_floating(kind) or pyarrow.types.is_integer(kind):
        return np.asarray(column.cast(pyarrow.float64(), safe=False).to_numpy(), np.float64)
    if pyarrow.types.is_boolean(kind):
        return np.asarray(column.to_pylist(), np.float64)
    return None


def times_ns(column: Any, shown: str) -> np.ndarray:
    """Return int64 ns of timestamps, ISO texts, or whole numbers of s, ms, us or ns.

    Raises:
        DataError: something else, or a time that is missing.
    """
    import pyarrow

    kind = column.type
    if column.null_count:
        raise DataError(f"{shown}: {column.null_count} times are missing")
    try:
        if pyarrow.types.is_string(kind) or pyarrow.types.is_large_string(kind):
            column = column.cast(pyarrow.timestamp("ns"))
        if pyarrow.types.is_date(kind):
            column = column.cast(pyarrow.timestamp("ns"))
        if pyarrow.types.is_timestamp(column.type):
            ns = column.cast(pyarrow.timestamp("ns", tz=column.type.tz))
            return np.asarray(ns.cast(pyarrow.int64()).to_numpy(), np.int64)
    except pyarrow.ArrowException as error:
        raise DataError(f"{shown}: no time: {str(error)[:120]}") from None
    if not (pyarrow.types.is_integer(kind) or pyarrow.types.is_floating(kind)):
        raise DataError(f"{shown}: is of type {kind}, no time")
    numbers = np.asarray(column.to_numpy(), np.float64)
    size = float(np.abs(numbers).max())
    unit = next(unit for unit, top in (("s", 1e11), ("ms", 1e14), ("us", 1e17), ("ns", np.inf))
                if size < top)  # fmt: skip
    if pyarrow.types.is_integer(kind):
        return np.asarray(column.to_numpy(), np.int64) * NS[unit]
    return np.round(numbers * NS[unit]).astype(np.int64)
