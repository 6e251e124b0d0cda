"""Cut the torn tail off a tape whose writer died; refuse what is damaged in the middle."""

import fcntl
import os
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np

from engine.errors import DataError, RunError
from engine.rows import LAST, ROW_BYTES
from engine.tape_hash import BlockHashes
from engine.tape_info import (
    BLOCK_ROWS,
    HEADER,
    HEADER_BYTES,
    TapeInfo,
    content_sha256,
    read_info,
    segment_paths,
    write_info,
)
from engine.tape_segment import Segment, whole_rows


@dataclass
class _Kept:
    """What remains of one segment."""

    path: Path
    rows: int
    lost: int  # published or described rows behind it that are torn


def repair_tape(folder: Path) -> str:
    """Cut a tape back to its last whole packet and close it.

    Returns:
        One line saying what was cut; it is also added to the notes of the tape.
    Raises:
        DataError: the tape is being written, or a row in the middle is damaged.
        RunError: the files cannot be changed.
    """
    info = read_info(folder)
    paths = segment_paths(folder)
    _refuse_living_writer(folder)
    kept = _scan(folder, paths)
    rows = sum(one.rows for one in kept)
    lost = max(sum(one.lost for one in kept), info.rows - rows)
    note = f"repaired: {rows} rows are whole, {lost} torn rows behind them were cut"
    blocks = block_hashes([Segment(one.path) for one in kept], rows)
    _compare(folder, info, blocks, rows)
    try:
        for one in kept:
            _cut(one)
        for path in paths[len(kept) :]:
            path.unlink()
        write_info(
            folder,
            msgspec.structs.replace(
                info,
                rows=rows,
                block_sha256=tuple(blocks),
                sha256=content_sha256(info.instruments, info.wakes, rows, blocks),
                notes=(*info.notes, note),
            ),
        )
    except OSError as error:
        raise RunError(f"{folder}: cannot be repaired ({error.strerror})") from None
    return note


def block_hashes(segments: list[Segment], stop_row: int) -> list[str]:
    """Return sha256 in hex of each 65,536 rows up to `stop_row`, the last block partial."""
    hashes = BlockHashes()
    for segment in segments:
        for first, rows in segment.strides():
            hashes.add(rows[: max(stop_row - first, 0)])
    return hashes.all_blocks()


def _scan(folder: Path, paths: list[Path]) -> list[_Kept]:
    """Find what is whole. Only the last segment may be torn."""
    kept: list[_Kept] = []
    next_row = 0
    for number, path in enumerate(paths):
        last = number == len(paths) - 1
        try:
            segment = Segment(path)
        except DataError:
            if not last or number == 0:
                raise
            break  # allocated, but its header never reached the disk
        if segment.first_row != next_row:
            raise DataError(f"{path}: begins with row {segment.first_row}, expected {next_row}")
        end = _whole_packets(segment)
        if end < segment.head and not last:
            raise DataError(f"{path}: row {next_row + end} in the middle of the tape is damaged")
        if end or number == 0:
            kept.append(_Kept(path, end, segment.head - end))
        next_row += end
    if not kept:
        raise DataError(f"{folder}: the tape has no segment")
    return kept


def _whole_packets(segment: Segment) -> int:
    """Return the number of rows up to the end of the last whole packet before the first bad row.

    Raises:
        DataError: whole rows follow the bad one, so it is no torn tail.
    """
    bad = -1
    good_after = 0
    packet_end = 0
    for first, rows in segment.strides():
        good = whole_rows(rows, first)
        offset = first - segment.first_row
        if bad < 0:
            wrong = np.flatnonzero(~good)
            stop = int(wrong[0]) if len(wrong) else len(rows)
            ends = np.flatnonzero(rows["flags"][:stop] & LAST)
            packet_end = offset + int(ends[-1]) + 1 if len(ends) else packet_end
            bad = offset + stop if len(wrong) else -1
            good_after += int(np.count_nonzero(good[stop:]))
        else:
            good_after += int(np.count_nonzero(good))
    # One garbage row in 65,536 has the right check by chance.
    if bad >= 0 and good_after > (len(segment.rows) - bad) // 1024:
        raise DataError(
            f"{segment.path}: row {segment.first_row + bad} is damaged, and {good_after} whole "
            "rows follow it: this is no torn tail; take the file from a backup or record again"
        )
    return packet_end


def _cut(kept: _Kept) -> None:
    """Truncate a segment to its whole rows and say so in its header."""
    descriptor = os.open(kept.path, os.O_RDWR | os.O_CLOEXEC)
    try:
        count = np.array([kept.rows], dtype="<i8").tobytes()
        assert HEADER.fields is not None
        for name in ("head", "capacity"):
            os.pwrite(descriptor, count, HEADER.fields[name][1])
        os.ftruncate(descriptor, HEADER_BYTES + kept.rows * ROW_BYTES)
    finally:
        os.close(descriptor)


def _compare(folder: Path, info: TapeInfo, blocks: list[str], rows: int) -> None:
    """Refuse a tape whose complete blocks are not those it was closed with."""
    complete = rows // BLOCK_ROWS
    for number, (was, found) in enumerate(zip(info.block_sha256, blocks, strict=False)):
        if number < complete and was != found:
            raise DataError(
                f"{folder}: rows {number * BLOCK_ROWS} and on were changed after closing"
            )


def _refuse_living_writer(folder: Path) -> None:
    """Refuse to touch a tape that a living process writes: it holds a lock on the folder."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        raise DataError(f"{folder}: is being written by another process") from None
    finally:
        os.close(descriptor)
