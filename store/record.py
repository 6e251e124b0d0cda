"""Compact a tape, also one that is still written, into the Parquet files of a data folder.

A part is a fixed number of the tape's rows, up to the end of a packet; its files appear whole, one
for each instrument and kind that has rows. What stands in `.record.json` says which parts are done,
so that a recording goes on where it was, with the same bytes as one that was never stopped.
"""

import contextlib
import fcntl
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from engine.errors import DataError, RunError
from engine.instruments import Instrument
from engine.row_arrays import copy_rows, join_rows, take_rows
from engine.rows import ASSUMED, HISTORY, LAST
from engine.tape_segment import whole_rows
from store.export import FOLDERS, columns_of
from store.folders import INSTRUMENT_NAME

PART_ROWS = 1 << 19  # 32 MiB of tape: what waits in memory for a part
STATE_NAME, LOCK_NAME = ".record.json", ".record.lock"


class Recorded(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What of a tape is in the folder."""

    mark: str  # which tape: its instruments and first row
    part_rows: int
    stops: tuple[int, ...] = ()  # the tape's row number behind each whole part
    rows: int = 0  # rows of the tape that are in the folder, the last part's too
    closed: bool = False


class Recording:
    """Takes the rows of one tape in order. Use it inside `claimed`."""

    def __init__(
        self, out: Path, instruments: tuple[Instrument, ...], part_rows: int = PART_ROWS
    ) -> None:
        """Find what an earlier recording left.

        Raises:
            DataError: it cannot be gone on with.
        """
        for one in instruments:
            if "bar_quotes" in one.has:
                raise DataError(f"{one.name}: has quotes made from bars; import its files instead")
        self.out = out
        self.instruments = instruments
        self.counts = dict.fromkeys(FOLDERS.values(), 0)
        self.left_out = 0  # rows of history and other kinds
        self.state = _read_state(out) or Recorded(mark="", part_rows=part_rows)
        self.next_row = self.state.stops[-1] if self.state.stops else 0
        self._waiting: list[np.ndarray] = []

    def check_first(self, row: np.ndarray) -> None:
        """Compare the tape's first row, ROW[1], with what was recorded before.

        Raises:
            DataError: it is another tape's recording, or the folders are somebody else's.
        """
        digest = hashlib.sha256(msgspec.json.encode(self.instruments))
        digest.update(row.tobytes())
        if not self.state.mark:
            for one in self.instruments:
                if (self.out / one.venue / one.symbol).exists():
                    raise DataError(f"{self.out / one.venue / one.symbol}: is there already")
            self.state = msgspec.structs.replace(self.state, mark=digest.hexdigest())
            self._write_state()
        elif self.state.mark != digest.hexdigest():
            raise DataError(f"{self.out}: holds the recording of another tape")

    def add(self, rows: np.ndarray) -> None:
        """Take the rows from `next_row` on; parts that become whole are written.

        Raises:
            DataError: a row is damaged.
            RunError: no space, or the folder cannot be written.
        """
        good = whole_rows(rows, self.next_row)
        if not good.all():
            bad = self.next_row + int(np.flatnonzero(~good)[0])
            raise DataError(f"row {bad} of the tape is damaged; what lies before it is kept")
        rows = copy_rows(rows)
        while len(rows):
            start = self.state.stops[-1] if self.state.stops else 0
            short = start + self.state.part_rows - self.next_row  # rows until a part may end
            ends = np.flatnonzero(rows["flags"] & LAST) + 1
            ends = ends[ends >= short]
            count = int(ends[0]) if len(ends) else len(rows)
            self._waiting.append(rows[:count])
            self.next_row += count
            if len(ends):
                self._write_part(whole=True)
            rows = rows[count:]

    def flush(self, *, closed: bool) -> None:
        """Write what waits as a part that is not whole: more rows will replace it."""
        if self._waiting:
            self._write_part(whole=False)
        self.state = msgspec.structs.replace(self.state, closed=closed)
        self._write_state()

    def _write_part(self, *, whole: bool) -> None:
        """Write the files of what waits, then say so."""
        rows = join_rows(self._waiting)
        self._waiting = []
        name = f"part-{len(self.state.stops):06d}.parquet"
        used = 0
        for number, one in enumerate(self.instruments):
            mine = (rows["instrument"] == number) & (rows["flags"] & HISTORY == 0)
            folder = self.out / one.venue / one.symbol
            for kind, kind_name in FOLDERS.items():
                some = take_rows(rows, mine & (rows["kind"] == kind))
                some = take_rows(some, some["flags"] & ASSUMED == 0)
                if len(some):
                    self._write_file(folder, one, kind_name, name, some)
                    used += len(some)
                    self.counts[kind_name] += len(some)
        self.left_out += len(rows) - used
        stops = (*self.state.stops, self.next_row) if whole else self.state.stops
        self.state = msgspec.structs.replace(self.state, stops=stops, rows=self.next_row)
        self._write_state()

    def _write_file(
        self, folder: Path, instrument: Instrument, kind: str, name: str, rows: np.ndarray
    ) -> None:
        table = pa.table(columns_of(kind, rows))
        scratch = folder / kind / f".{name}.writing"
        try:
            (folder / kind).mkdir(parents=True, exist_ok=True)
            if not (folder / INSTRUMENT_NAME).exists():
                text = msgspec.json.format(msgspec.json.encode(instrument), indent=1)
                _replace(folder / INSTRUMENT_NAME, text + b"\n")
            try:
                pq.write_table(table, scratch, compression="zstd")
                os.replace(scratch, folder / kind / name)
            finally:
                scratch.unlink(missing_ok=True)
        except OSError as error:
            raise RunError(f"{folder}: cannot be written ({error.strerror})") from None

    def _write_state(self) -> None:
        try:
            _replace(self.out / STATE_NAME, msgspec.json.encode(self.state) + b"\n")
        except OSError as error:
            raise RunError(f"{self.out}: cannot be written ({error.strerror})") from None


def _replace(path: Path, text: bytes) -> None:
    """Write a small file, whole or not at all."""
    scratch = path.with_name(f".{path.name.lstrip('.')}.writing")
    scratch.write_bytes(text)
    os.replace(scratch, path)


def _read_state(out: Path) -> Recorded | None:
    try:
        return msgspec.json.decode((out / STATE_NAME).read_bytes(), type=Recorded)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.MsgspecError):
        raise DataError(f"{out / STATE_NAME}: damaged; record into another folder") from None


@contextlib.contextmanager
def claimed(out: Path) -> Iterator[None]:
    """Make a data folder ours while we record into it.

    Raises:
        DataError: another recording is at work there.
        RunError: it cannot be written.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
        lock = os.open(out / LOCK_NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise RunError(f"{out}: cannot be written ({error.strerror})") from None
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise DataError(f"{out}: another recording is at work there") from None
        for torn in out.glob("*/*/*/.part-*.writing"):
            torn.unlink()
        yield
    finally:
        os.close(lock)
