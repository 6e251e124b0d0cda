"""Bring the depth rows of files into the order in which a book must apply them."""

from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from engine.book_sync import CHAINED, FIRST_TO_LAST, BookSync, Delta, GapReason, SyncRule
from engine.row_arrays import join_rows
from engine.rows import LAST, ROW, SNAPSHOT, SNAPSHOT_START, Kind
from engine.wire_formats import DepthIdsOf

NOT_NEEDED = "depth older than the snapshot, or before it"


def whole_packets(batches: Iterator[np.ndarray], marked: bool) -> Iterator[np.ndarray]:
    """Yield depth batches that end with a packet; set the marks where the file has none."""
    held: np.ndarray | None = None
    for batch in batches:
        rows = batch if held is None else join_rows([held, batch])
        ends = np.flatnonzero(rows["flags"] & LAST) if marked else packet_starts(rows)[1:] - 1
        cut = int(ends[-1]) + 1 if len(ends) else 0
        held = rows[cut:]
        if cut:
            yield rows[:cut] if marked else _marked(rows[:cut])
    if held is not None and len(held):
        held["flags"][-1] |= LAST
        yield held if marked else _marked(held)


def packet_starts(rows: np.ndarray) -> np.ndarray:
    """Return int64[p]: where packets begin, of rows without marks."""
    same = np.ones(max(len(rows) - 1, 0), dtype=bool)
    for name in ("ts_recv", "ts_event", "i3", "instrument"):
        same &= rows[name][1:] == rows[name][:-1]
    snapshot = rows["flags"] & SNAPSHOT
    same &= snapshot[1:] == snapshot[:-1]
    return np.flatnonzero(np.concatenate([[True], ~same])) if len(rows) else np.zeros(0, np.int64)


def _marked(rows: np.ndarray) -> np.ndarray:
    """Return rows with LAST at the ends of packets and SNAPSHOT_START where a full book begins."""
    starts = packet_starts(rows)
    flags = rows["flags"].copy()
    flags[starts] |= np.where(flags[starts] & SNAPSHOT, SNAPSHOT_START, 0).astype(np.uint16)
    flags[np.concatenate([starts[1:], [len(rows)]]) - 1] |= LAST
    rows["flags"] = flags
    return rows


def gap_row(
    instrument: int, reason: GapReason, ts_from: int, ts_recv: int, ts_event: int = 0
) -> np.ndarray:
    """Return ROW[1]: a gap from `ts_from` to the time when it was found."""
    rows = np.zeros(1, ROW)
    rows["kind"] = Kind.GAP
    rows["flags"] = LAST
    rows["instrument"] = instrument
    rows["ts_recv"] = ts_recv
    rows["ts_event"] = ts_event
    rows["i0"] = ts_from
    rows["i1"] = ts_recv or ts_event
    rows["i2"] = reason
    return rows


class Place(NamedTuple):
    """Whose packet it is, and when it came."""

    instrument: int
    ts_recv: int
    ts_event: int = 0


class _Ids(NamedTuple):
    """The ids of a packet in a file."""

    first_id: int
    last_id: int
    prev_id: int
    snapshot: bool
    instrument: int


class PacketSync:
    """The sync of one instrument over packets of rows, with gap rows where the sequence breaks."""

    def __init__(self, rule: SyncRule) -> None:
        """Start with nothing known."""
        self.sync: BookSync[np.ndarray] = BookSync(rule)
        self._last_ts = 0
        self.lost_rows = 0  # rows of packets that were never applied

    def take(self, packet: np.ndarray, ids: DepthIdsOf, place: "Place") -> list[np.ndarray]:
        """Take one packet, possibly without rows; return what a book must apply now, in order."""
        found: list[np.ndarray] = []
        if ids.snapshot:
            found = self.sync.on_snapshot(ids.last_id, packet)
        else:
            delta = Delta(ids.first_id, ids.last_id, ids.prev_id, packet)
            applied = self.sync.on_delta(delta)
            found = [] if applied is None else [applied]
        if found:
            self._last_ts = place.ts_recv or place.ts_event
        if self.sync.gap is not None:
            found.append(
                gap_row(
                    place.instrument, self.sync.gap, self._last_ts, place.ts_recv, place.ts_event
                )
            )
        return found

    def lose(self, reason: GapReason, instrument: int, ts_recv: int) -> list[np.ndarray]:
        """Forget the book; return the gap row if one was known."""
        if not self.sync.lose(reason):
            return []
        return [gap_row(instrument, reason, self._last_ts, ts_recv)]


def rule_of(fields: dict[str, str]) -> SyncRule | None:
    """Return the sync rule that the columns of a depth file allow, None for none."""
    if "flags" in fields or "last_id" not in fields:
        return None
    if "prev_id" in fields:
        return CHAINED  # on venues without chain the column holds -1, see synced
    return FIRST_TO_LAST if "first_id" in fields else None


def synced(
    batches: Iterator[np.ndarray], rule: SyncRule, dropped: Counter[str]
) -> Iterator[np.ndarray]:
    """Yield the rows that a book must apply, from batches of whole packets of one instrument."""
    packets: PacketSync | None = None
    counted = 0
    for rows in batches:
        if packets is None:
            deltas = rows[rows["flags"] & SNAPSHOT == 0]
            chained = rule.chained and len(deltas) > 0 and bool((deltas["i2"] >= 0).any())
            packets = PacketSync(CHAINED if chained else FIRST_TO_LAST)
        found = _continued(rows, packets)
        if found is None:
            found = _one_by_one(rows, packets)
        counted += len(rows)
        counted -= sum(int(np.count_nonzero(part["kind"] == Kind.DEPTH)) for part in found)
        if found:
            yield join_rows(found)
    if counted:
        dropped[NOT_NEEDED] += counted


def _continued(rows: np.ndarray, packets: PacketSync) -> list[np.ndarray] | None:
    """Return a batch as it is if each packet plainly follows the one before, else None."""
    sync = packets.sync
    if sync.needs_snapshot or (rows["flags"] & SNAPSHOT).any():
        return None
    starts = np.flatnonzero(np.concatenate([[True], rows["flags"][:-1] & LAST != 0]))
    first, last, prev = (rows[name][starts] for name in ("i4", "i3", "i2"))
    before = np.concatenate([[sync.book_id], last[:-1]])
    follows = prev == before if sync.rule.chained else first == before + 1
    if not (follows.all() and (last > before).all()):
        return None
    sync.advance(int(last[-1]))
    packets._last_ts = int(rows["ts_recv"][-1] or rows["ts_event"][-1])
    return [rows]


def _one_by_one(rows: np.ndarray, packets: PacketSync) -> list[np.ndarray]:
    """Take the packets of a batch one after the other."""
    ends = np.flatnonzero(rows["flags"] & LAST) + 1
    found: list[np.ndarray] = []
    start = 0
    for end in ends.tolist():
        packet = rows[start:end]
        head = packet[0]
        snapshot = bool(head["flags"] & SNAPSHOT)
        number, recv, event = (int(head[name]) for name in ("instrument", "ts_recv", "ts_event"))
        ids = _Ids(int(head["i4"]), int(head["i3"]), int(head["i2"]), snapshot, number)
        found += packets.take(packet, ids, Place(number, recv, event))
        start = end
    return found
