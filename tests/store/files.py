"""Small data files for the tests of the store."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from config.settings import AssumedMarket
from engine.rows import ROW
from engine.tape import Tape
from store.convert import Options
from store.folders import find
from store.source import make_tape

ASSUMED = AssumedMarket(quote_size_notional=1000.0, bar_spread_bps=10.0)
MINUTE = 60_000_000_000
START = 1_700_000_040_000_000_000  # a full minute


def parquet(path: Path, **columns: object) -> Path:
    """Write a Parquet file of columns."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns), path)
    return path


def text(path: Path, *lines: str) -> Path:
    """Write a text file of lines."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n")
    return path


def tape_of(folder: Path, *paths: Path, **options: object) -> Tape:
    """Convert files into a tape below a folder, under a name of its own."""
    number = len(list(folder.glob("tape-*")))
    scratch = folder / f"tape-{number}"
    scratch.mkdir()
    chosen = Options(ASSUMED, **options)  # type: ignore[arg-type]
    make_tape(find(paths), chosen, scratch / "tape")
    tape = Tape.open(scratch / "tape")
    tape.verify()
    return tape


def rows_of(tape: Tape) -> np.ndarray:
    """Return all rows of a tape, without checks."""
    rows = np.frombuffer(bytearray(b"".join(one.rows.tobytes() for one in tape.segments)), ROW)
    rows["check"] = 0
    return rows
