"""Open whatever a person names as a tape: tapes as they are, data converted once and cached."""

import hashlib
import os
import shutil
from collections.abc import Sequence
from pathlib import Path

import msgspec

from config.settings import AssumedMarket
from engine.errors import DataError, RunError
from engine.instruments import split_symbol
from engine.tape import Tape
from engine.tape_info import SourceFile, TapeInfo, is_tape
from store.convert import Conversion, Options, Progress
from store.feeds import Source
from store.folders import Found, find

READ_BYTES = 1 << 20
_ROOT = Path(__file__).resolve().parent.parent
# What decides how rows come out: a change in any of these files makes other tapes.
_CODE = ("store/*.py", "venues/binance_*.py", "venues/binance_*/*.py", "engine/rows.py",
         "engine/book_sync.py", "engine/instruments.py", "engine/tape_*.py")  # fmt: skip


def open_tape(
    paths: Sequence[Path],
    *,
    assumed: AssumedMarket,
    cache_dir: Path,
    symbols: Sequence[str] = (),
    progress: Progress | None = None,
) -> Path:
    """Return the tape folder of what is named, converting it first if need be.

    Args:
        paths: one tape folder, or any files and folders of Parquet, CSV(.gz) and wire captures.
        assumed: size and spread where the data has none.
        cache_dir: tapes made here are found again by the content of their files.
        symbols: only these, in any form; empty means all.
        progress: called with (what is done, how much, out of how much).
    Raises:
        DataError: a path cannot be used; one line says why.
        RunError: no space for the tape.
    """
    if not paths:
        raise DataError("no data named: give a tape, a data folder, or Parquet, CSV or wire files")
    tapes = [path for path in paths if is_tape(path)]
    if tapes and len(paths) > 1:
        raise DataError(f"{tapes[0]}: a tape is replayed alone, without other paths")
    if tapes:
        return tapes[0]
    options = Options(assumed, tuple(split_symbol(one)[0] for one in symbols))
    return cached_tape(find(paths), options, cache_dir, progress)


def cached_tape(
    found: Found, options: Options, cache_dir: Path, progress: Progress | None = None
) -> Path:
    """Return the tape of source files, from the cache or made now; safe in several processes."""
    report = progress or _silent
    if not found.sources:
        raise DataError("no data files found")
    hashes = _hashes(found.sources, report)
    folder = cache_dir / _key(found, options, hashes)
    if is_tape(folder):
        try:
            Tape.open(folder)
            return folder
        except DataError:
            shutil.rmtree(folder)
    _remove_leavings(cache_dir)
    scratch = cache_dir / f".making-{os.getpid()}-{folder.name[:16]}"
    try:
        scratch.mkdir(mode=0o700, parents=True)
        make_tape(found, options, scratch / "tape", hashes, report)
        try:
            os.rename(scratch / "tape", folder)
        except OSError:
            if not is_tape(folder):  # else another process was faster, with the same content
                raise
    except OSError as error:
        raise RunError(f"{cache_dir}: cannot write here ({error.strerror})") from None
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return folder


def make_tape(
    found: Found,
    options: Options,
    folder: Path,
    hashes: Sequence[SourceFile] = (),
    progress: Progress | None = None,
) -> TapeInfo:
    """Convert source files into a new tape folder, whose parent exists and takes scratch files."""
    work = Conversion(found.sources, options, found.known, folder.parent, progress or _silent)
    work.notes += found.notes
    return work.run(folder, hashes)


def _silent(what: str, done: int, total: int) -> None:
    """Report nothing."""


def _hashes(sources: Sequence[Source], progress: Progress) -> list[SourceFile]:
    """Hash the files."""
    try:
        total = sum(one.path.stat().st_size for one in sources)
        done = 0
        hashes = []
        for one in sources:
            digest = hashlib.sha256()
            with one.path.open("rb") as file:
                while part := file.read(READ_BYTES):
                    digest.update(part)
                    done += len(part)
                    progress("comparing with the cache", min(done, total), total)
            hashes.append(SourceFile(name=one.path.name, sha256=digest.hexdigest()))
    except OSError as error:
        raise DataError(f"{error.filename}: cannot be read ({error.strerror})") from None
    return hashes


def _key(found: Found, options: Options, hashes: Sequence[SourceFile]) -> str:
    """Return the name of a conversion: its files, what is known of them, options and code."""
    parts = [
        [
            [one.venue, one.symbol, one.kind, digest.sha256]
            for one, digest in zip(found.sources, hashes, strict=True)
        ],
        [msgspec.to_builtins(one) for _, one in sorted(found.known.items())],
        [msgspec.to_builtins(options.assumed), options.symbols, options.tick, options.lot],
        [options.min_notional, options.clock_offset, _code_sha256()],
    ]
    return hashlib.sha256(msgspec.json.encode(parts, order="deterministic")).hexdigest()[:40]


def _code_sha256() -> str:
    """Return the identity of the code that makes rows."""
    digest = hashlib.sha256()
    for pattern in _CODE:
        for path in sorted(_ROOT.glob(pattern)):
            digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()


def _remove_leavings(cache_dir: Path) -> None:
    """Remove what killed conversions have left."""
    for folder in cache_dir.glob(".making-*"):
        pid = folder.name.split("-")[1]
        if pid.isdigit() and not _lives(int(pid)):
            shutil.rmtree(folder, ignore_errors=True)


def _lives(pid: int) -> bool:
    """Say whether a process is there."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
