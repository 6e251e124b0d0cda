"""Read a tape: mapped segments of 64-byte rows. The tape is the ring; tape_writer.py writes it."""

from pathlib import Path

import numpy as np

from engine.errors import DataError
from engine.instruments import Instrument
from engine.rows import LAST
from engine.tape_info import BLOCK_ROWS, TapeInfo, content_sha256, read_info, segment_paths
from engine.tape_repair import block_hashes, repair_tape
from engine.tape_segment import Segment, whole_rows
from engine.tape_writer import TapeWriter

__all__ = ["Segment", "Tape", "TapeInfo", "TapeWriter"]

TAIL_ROWS = 1024  # rows at the end of each segment that are checked when a tape is opened


class Tape:
    """A closed tape, mapped read-only. The mapping lives as long as this object and its views."""

    def __init__(
        self, folder: Path, info: TapeInfo, segments: list[Segment], repaired: str
    ) -> None:
        """Hold what `open` found."""
        self.folder = folder
        self.info = info
        self.segments = segments
        self.repaired = repaired  # what a repair cut, one line; empty if nothing was repaired

    @classmethod
    def open(cls, folder: Path, *, repair: bool = False) -> "Tape":
        """Map a tape and check its frame: headers, sizes, and the last rows of each segment.

        Args:
            folder: the tape folder.
            repair: cut a torn tail off first (changes the files); see `repaired`.
        Raises:
            DataError: no tape, torn and `repair` is off, or damaged in the middle.
        """
        folder = Path(folder)
        info = read_info(folder)
        try:
            return cls(folder, info, _mapped(folder, info), "")
        except DataError:
            if not repair:
                raise
        note = repair_tape(folder)
        info = read_info(folder)
        return cls(folder, info, _mapped(folder, info), note)

    @property
    def instruments(self) -> tuple[Instrument, ...]:
        """The table that `instrument` of a row is an index into."""
        return self.info.instruments

    def release(self, row: int) -> None:
        """Let go of the pages before row number `row`, so that resident memory does not grow."""
        for segment in self.segments:
            if segment.first_row >= row:
                break
            segment.release(row)

    def verify(self) -> None:
        """Check every row, packet and block hash.

        Raises:
            DataError: names the first bad row.
        """
        for segment in self.segments:
            for first, rows in segment.strides():
                good = whole_rows(rows, first)
                good &= rows["instrument"] < len(self.instruments)
                if not good.all():
                    bad = first + int(np.flatnonzero(~good)[0])
                    raise DataError(f"{segment.path}: row {bad} is damaged")
        blocks = block_hashes(self.segments, self.info.rows)
        for number, (was, found) in enumerate(zip(self.info.block_sha256, blocks, strict=True)):
            if was != found:
                first = number * BLOCK_ROWS
                raise DataError(
                    f"{self.folder}: a row in {first}..{first + BLOCK_ROWS - 1} was changed"
                )
        info = self.info
        if content_sha256(info.instruments, info.wakes, info.rows, blocks) != info.sha256:
            raise DataError(f"{self.folder}: tape.json was changed (instruments, wakes or rows)")


def _mapped(folder: Path, info: TapeInfo) -> list[Segment]:
    """Map the segments of a tape that is whole.

    Raises:
        DataError: it is not.
    """
    advice = f"(python lab.py data repair {folder} keeps what is whole)"
    if not info.closed:
        raise DataError(f"{folder}: the tape was never closed, its writer died or runs {advice}")
    segments: list[Segment] = []
    next_row = 0
    for path in segment_paths(folder):
        segment = Segment(path)
        if segment.first_row != next_row or segment.wakes != info.wakes:
            raise DataError(f"{path}: does not belong to this tape")
        if len(segment.rows) < segment.head:
            missing = segment.head - len(segment.rows)
            raise DataError(f"{path}: torn, the last {missing} rows are missing {advice}")
        _check_tail(segment, advice)
        segments.append(segment)
        next_row = segment.stop_row
    if next_row != info.rows:
        raise DataError(f"{folder}: torn, {next_row} of {info.rows} rows are there {advice}")
    return segments


def _check_tail(segment: Segment, advice: str) -> None:
    """Check the last rows of a segment: their checks, and that the last packet is whole."""
    count = min(TAIL_ROWS, len(segment.rows))
    if count == 0:
        return
    tail = segment.rows[-count:]
    good = whole_rows(tail, segment.stop_row - count)
    if not good.all():
        bad = segment.stop_row - count + int(np.flatnonzero(~good)[0])
        raise DataError(f"{segment.path}: torn, row {bad} is not whole {advice}")
    if not tail["flags"][-1] & LAST:
        raise DataError(f"{segment.path}: torn inside the last packet {advice}")
