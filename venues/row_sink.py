"""Where an instrument's rows go: onto the tape, or held until its history stands there."""

import struct
from collections.abc import Callable

import numpy as np

from engine.book_sync import GapReason
from engine.live_tape import LiveTape
from engine.row_words import row_head
from engine.rows import LAST, ROW, ROW_BYTES, Kind
from venues.lines import Line

MAX_HELD_ROWS = 1 << 18  # 16 MiB an instrument, while its history is fetched
_PACK_ROW = struct.Struct("<qqHBbHHqqqqq").pack


class RowSink:
    """Publishes or holds packets.

    Attributes:
        fresh: rows were published since somebody looked.
        lost: rows were not published, for want of room.
        rows: how many were published here.
    """

    def __init__(self, tape: LiveTape, on_overflow: Callable[[Line], None]) -> None:
        """Take the tape, and whom to tell that too many rows of an instrument are held."""
        self.fresh = False
        self.lost = False
        self.rows = 0
        self._tape = tape
        self._on_overflow = on_overflow

    def emit(self, line: Line, count: int) -> None:
        """Publish the `count` rows behind the tape's end, or hold a copy of them."""
        tape = self._tape
        if line.held is not None:
            start = tape.at * ROW_BYTES
            self._hold(line, bytes(tape.memory[start : start + count * ROW_BYTES]))
        elif tape.commit(count):
            self.fresh = True
            self.rows += count
        else:
            self.lost = True

    def put(self, line: Line, packet: bytes) -> None:
        """Publish or hold one packet that stands elsewhere; an empty one is nothing."""
        if packet and line.held is not None:
            self._hold(line, packet)
        elif packet:
            self.append(np.frombuffer(packet, ROW))

    def append(self, rows: np.ndarray) -> None:
        """Publish packets; the last row carries LAST."""
        if self._tape.append(rows):
            self.fresh = True
            self.rows += len(rows)
        else:
            self.lost = True

    def gap_row(self, line: Line, reason: GapReason, now_ns: int) -> None:
        """Publish or hold a GAP row, from the last message on; in the reserved room if need be."""
        payload = (line.last_ns or line.since_ns, now_ns, int(reason), 0, 0)
        if line.held is None:
            self._tape.push(row_head(Kind.GAP, line.index), 0, now_ns, payload)
            self.fresh = True
        else:
            head = (0, now_ns, line.index, int(Kind.GAP), 0, LAST, 0)
            self._hold(line, _PACK_ROW(*head, *payload))

    def status_row(self, line: Line, now_ns: int) -> None:
        """Publish whether the venue trades the instrument (1: it does not)."""
        halted = int(line.health.halted)
        self._tape.push(row_head(Kind.STATUS, line.index), 0, now_ns, (halted, 0, 0, 0, 0))
        self.fresh = True

    def _hold(self, line: Line, packet: bytes) -> None:
        """Keep a packet until the history is there."""
        assert line.held is not None
        line.held.append(packet)
        line.held_rows += len(packet) // ROW_BYTES
        if line.held_rows > MAX_HELD_ROWS:
            self._on_overflow(line)
