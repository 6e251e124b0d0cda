"""`lab.py features build`: point-in-time snapshots of feature rows, by the kernel that trades."""

import argparse
import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from app.collect import FeatureRows, collect_rows
from app.feature_data import open_named
from app.feature_paths import wants_bars
from app.feature_sets import check_paths, say, symbols_of
from app.rules import kernel_rules
from app.train import progress_bar, read_spec
from config.load import load_settings
from config.settings import Settings
from engine.bar_kinds import time_bar_name
from engine.errors import DataError, UsageError
from engine.rows import NS_PER_S, Kind
from engine.tape import Tape
from features.feature_bars import bars_of
from features.identity import kernel_identity
from features.spec import FeatureSpec, parse_spec
from ml.publish import features_commit
from store.feature_store import (
    Manifest,
    Snapshot,
    SnapshotRows,
    open_snapshot,
    read_manifest,
    stale,
    write_file,
    write_store,
)

ON_TICKS = "every:250ms"


def main(args: argparse.Namespace) -> int:
    """Make one snapshot, or say that the one that is there is fresh.

    Raises:
        UsageError: a set, path or cadence that is not there.
    """
    check_paths(args.data)
    if (args.out is None) == (args.store is None):
        raise UsageError("say where it goes: --out FILE.parquet or --store ROOT")
    spec = read_spec(args.spec)
    tape = open_named(args.data, symbols_of(args.symbols), args.cache)
    settings, cadence = read_at(tape, spec, args.on)
    wanted = expected(Path(args.spec).stem, tape, spec, settings, cadence)
    place = args.out if args.out is not None else args.store / wanted.name / wanted.key
    fresh = _fresh(place, wanted)
    if fresh is not None and not args.again:
        _report(args, place, fresh.manifest, "is fresh, nothing was made (--again makes it anew)")
        return 0
    with progress_bar(args.json) as progress:
        rows = snapshot_rows(
            tape, spec, settings, cadence, lambda done, all_: progress("features", done / all_)
        )
    if args.out is not None:
        made = write_file(args.out, wanted, rows)
    else:
        place, made = write_store(args.store, wanted, rows)
    _report(args, place, made, "written")
    return 0


def _report(args: argparse.Namespace, place: Path, found: Manifest, what: str) -> None:
    if args.json:
        plain = msgspec.json.decode(msgspec.json.encode(found))
        print(json.dumps({"path": str(place), "fresh": what != "written", "manifest": plain}))
        return
    span = [str(np.datetime64(ts, "ns").astype("datetime64[s]")) for ts in
            (found.first_ts, found.last_ts)]  # fmt: skip
    say(f"{place} {what}")
    say(f"rows: {found.rows:,}, {found.whole:,} of them whole; {span[0]} to {span[1]} UTC")
    say(f"set: {found.name}, {len(found.features)} features at {found.cadence}")
    say(f"spec {found.spec_sha256[:12]} kernel {found.kernel_identity[:12]} "
        f"tape {found.tape_sha256[:12]}")  # fmt: skip


def read_at(tape: Tape, spec: FeatureSpec, cadence: str = "") -> tuple[Settings, str]:
    """Return the settings and the cadence at which a set is read from a tape.

    Without one asked for, sets on bars are read at each bar of the data, others every 250 ms.
    """
    settings = load_settings(None)
    own = max((one.bar_interval_ns for one in tape.instruments), default=0) // NS_PER_S
    if own:
        engine = msgspec.structs.replace(settings.engine, bar_interval_s=int(own))
        settings = msgspec.structs.replace(settings, engine=engine)
    if not cadence:
        base = time_bar_name(settings.engine.bar_interval_s)
        cadence = f"bar:{base}" if wants_bars(spec) else ON_TICKS
    return settings, cadence


def expected(
    name: str, tape: Tape, spec: FeatureSpec, settings: Settings, cadence: str
) -> Manifest:
    """Return the manifest of a snapshot before its rows are known."""
    rules = kernel_rules(settings, tape.info.wakes == "implied", bars_of([spec]))
    return Manifest(
        name=name,
        spec=msgspec.Raw(spec.canonical_json()),
        spec_sha256=spec.sha256,
        kernel_identity=kernel_identity(spec),
        commit=features_commit(),
        cadence=cadence,
        rules_sha256=hashlib.sha256(msgspec.json.encode(rules, order="deterministic")).hexdigest(),
        tape_sha256=tape.info.sha256,
        sources=tape.info.sources,
        features=spec.names,
    )


