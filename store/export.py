"""Write a tape's market rows as a data folder: <venue>/<SYMBOL>/<kind>/*.parquet."""

import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from engine.errors import DataError, RunError
from engine.instruments import Instrument
from engine.row_arrays import copy_rows, join_rows, take_rows
from engine.rows import ASSUMED, BAR_OPEN, OFF_MARKET, Kind
from engine.tape import Tape
from store.folders import INSTRUMENT_NAME

GROUP_ROWS = 262_144  # rows of a Parquet row group, and the most that wait in memory for one
FOLDERS = {
    Kind.TRADE: "trades", Kind.QUOTE: "quotes", Kind.DEPTH: "depth", Kind.BAR: "bars",
    Kind.GAP: "gaps",
}  # fmt: skip
_SLOTS: dict[str, dict[str, str]] = {
    "trades": {"price": "f0", "size": "f1", "side": "side", "trade_id": "i2"},
    "quotes": {"bid": "f0", "ask": "f1", "bid_size": "f2", "ask_size": "f3", "update_id": "i4"},
    "depth": {
        "side": "side", "price": "f0", "size": "f1", "flags": "flags", "seq": "i3",
        "first_id": "i4",
    },
    "bars": {"open": "f0", "high": "f1", "low": "f2", "close": "f3", "volume": "f4"},
    "gaps": {"ts_from": "i0", "ts_to": "i1", "reason": "i2"},
}  # fmt: skip


def export_tape(
    tape: Tape, out: Path, *, overwrite: bool, progress: Callable[[str, int, int], None]
) -> list[Path]:
    """Write a data folder.

    Args:
        tape: what to write; quotes made from bars are left out (they are made again when read).
        out: the folder that holds <venue>/<SYMBOL>/.
        overwrite: replace the folders of instruments that are there already.
    Returns:
        the folders of the instruments.
    Raises:
        DataError: a folder is there already.
        RunError: no space, or the folder cannot be written.
    """
    targets = [out / one.venue / one.symbol for one in tape.instruments]
    for target in targets:
        if target.exists() and not overwrite:
            raise DataError(f"{target}: is there already; --overwrite replaces it")
    scratch = out / f".importing-{os.getpid()}"
    try:
        scratch.mkdir(mode=0o755, parents=True, exist_ok=True)
        for number, one in enumerate(tape.instruments):
            _write_instrument(tape, number, one, scratch / str(number), progress)
        for number, target in enumerate(targets):
            target.parent.mkdir(parents=True, exist_ok=True)
            if target.exists():
                target.rename(scratch / f"old-{number}")
            (scratch / str(number)).rename(target)
    except OSError as error:
        raise RunError(f"{out}: cannot be written ({error.strerror})") from None
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return targets


def _write_instrument(
    tape: Tape,
    number: int,
    instrument: Instrument,
    folder: Path,
    progress: Callable[[str, int, int], None],
) -> None:
    """Write the files of one instrument."""
    folder.mkdir()
    quoted = "bar_quotes" in instrument.has
    outs: dict[str, _KindFile] = {}
    waiting_open: list[np.ndarray] = []
    for stop, rows in _rows_of(tape, number):
        assumed = (rows["kind"] == Kind.QUOTE) & (rows["flags"] & ASSUMED != 0)
        if quoted and assumed.any():
            waiting_open.append(take_rows(rows, assumed))
        for kind, name in FOLDERS.items():
            some = take_rows(rows, (rows["kind"] == kind) & ~assumed)
            if len(some):
                outs.setdefault(name, _KindFile(folder / name, name)).add(some)
        progress(f"writing {instrument.symbol}", stop, tape.info.rows)
    quotes = _bar_quotes(join_rows(waiting_open)) if waiting_open else {}
    for one in outs.values():
        one.close(quotes if one.name == "bars" else {})
    text = msgspec.json.format(msgspec.json.encode(instrument), indent=1)
    (folder / INSTRUMENT_NAME).write_bytes(text + b"\n")


def _rows_of(tape: Tape, number: int) -> Iterator[tuple[int, np.ndarray]]:
    """Yield (row number behind, the rows of one instrument) over the tape."""
    for segment in tape.segments:
        for first, rows in segment.strides():
            some = (
                rows
                if len(tape.instruments) == 1
                else take_rows(rows, rows["instrument"] == number)
            )
            yield first + len(rows), some


@dataclass
class _KindFile:
    """One Parquet file that is being written, in row groups of bounded size."""

    folder: Path
    name: str
    waiting: list[np.ndarray] = field(default_factory=list)
    count: int = 0
    writer: pq.ParquetWriter | None = None

    def add(self, rows: np.ndarray) -> None:
        """Take rows."""
        self.waiting.append(copy_rows(rows))
        self.count += len(rows)
        if self.count >= GROUP_ROWS and self.name != "bars":
            self._flush({})

    def close(self, extra: dict[str, np.ndarray]) -> None:
        """Write what waits, with more columns for bars."""
        if self.waiting:
            self._flush(extra)
        if self.writer is not None:
            self.writer.close()

    def _flush(self, extra: dict[str, np.ndarray]) -> None:
        """Write a row group."""
        table = pa.table(columns_of(self.name, join_rows(self.waiting)) | extra)
        if self.writer is None:
            self.folder.mkdir()
            self.writer = pq.ParquetWriter(
                self.folder / "part-000000.parquet", table.schema, compression="zstd"
            )
        self.writer.write_table(table)
        self.waiting = []
        self.count = 0


def columns_of(name: str, rows: np.ndarray) -> dict[str, np.ndarray | pa.Array]:
    """Return the columns of a kind's folder that rows of that kind fill."""
    columns: dict[str, np.ndarray | pa.Array] = {"ts_event": rows["ts_event"]}
    if name != "bars":
        columns["ts_recv"] = rows["ts_recv"]
    for column, slot in _SLOTS[name].items():
        columns[column] = np.ascontiguousarray(rows[slot])
    if name == "trades":
        off = rows["flags"] & OFF_MARKET != 0
        columns["kind"] = pa.array(np.where(off, "OFF_MARKET", ""))
    return columns


def _bar_quotes(rows: np.ndarray) -> dict[str, np.ndarray]:
    """Return the bids and asks at opens and closes, as columns of the bars."""
    opening = rows["flags"] & BAR_OPEN != 0
    order = {True: rows[opening], False: rows[~opening]}
    return {
        "open_bid": order[True]["f0"].copy(),
        "open_ask": order[True]["f1"].copy(),
        "close_bid": order[False]["f0"].copy(),
        "close_ask": order[False]["f1"].copy(),
    }
