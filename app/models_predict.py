"""`lab.py models predict`: ask a registered version for rows given by hand."""

import argparse
import csv
import io
import math
import sys
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from engine.errors import DataError, UsageError
from ml.loading import model_of
from ml.manifest import Entry, name_difference
from ml.model_interface import Trust
from ml.outputs import advise
from ml.registry import load_any

MAX_BYTES = 16 << 20
MAX_ROWS = 10_000


def main(args: argparse.Namespace, entry: Entry, trust: Trust) -> list[dict[str, Any]]:
    """Answer every row.

    Returns:
        One object a row, or a window of rows that follow each other: action, reason, confidence,
        and the answers by name (null: no number).
    Raises:
        UsageError, DataError: the rows cannot be read.
        ModelRefused: the model cannot be loaded, or is asked for other columns than it reads.
    """
    loaded = load_any(args.artifacts, entry)
    rows = windows_of(read_rows(args.row, loaded.spec.names), loaded.sequence_length)
    answers = model_of(loaded, trust).run_rows(rows)
    schema = entry.output_schema
    least = entry.thresholds.get("min_confidence", 0.0)
    found = []
    for answer in answers:
        advice = advise(schema, answer, least)
        found.append(
            {
                "action": advice.action.name,
                "reason": advice.reason.name,
                "confidence": round(advice.confidence, 6),
                "position": None if math.isnan(advice.position) else advice.position,
                "answers": {
                    name: float(value) if np.isfinite(value) else None
                    for name, value in zip(schema.classes, answer, strict=True)
                },
            }
        )
    return found


def windows_of(rows: np.ndarray, steps: int) -> np.ndarray:
    """Return what a model reads at once: each row, or each window of `steps` rows.

    Raises:
        DataError: fewer rows than one window.
    """
    if not steps:
        return rows
    if len(rows) < steps:
        raise DataError(f"{len(rows)} rows; the model reads windows of {steps}")
    views = np.lib.stride_tricks.sliding_window_view(rows, steps, axis=0)
    return np.ascontiguousarray(views.swapaxes(1, 2))


def read_rows(source: str, names: tuple[str, ...]) -> np.ndarray:
    """Read rows of named features.

    Args:
        source: a file, or `-` for standard input.
        names: the model's features in order.
    Returns:
        float32[n, F]; NaN where the row says null, NaN or nothing.
    Raises:
        UsageError: no such file. DataError: no rows, other names, or values that are no numbers.
    """
    if source == "-":
        data = sys.stdin.buffer.read(MAX_BYTES + 1)
    else:
        try:
            with Path(source).open("rb") as file:
                data = file.read(MAX_BYTES + 1)
        except OSError as error:
            raise UsageError(f"--row {source}: {error.strerror}") from None
    shown = "standard input" if source == "-" else source
    if len(data) > MAX_BYTES:
        raise DataError(f"{shown}: more than {MAX_BYTES} bytes")
    rows = _objects(data, shown)
    if not 1 <= len(rows) <= MAX_ROWS:
        raise DataError(f"{shown}: {len(rows)} rows; 1 to {MAX_ROWS} are answered")
    return np.array([_values(row, names, f"{shown}: row {k}") for k, row in enumerate(rows)],
                    np.float32)  # fmt: skip


def _objects(data: bytes, shown: str) -> list[Any]:
    text = data.decode("utf-8", "replace").strip()
    if text.startswith(("{", "[")):
        try:
            found = msgspec.json.decode(text)
        except (msgspec.MsgspecError, RecursionError) as error:
            raise DataError(f"{shown}: {str(error)[:200]}") from None
        one = isinstance(found, dict) or (found and not isinstance(found[0], dict | list))
        return [found] if one else found
    return list(csv.DictReader(io.StringIO(text)))


def _values(row: Any, names: tuple[str, ...], shown: str) -> list[float]:
    if isinstance(row, list):
        if len(row) != len(names):
            raise DataError(f"{shown}: {len(row)} numbers, the model reads {len(names)}")
        values = row
    elif isinstance(row, dict):
        if difference := name_difference(sorted(names), sorted(str(name) for name in row)):
            raise DataError(f"{shown}: {difference}")
        values = [row[name] for name in names]
    else:
        raise DataError(f"{shown}: neither an object nor a list")
    try:
        return [math.nan if value in (None, "") else float(value) for value in values]
    except (TypeError, ValueError):
        raise DataError(f"{shown}: a value is no number") from None


def show(answers: list[dict[str, Any]]) -> None:
    """Print one line a row."""
    from app.models import console, table

    held = any(found["reason"] != "NONE" for found in answers)
    heads = ("row", "action", "sure", *answers[0]["answers"])
    grid = table(*heads, *(("reason",) if held else ()))
    for k, found in enumerate(answers):
        values = (_short(value) for value in found["answers"].values())
        reason = "" if found["reason"] == "NONE" else found["reason"].lower()
        grid.add_row(
            str(k),
            found["action"],
            f"{found['confidence']:.4f}",
            *values,
            *((reason,) if held else ()),
        )
    console().print(grid)


def _short(value: float | None) -> str:
    """Write a number in few letters; small ones, such as returns, keep two digits.

    >>> _short(0.72664), _short(-0.000314), _short(None)
    ('0.7266', '-0.00031', '-')
    """
    if value is None:
        return "-"
    return f"{value:.4f}" if abs(value) >= 0.01 or value == 0 else f"{value:.2g}"