def _fresh(place: Path, wanted: Manifest) -> Snapshot | None:
    """Return the snapshot that is there when it is what would be made, whole."""
    if not place.exists():
        return None
    names = ("spec_sha256", "kernel_identity", "tape_sha256", "cadence", "rules_sha256", "commit")
    try:
        found = read_manifest(place)
        if any(getattr(found, name) != getattr(wanted, name) for name in names):
            return None
        return open_snapshot(place)
    except DataError:
        return None


def snapshot_rows(
    tape: Tape,
    spec: FeatureSpec,
    settings: Settings,
    cadence: str,
    progress: Callable[[int, int], None] | None = None,
) -> SnapshotRows:
    """Run the kernel over a tape; see store/feature_store.py for the columns.

    Raises:
        DataError: no decision is due at this cadence.
    """
    found = collect_rows(tape, spec, cadence, settings, progress=progress)
    if not len(found.ts):
        raise DataError(f"no decision is due at cadence {cadence}")
    events, received = _known_times(tape, found)
    names = np.asarray([instrument.name for instrument in tape.instruments], object)
    x = np.where(np.isnan(found.x), np.float32(np.nan), found.x)  # one NaN, whatever its bits
    rows = SnapshotRows(names[found.instrument], events, received, found.ts, x, found.valid)
    return rows.take(np.lexsort((np.arange(len(found.ts)), found.ts, found.instrument)))


def _known_times(tape: Tape, found: FeatureRows) -> tuple[np.ndarray, np.ndarray]:
    """Return ts_event and ts_recv of the last row of its instrument that each decision knows of."""
    events, received = np.zeros(len(found.ts), np.int64), np.zeros(len(found.ts), np.int64)
    for at, instrument in enumerate(tape.instruments):
        own = np.flatnonzero(found.instrument == at)
        if not len(own):
            continue
        numbers, stamps, recv = _market_rows(tape, at, instrument.bar_interval_ns)
        last = np.searchsorted(numbers, found.row[own], side="right") - 1
        known = last >= 0
        events[own] = np.where(known, stamps[np.maximum(last, 0)], 0)
        received[own] = np.where(known, recv[np.maximum(last, 0)], 0)
    return events, received


def _market_rows(
    tape: Tape, instrument: int, interval_ns: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return number, event time (of a bar its close) and receive time of an instrument's rows."""
    numbers, stamps, recv = [], [], []
    for segment in tape.segments:
        for first, rows in segment.strides():
            kinds = rows["kind"]
            market = (kinds >= Kind.QUOTE) & (kinds <= Kind.BAR)
            at = np.flatnonzero(market & (rows["instrument"] == instrument))
            numbers.append(first + at)
            stamps.append(rows["ts_event"][at] + np.where(kinds[at] == Kind.BAR, interval_ns, 0))
            recv.append(rows["ts_recv"][at])
    return np.concatenate(numbers), np.concatenate(stamps), np.concatenate(recv)


def fresh_snapshot(path: Path, spec: FeatureSpec | None = None) -> Snapshot:
    """Open a snapshot of features whose code is today's.

    Args:
        path: a file, or a folder of a store.
        spec: the features that are wanted; None takes those of the snapshot.
    Raises:
        DataError: stale or damaged; the line says why and what helps.
    """
    manifest = read_manifest(path)
    kept = parse_spec(bytes(manifest.spec), str(path))
    wanted = spec or kept
    reason = stale(manifest, {"spec_sha256": wanted.sha256})
    if not reason:
        reason = stale(manifest, {"kernel_identity": kernel_identity(kept)})
    if reason:
        raise DataError(f"{path}: stale: {reason}; lab.py features build makes it anew")
    return open_snapshot(path)


def fresh_snapshots(paths: Sequence[Path]) -> list[Snapshot]:
    """Open several snapshots of one and the same set.

    Raises:
        DataError: one is stale, or they hold different features.
    """
    found: list[Any] = [fresh_snapshot(path) for path in paths]
    for path, other in zip(paths[1:], found[1:], strict=True):
        if reason := stale(other.manifest, {"spec_sha256": found[0].manifest.spec_sha256}):
            raise DataError(f"{path}: {reason}")
    return found
