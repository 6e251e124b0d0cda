"""Write a tape: whole packets into preallocated, mapped segments; rows first, `head` last."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType

import numpy as np

from engine.errors import RunError
from engine.instruments import Instrument
from engine.row_arrays import copy_rows
from engine.rows import LAST, ROW, row_checks
from engine.tape_hash import BlockHashes
from engine.tape_info import (
    WAKES,
    SourceFile,
    TapeInfo,
    content_sha256,
    segment_path,
    write_info,
)
from engine.tape_open import OpenSegment, begin_folder

SEGMENT_ROWS = 1 << 22  # 256 MiB
STRIDE_ROWS = 1 << 16  # rows copied at once, so that scratch memory stays small


class TapeWriter:
    """The one writer of a tape. Readers may map the segments while it writes.

    A packet (rows up to one with the flag LAST) never straddles segments: one that does not fit
    goes into the next segment, and the file is cut to what it holds. Row numbers have no holes.
    """

    def __init__(
        self,
        folder: Path,
        instruments: Sequence[Instrument],
        wakes: str = "implied",
        segment_rows: int = SEGMENT_ROWS,
    ) -> None:
        """Create the folder (0700), `tape.json` and the first segment (0600).

        Args:
            folder: must not hold a tape yet.
            instruments: the tape's table; `instrument` of a row is an index into it.
            wakes: "implied" (end of each packet and due timers) or "recorded".
            segment_rows: capacity of a segment; no packet may be longer.
        Raises:
            RunError: no space, or the folder cannot be written.
        """
        assert wakes in WAKES
        assert segment_rows > 0
        assert 0 < len(instruments) < 1 << 16
        self._folder = folder
        self._instruments = tuple(instruments)
        self._wakes = wakes
        self._segment_rows = segment_rows
        self._segment: OpenSegment | None = None
        self._segments = 0
        self._rows = 0
        self._hashes = BlockHashes()
        self._lock = begin_folder(folder, TapeInfo(wakes=wakes, instruments=self._instruments))
        self._next_segment()

    @property
    def rows(self) -> int:
        """Rows written so far; the number of the next row."""
        return self._rows

    def append(self, rows: np.ndarray) -> None:
        """Append whole packets.

        Args:
            rows: ROW[n]; the last one carries LAST. `check` is filled in on the tape, not here.
        Raises:
            RunError: no space for the next segment, or a packet longer than one.
        """
        assert rows.dtype == ROW
        if len(rows) == 0:
            return
        assert rows["flags"][-1] & LAST, "a packet is cut off"
        start = 0
        while start < len(rows):
            assert self._segment is not None, "the tape is closed"
            room = self._segment.room
            stop = len(rows) if len(rows) - start <= room else _packet_end(rows, start, room)
            if stop == start:
                if self._segment.head == 0:
                    raise RunError(
                        f"{self._folder}: a packet is longer than {self._segment_rows} rows"
                    )
                self._next_segment()
                continue
            for k in range(start, stop, STRIDE_ROWS):
                self._put(rows[k : min(k + STRIDE_ROWS, stop)])
            self._segment.publish()
            start = stop

    def close(
        self,
        *,
        instruments: Sequence[Instrument] | None = None,
        sources: Sequence[SourceFile] = (),
        dropped: Mapping[str, int] | None = None,
        notes: Sequence[str] = (),
        sync: bool = False,
    ) -> TapeInfo:
        """Cut the last segment to what it holds and write the final `tape.json`.

        Args:
            instruments: the table as it was learnt while writing, if other than at the start.
            sources: the files that the rows were made from.
            dropped: reason -> number of source rows that are not on the tape.
            notes: lines for the reader of the tape.
            sync: force it to the disk before returning.
        """
        assert self._segment is not None, "the tape is closed"
        if instruments is not None:
            assert len(instruments) == len(self._instruments)
            self._instruments = tuple(instruments)
        self._segment.finish(sync=sync)
        self._segment.close()
        self._segment = None
        blocks = self._hashes.all_blocks()
        info = TapeInfo(
            wakes=self._wakes,
            instruments=self._instruments,
            rows=self._rows,
            block_sha256=tuple(blocks),
            sha256=content_sha256(self._instruments, self._wakes, self._rows, blocks),
            sources=tuple(sources),
            dropped=dict(sorted((dropped or {}).items())),
            notes=tuple(notes),
        )
        write_info(self._folder, info)
        self.abandon()
        return info

    def abandon(self) -> None:
        """Let go of the segment without finishing the tape: it stays as after a crash."""
        if self._segment is not None:
            self._segment.close()
            self._segment = None
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def __enter__(self) -> "TapeWriter":
        """Return itself; leaving by an error abandons the tape."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        """Abandon what was not closed."""
        self.abandon()

    def _put(self, rows: np.ndarray) -> None:
        """Copy rows that fit into the open segment, without publishing them."""
        assert self._segment is not None
        whole = copy_rows(rows)
        whole["check"] = row_checks(whole, self._rows)
        self._segment.put(whole)
        self._rows += len(whole)
        self._hashes.add(whole)

    def _next_segment(self) -> None:
        """Finish the open segment and start the next one."""
        if self._segment is not None:
            self._segment.finish(sync=False)
            self._segment.close()
            self._segment = None
        path = segment_path(self._folder, self._segments)
        self._segment = OpenSegment(path, self._segment_rows)
        self._segment.begin(self._rows, self._wakes)
        self._segments += 1


def _packet_end(rows: np.ndarray, start: int, room: int) -> int:
    """Return the end of the last packet that ends in rows[start:start + room], or start."""
    ends = np.flatnonzero(rows["flags"][start : start + room] & LAST)
    return start + int(ends[-1]) + 1 if len(ends) else start
