"""Snapshots of feature rows as Parquet: written once, read as of a time, refused when stale.

Two forms. One file: everything in it, the manifest in its metadata. A store: `ROOT/<set>/<id>/`
with `manifest.json` and one file for each instrument and day (UTC, of `ts_available`),
`instrument=<venue>-<SYMBOL>/day=<date>/rows.parquet`. The id is a hash of what the rows depend on.

Columns: `instrument`; `ts_event` and `ts_recv` of the last row that the values know of (0 where the
data has none; of a bar the time of its close); `ts_available`, when they could have been acted on,
ascending within an instrument; the features, float32, null where one was not warm; `valid`, whether
the whole row is finite. Times are int64 ns UTC. Labels are no part of a snapshot: they are joined
by `ts_available`, never by row number. The same rows give the same bytes.
"""

import hashlib
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from engine.errors import DataError, RunError
from engine.tape_info import SourceFile

FORMAT = 1
MANIFEST = "manifest.json"
KEY = b"tickgate.features"
GROUP_ROWS = 65_536
DAY_NS = 86_400_000_000_000
TIMES = ("ts_event", "ts_recv", "ts_available")


class Part(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One file of a store."""

    path: str  # below the manifest's folder
    rows: int
    sha256: str


class Manifest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a snapshot was made of. Nothing in it is a wall clock or a path of this machine."""

    format: int = FORMAT
    name: str  # of the set
    spec: msgspec.Raw  # the feature spec, as its canonical JSON
    spec_sha256: str
    kernel_identity: str
    commit: str  # the last one that touched features/
    cadence: str
    rules_sha256: str  # of the settings that move bars and belief
    tape_sha256: str  # content identity of the tape
    sources: tuple[SourceFile, ...] = ()  # files that the tape was made of
    features: tuple[str, ...] = ()
    instruments: tuple[str, ...] = ()  # venue:SYMBOL, those that have rows
    rows: int = 0
    whole: int = 0  # rows without a missing value
    first_ts: int = 0  # ts_available of the first row
    last_ts: int = 0
    content_sha256: str = ""  # of the columns
    parts: tuple[Part, ...] = ()

    @property
    def key(self) -> str:
        """Return the id: a hash of what decides the rows."""
        words = (self.spec_sha256, self.kernel_identity, self.cadence, self.rules_sha256)
        return hashlib.sha256(repr((*words, self.tape_sha256)).encode()).hexdigest()[:16]


class SnapshotRows(NamedTuple):
    """Rows of a snapshot, arrays of one length, sorted by instrument and then by ts_available."""

    instrument: np.ndarray  # str
    ts_event: np.ndarray  # int64 ns
    ts_recv: np.ndarray
    ts_available: np.ndarray
    x: np.ndarray  # float32[n, n_features], NaN where a feature was not warm
    valid: np.ndarray  # bool

    def take(self, chosen: np.ndarray) -> "SnapshotRows":
        """Return chosen rows."""
        return SnapshotRows(*(column[chosen] for column in self))


def content_sha256(rows: SnapshotRows) -> str:
    """Hash the columns."""
    digest = hashlib.sha256("\n".join(rows.instrument.tolist()).encode())
    for column in rows[1:]:
        digest.update(np.ascontiguousarray(column).tobytes())
    return digest.hexdigest()


def completed(manifest: Manifest, rows: SnapshotRows) -> Manifest:
    """Return a manifest with what the rows themselves say."""
    ts = rows.ts_available
    return msgspec.structs.replace(
        manifest,
        instruments=tuple(dict.fromkeys(rows.instrument.tolist())),
        rows=len(ts),
        whole=int(rows.valid.sum()),
        first_ts=int(ts.min()) if len(ts) else 0,
        last_ts=int(ts.max()) if len(ts) else 0,
        content_sha256=content_sha256(rows),
    )


def write_file(path: Path, manifest: Manifest, rows: SnapshotRows) -> Manifest:
    """Write a snapshot as one file, whole or not at all.

    Raises:
        RunError: it cannot be written.
    """
    whole = completed(manifest, rows)
    text = msgspec.json.encode(whole)
    table = _table(rows, manifest.features).replace_schema_metadata({KEY: text})
    scratch = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _write(table, scratch)
        os.replace(scratch, path)
    except OSError as error:
        raise RunError(f"{path}: cannot be written ({error.strerror})") from None
    finally:
        scratch.unlink(missing_ok=True)
    return whole


def write_store(root: Path, manifest: Manifest, rows: SnapshotRows) -> tuple[Path, Manifest]:
    """Write a snapshot into a store, whole or not at all; one that is there is replaced.

    Returns:
        Its folder and its manifest.
    Raises:
        RunError: it cannot be written.
    """
    folder = root / manifest.name / manifest.key
    scratch = folder.with_name(f".{folder.name}.{os.getpid()}")
    try:
        scratch.mkdir(parents=True)
        parts = []
        for place, part in _partitions(rows):
            file = scratch / place
            file.parent.mkdir(parents=True)
            _write(_table(part, manifest.features), file)
            digest = hashlib.sha256(file.read_bytes()).hexdigest()
            parts.append(Part(path=place, rows=len(part.valid), sha256=digest))
        whole = msgspec.structs.replace(completed(manifest, rows), parts=tuple(parts))
        text = msgspec.json.format(msgspec.json.encode(whole), indent=1)
        (scratch / MANIFEST).write_bytes(text + b"\n")
        if folder.exists():
            shutil.rmtree(folder)
        os.rename(scratch, folder)
    except OSError as error:
        raise RunError(f"{root}: cannot write here ({error.strerror})") from None
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return folder, whole


def _partitions(rows: SnapshotRows) -> Iterator[tuple[str, SnapshotRows]]:
    days = rows.ts_available // DAY_NS
    for name in dict.fromkeys(rows.instrument.tolist()):
        own = rows.instrument == name
        for day in np.unique(days[own]).tolist():
            date = np.datetime64(day, "D")
            place = f"instrument={name.replace(':', '-')}/day={date}/rows.parquet"
            yield place, rows.take(own & (days == day))


def _table(rows: SnapshotRows, features: tuple[str, ...]) -> pa.Table:
    columns: dict[str, Any] = {"instrument": pa.array(rows.instrument.tolist(), pa.string())}
    for name in TIMES:
        columns[name] = pa.array(getattr(rows, name), pa.int64())
    for at, name in enumerate(features):
        values = np.ascontiguousarray(rows.x[:, at])
        columns[name] = pa.array(values, pa.float32(), mask=np.isnan(values))
    columns["valid"] = pa.array(rows.valid, pa.bool_())
    return pa.table(columns)


def _write(table: pa.Table, path: Path) -> None:
    pq.write_table(
        table, path, version="2.6", compression="zstd", use_dictionary=["instrument"],
        row_group_size=GROUP_ROWS,
    )  # fmt: skip


class Snapshot:
    """A snapshot that was found whole and fresh."""

    def __init__(self, manifest: Manifest, load: Callable[[str], SnapshotRows]) -> None:
        """Hold a manifest and what reads the rows of one instrument, or of all for ""."""
        self.manifest = manifest
        self._load = load
        self._kept: dict[str, SnapshotRows] = {}

    def rows(self, instrument: str = "") -> SnapshotRows:
        """Return the rows of one instrument, in order of ts_available, or of all.

        Raises:
            DataError: the snapshot has none of this instrument, or its rows were changed.
        """
        if instrument and instrument not in self.manifest.instruments:
            known = ", ".join(self.manifest.instruments)
            raise DataError(f"the snapshot has no rows of {instrument}; it has {known}")
        if instrument not in self._kept:
            self._kept[instrument] = self._load(instrument)
        return self._kept[instrument]

    def as_of(self, instrument: str, times: np.ndarray) -> tuple[np.ndarray, SnapshotRows]:
        """Return, for each time, the last row that was available then.

        Args:
            instrument: venue:SYMBOL.
            times: int64[n] ns, in any order.
        Returns:
            (bool[n] whether there was one, its rows; where there was none the first row stands).
        """
        rows = self.rows(instrument)
        at = np.searchsorted(rows.ts_available, np.asarray(times, np.int64), side="right") - 1
        return at >= 0, rows.take(np.maximum(at, 0))


def open_snapshot(path: Path, expected: Mapping[str, str] | None = None) -> Snapshot:
    """Open a snapshot and refuse one that is stale or damaged.

    Args:
        path: a file, or the folder of a store's snapshot.
        expected: what it must have been made of: spec_sha256, kernel_identity, tape_sha256, ...
    Raises:
        DataError: no snapshot, damaged, or stale; the line says which part differs.
    """
    manifest, load = _opened(path)
    if reason := stale(manifest, expected or {}):
        raise DataError(f"{path}: stale: {reason}")
    return Snapshot(manifest, load)


WHY = {
    "spec_sha256": "spec: it holds the features of another spec",
    "kernel_identity": "kernel: the code of its features has changed since",
    "tape_sha256": "tape: it was made of other data",
    "cadence": "cadence: its rows were read at other moments",
    "rules_sha256": "rules: the settings of bars and belief have changed",
}


def stale(manifest: Manifest, expected: Mapping[str, str]) -> str:
    """Return why a snapshot cannot stand for what is expected, empty when it can."""
    for name, why in WHY.items():
        wanted = expected.get(name)
        if wanted is not None and wanted != (has := getattr(manifest, name)):
            return f"{why} ({has[:12]}, now {wanted[:12]})"
    return ""


def read_manifest(path: Path) -> Manifest:
    """Read a snapshot's manifest.

    Raises:
        DataError: there is none, or it is damaged.
    """
    try:
        if path.is_dir():
            text = (path / MANIFEST).read_bytes()
        else:
            text = (pq.read_schema(path).metadata or {}).get(KEY, b"")
    except (OSError, pa.ArrowException):
        text = b""
    if b"kernel_identity" not in text:
        raise DataError(f"{path}: no snapshot of features (lab.py features build makes one)")
    try:
        found = msgspec.json.decode(text, type=Manifest)
    except msgspec.MsgspecError as error:
        raise DataError(f"{path}: damaged manifest ({error})") from None
    if found.format != FORMAT:
        raise DataError(f"{path}: format {found.format}, this program reads {FORMAT}")
    return found


def _opened(path: Path) -> tuple[Manifest, Callable[[str], SnapshotRows]]:
    manifest = read_manifest(path)
    if path.is_dir():
        for part in manifest.parts:
            _check_part(path, part)
        return manifest, lambda instrument: _load_parts(path, manifest, instrument)
    rows = _from_table(_read_table(path), manifest.features)
    if len(rows.valid) != manifest.rows or content_sha256(rows) != manifest.content_sha256:
        raise DataError(f"{path}: stale: rows: they are not those that were written")

    def chosen(instrument: str) -> SnapshotRows:
        return rows.take(rows.instrument == instrument) if instrument else rows

    return manifest, chosen


def _check_part(folder: Path, part: Part) -> None:
    try:
        digest = hashlib.sha256((folder / part.path).read_bytes()).hexdigest()
    except OSError:
        raise DataError(f"{folder}: stale: rows: {part.path} is missing") from None
    if digest != part.sha256:
        raise DataError(f"{folder}: stale: rows: {part.path} was changed")


def _load_parts(folder: Path, manifest: Manifest, instrument: str) -> SnapshotRows:
    place = f"instrument={instrument.replace(':', '-')}/" if instrument else ""
    tables = [
        _read_table(folder / part.path) for part in manifest.parts if part.path.startswith(place)
    ]
    return _from_table(pa.concat_tables(tables), manifest.features)


def _read_table(path: Path) -> pa.Table:
    try:
        return pq.ParquetFile(path).read()
    except (OSError, pa.ArrowException) as error:
        reason = str(error).splitlines()[0]
        raise DataError(f"{path}: cannot be read ({reason})") from None


def _from_table(table: pa.Table, features: tuple[str, ...]) -> SnapshotRows:
    missing = [name for name in (*TIMES, *features, "valid") if name not in table.column_names]
    if missing:
        raise DataError(f"stale: rows: column {missing[0]} is missing")
    columns = [np.asarray(table[n].fill_null(np.nan), np.float32) for n in features]
    return SnapshotRows(
        np.asarray(table["instrument"].to_pylist(), object),
        table["ts_event"].to_numpy(),
        table["ts_recv"].to_numpy(),
        table["ts_available"].to_numpy(),
        np.stack(columns, axis=1) if columns else np.zeros((table.num_rows, 0), np.float32),
        table["valid"].to_numpy(),
    )
