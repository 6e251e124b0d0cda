"""What the `lab.py features` commands share: sets by name, data, seeds, tables of 80 columns."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from app.train import SPECS, read_spec
from engine.errors import UsageError
from features.spec import FeatureSpec

WIDTH = 80


def add_data_flags(parser: argparse.ArgumentParser, *, required: bool = True) -> None:
    """Register what says which rows a command runs on."""
    parser.add_argument(
        "--data", type=Path, nargs="+", required=required, metavar="PATH",
        help="tapes, data folders, Parquet or CSV files",
    )  # fmt: skip
    parser.add_argument("--symbols", default="", metavar="A,B", help="only these")
    parser.add_argument("--pair", metavar="A:B", help="A is paired with B (cross-instrument sets)")
    parser.add_argument(
        "--rows", type=int, default=0, metavar="N", help="at most so many rows an instrument"
    )
    parser.add_argument("--seed", type=int, default=1, metavar="N", help="of all random choices")
    parser.add_argument("--cache", type=Path, default=Path("data/tapes"), metavar="DIR")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def chosen_sets(names: Sequence[str] | None, every: bool) -> dict[str, FeatureSpec]:
    """Return the sets that a command line means: those named, or all of config/features.

    Raises:
        UsageError: no such set, or both ways at once.
    """
    if names and every:
        raise UsageError("--all and --spec do not go together")
    found = list(names or [])
    if not found:
        found = sorted(path.stem for path in SPECS.glob("*.json"))
    return {Path(name).stem: read_spec(str(name)) for name in found}


def pair_of(text: str | None) -> tuple[str, str] | None:
    """Read A:B.

    >>> pair_of("BTC/USDT:ETHUSDT")
    ('BTCUSDT', 'ETHUSDT')

    Raises:
        UsageError: it is none.
    """
    if text is None:
        return None
    words = text.replace("/", "").upper().split(":")
    if len(words) != 2 or not all(words):
        raise UsageError(f"--pair {text}: must be A:B, for example BTCUSDT:ETHUSDT")
    return words[0], words[1]


def symbols_of(text: str) -> tuple[str, ...]:
    """Read A,B.

    >>> symbols_of("btc/usdt,ETHUSDT")
    ('BTCUSDT', 'ETHUSDT')
    """
    return tuple(word for word in text.replace("/", "").upper().split(",") if word)


def check_paths(paths: Sequence[Path]) -> None:
    """Refuse paths that do not exist.

    Raises:
        UsageError: naming the first.
    """
    for path in paths:
        if not path.exists():
            raise UsageError(f"--data {path}: no such file or folder")


def grid(*columns: str, left: int = 1) -> Any:
    """Return a table without frame; the first `left` columns stand to the left."""
    from rich.table import Table

    table = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False, header_style="bold")
    for at, name in enumerate(columns):
        table.add_column(name, justify="left" if at < left else "right", no_wrap=at >= left)
    return table


def say(what: Any) -> None:
    """Print something on stdout, 80 columns wide off a terminal."""
    from rich.console import Console

    width = None if sys.stdout.isatty() else WIDTH
    Console(width=width, highlight=False, soft_wrap=isinstance(what, str)).print(what, markup=False)


def tell(line: str) -> None:
    """Say on stderr what is being done, where somebody looks."""
    if sys.stderr.isatty():
        sys.stderr.write(f"{line}\n")
