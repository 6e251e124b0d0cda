"""The parts of a fetched series: one Parquet file a stretch of time, complete or not there.

Each file says in its metadata which stretch it covers and what was dropped, so that a fetch that
was stopped goes on where it was, and a later one takes only what is new. A stretch without rows is
a file whose name begins with a dot: readers of the folder pass over it.
"""

import contextlib
import fcntl
import json
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from engine.errors import DataError, RunError
from engine.instruments import Instrument
from engine.rows import NS_PER_S
from store.folders import INSTRUMENT_NAME

STATE_NAME, LOCK_NAME = ".fetch.json", ".fetch.lock"
HOUR_NS, DAY_NS = 3600 * NS_PER_S, 86_400 * NS_PER_S
_KEY = b"tickgate.fetch"


class FetchState(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What was asked for; kept beside the data until a later fetch asks for something else."""

    what: tuple[str, ...]
    interval: str
    days: float
    since_ns: int
    until_ns: int
    done: bool = False


class Cover(msgspec.Struct, frozen=True, kw_only=True):
    """What one file covers."""

    since_ns: int
    until_ns: int
    dropped: dict[str, int] = {}


@dataclass(frozen=True)
class Part:
    """A stretch of time that is one file."""

    name: str
    since_ns: int
    until_ns: int


def part_length_ns(kind: str, interval_ns: int) -> int:
    """Return how long the parts of a kind are: an hour of trades, a day or 30 of candles."""
    if kind == "trades":
        return HOUR_NS
    return DAY_NS if interval_ns <= 60 * NS_PER_S else 30 * DAY_NS


def missing_parts(folder: Path, length_ns: int, since_ns: int, until_ns: int) -> list[Part]:
    """List the parts of a window that are not there, or not all of them.

    A part that is there in part is listed as a whole: what it has and what is wanted.
    """
    found = []
    for start in range(since_ns - since_ns % length_ns, until_ns, length_ns):
        stamp = datetime.fromtimestamp(start // NS_PER_S, UTC)
        name = stamp.strftime("part-%Y%m%dT%H" if length_ns < DAY_NS else "part-%Y%m%d")
        wanted = max(start, since_ns), min(start + length_ns, until_ns)
        there = _cover(folder, name)
        if there is not None:
            if there.since_ns <= wanted[0] and wanted[1] <= there.until_ns:
                continue
            wanted = min(wanted[0], there.since_ns), max(wanted[1], there.until_ns)
        found.append(Part(name, *wanted))
    return found


def _paths(folder: Path, name: str) -> tuple[Path, Path]:
    """Return the file of a part, and that of a part without rows."""
    return folder / f"{name}.parquet", folder / f".{name}.parquet"


def _cover(folder: Path, name: str) -> Cover | None:
    for path in _paths(folder, name):
        if path.exists():
            return cover_of(path)
    return None


def cover_of(path: Path) -> Cover:
    """Return what a file covers.

    Raises:
        DataError: it was not fetched.
    """
    try:
        text = (pq.read_schema(path).metadata or {}).get(_KEY, b"")
        return msgspec.json.decode(text, type=Cover)
    except (pa.ArrowException, OSError, msgspec.MsgspecError):
        raise DataError(f"{path}: was not written by `data fetch`; move it away") from None


@dataclass
class PartWriter:
    """Takes rows in order of time and writes each part when it is complete."""

    folder: Path
    parts: list[Part]  # one behind the other
    waiting: list[np.ndarray] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Work on a list of its own."""
        self.parts = list(self.parts)

    def take(self, rows: np.ndarray, reached_ns: int) -> None:
        """Take rows; before `reached_ns` nothing more will come.

        Raises:
            RunError: no space, or the folder cannot be written.
        """
        if len(rows):
            self.waiting.append(rows)
        while self.parts and self.parts[0].until_ns <= reached_ns:
            part = self.parts.pop(0)
            joined = np.concatenate(self.waiting) if self.waiting else rows[:0]
            inside = joined["ts_event"] < part.until_ns
            self.waiting = [joined[~inside]]
            sane, dropped = checked(joined[inside & (joined["ts_event"] >= part.since_ns)])
            cover = Cover(since_ns=part.since_ns, until_ns=part.until_ns, dropped=dropped)
            _write(self.folder, part.name, sane, cover)


def checked(rows: np.ndarray) -> tuple[np.ndarray, dict[str, int]]:
    """Return rows in order of time without the insane and the doubled, and what was dropped."""
    dropped: Counter[str] = Counter()
    rows = rows[np.argsort(rows["ts_event"], kind="stable")]
    names = rows.dtype.names
    assert names is not None
    prices = np.array([rows[n] for n in ("open", "high", "low", "close", "price") if n in names])
    sizes = rows["volume" if "volume" in names else "size"]
    sane = (np.isfinite(prices) & (prices > 0)).all(axis=0) & np.isfinite(sizes) & (sizes >= 0)
    if "low" in names:
        sane &= rows["low"] <= np.minimum(rows["open"], rows["close"])
        sane &= rows["high"] >= np.maximum(rows["open"], rows["close"])
    dropped["insane"] = int(np.count_nonzero(~sane))
    rows = rows[sane]
    key = rows["ts_event"] if "low" in names else rows["trade_id"]
    first = np.zeros(len(rows), bool)
    first[np.unique(key, return_index=True)[1]] = True
    if "low" not in names:
        first |= key < 0  # without an id nobody can tell a repeat from its like
    dropped["doubled"] = int(np.count_nonzero(~first))
    return rows[first], {reason: count for reason, count in dropped.items() if count}


def _write(folder: Path, name: str, rows: np.ndarray, cover: Cover) -> None:
    """Write one part, whole or not at all."""
    names = [n for n in rows.dtype.names or () if n != "trade_id" or (rows[n] >= 0).all()]
    table = pa.table({one: np.ascontiguousarray(rows[one]) for one in names})
    table = table.replace_schema_metadata({_KEY: msgspec.json.encode(cover)})
    full, empty = _paths(folder, name)
    target, other = (full, empty) if len(rows) else (empty, full)
    scratch = folder / f".{name}.writing"
    try:
        folder.mkdir(exist_ok=True)
        pq.write_table(table, scratch, compression="zstd")
        os.replace(scratch, target)
        other.unlink(missing_ok=True)
    except OSError as error:
        raise RunError(f"{folder}: cannot be written ({error.strerror})") from None
    finally:
        scratch.unlink(missing_ok=True)


@contextlib.contextmanager
def claimed(folder: Path) -> Iterator[FetchState | None]:
    """Make an instrument's folder ours while it is filled; give what was asked for last.

    Raises:
        DataError: it holds data that was not fetched, or another fetch is at work there.
        RunError: it cannot be written.
    """
    if (folder / INSTRUMENT_NAME).exists() and not (folder / STATE_NAME).exists():
        raise DataError(f"{folder}: is there already and was not made by `data fetch`")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = os.open(folder / LOCK_NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise RunError(f"{folder}: cannot be written ({error.strerror})") from None
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise DataError(f"{folder}: another fetch is at work there") from None
        for torn in folder.glob("*/.part-*.writing"):
            torn.unlink()
        try:
            yield msgspec.json.decode((folder / STATE_NAME).read_bytes(), type=FetchState)
        except FileNotFoundError:
            yield None
        except msgspec.MsgspecError:
            raise DataError(f"{folder / STATE_NAME}: damaged; remove it") from None
    finally:
        os.close(lock)


def write_beside(folder: Path, instrument: Instrument, state: FetchState) -> None:
    """Write the instrument and what was asked for."""
    for name, one in ((STATE_NAME, state), (INSTRUMENT_NAME, instrument)):
        text = json.dumps(msgspec.to_builtins(one), indent=1) + "\n"
        scratch = folder / f".{name}.writing"
        try:
            scratch.write_text(text)
            os.replace(scratch, folder / name)
        except OSError as error:
            raise RunError(f"{folder}: cannot be written ({error.strerror})") from None
