"""Take the messages of one connection onto the live tape: in order, once, and whole or with a gap.

No socket, no task, no clock: a feed hands over messages and times, and is told by `wants` what to
fetch. Rows are decoded in place behind the tape's end and published only if they belong there:

- trades and quotes whose ids do not rise are repeats: counted, never applied backwards; a run of
  them means that the venue began its ids anew;
- depth goes through BookSync: in place while it follows, else kept until a snapshot reaches it;
- while an instrument is warming, its rows are held until its history stands on the tape;
- nothing for too long, too many unreadable messages, or rows that were lost: a GAP row.
"""

import struct
from collections import deque
from collections.abc import Callable, Sequence

import numpy as np

from engine.book_sync import BookSync, Delta, GapReason, SyncRule
from engine.feed_health import EndReason, FeedHealth, FeedState, InstrumentHealth
from engine.live_tape import LiveTape, row_head
from engine.rows import LAST, ROW, ROW_BYTES, Kind
from venues.binance_messages import MessageDecoder
from venues.lines import MAX_REPEATS, Event, IntakeLimits, Line, StreamIds, Want

MAX_HELD_ROWS = 1 << 18  # 16 MiB an instrument, while its history is fetched
APPEND_ROWS = 1024  # history rows published at one go
IN_PLACE = b"in place"  # stands for the rows that were just decoded; compared by identity

_QUOTE, _TRADE, _DEPTH = int(Kind.QUOTE), int(Kind.TRADE), int(Kind.DEPTH)
_GAP_ROW = struct.Struct("<qqHBbHHqqqqq")
_WORD = struct.Struct("<q").unpack_from
_ID_AT = {_QUOTE: 56, _TRADE: 40}


class Intake:
    """The state of all instruments of one feed. See the head of this file."""

    def __init__(
        self,
        tape: LiveTape,
        indices: Sequence[int],
        rule: SyncRule,
        limits: IntakeLimits,
        *,
        on_event: Event,
        wants: Callable[[Want, Line], None],
    ) -> None:
        """Take the tape and which of its instruments this feed brings."""
        table = tape.instruments
        self.tape = tape
        self.limits = limits
        self.fresh = False  # rows were published since somebody looked
        self.lost = False  # rows were not published: the tape is exhausted
        self.lines: dict[int, Line] = {}
        self.health = FeedHealth(
            instruments=[InstrumentHealth(symbol=table[index].symbol) for index in indices]
        )
        self._rule = rule
        self._event = on_event
        self._wants = wants
        self._errors: deque[int] = deque()  # of messages that name no instrument
        for index, health in zip(indices, self.health.instruments, strict=True):
            self.lines[index] = Line(index, table[index], health)
        self.by_symbol = {line.instrument.symbol: line for line in self.lines.values()}
        self.decoder = MessageDecoder(
            {symbol: line.index for symbol, line in self.by_symbol.items()},
            {index: table[index].tick_size for index in indices},
        )
        self._decode = self.decoder.decode_into

    # --- a connection comes and goes -------------------------------------------------------------

    def connected(self, now_ns: int) -> None:
        """Begin a connection: nothing is known of any book, ids may begin anew."""
        self.tape.push(row_head(Kind.CONNECT), 0, now_ns)
        self.fresh = True
        self.health.connected = True
        self.health.connects += 1
        self._errors.clear()
        for line in self.lines.values():
            line.quotes, line.trades = StreamIds(), StreamIds()
            line.book_repeats = 0
            line.since_ns, line.last_ns = now_ns, 0
            line.sync = BookSync(self._rule) if "depth" in line.instrument.has else None
            line.health.book_synced = False
            self._start(line, ask=False)

    def disconnected(self, reason: EndReason, now_ns: int) -> None:
        """End a connection: what was held is dropped, the kernel distrusts every instrument."""
        self.tape.push(row_head(Kind.DISCONNECT), 0, now_ns, (0, int(reason), 0, 0, 0))
        self.fresh = True
        self.health.connected = False
        self.health.last_end = reason
        for line in self.lines.values():
            line.held = None
            line.health.state = FeedState.OFF
            line.health.book_synced = False

    def _start(self, line: Line, *, ask: bool = True) -> None:
        """Hold the rows of an instrument until its history is there, where history is wanted."""
        line.held = [] if self.limits.warms else None
        line.held_rows = 0
        line.health.state = FeedState.WARMING if self.limits.warms else FeedState.LIVE
        if ask and self.limits.warms:
            self._wants(Want.HISTORY, line)

    # --- messages --------------------------------------------------------------------------------

    def take(self, message: bytes, ts_recv: int) -> bytes | None:
        """Take one message.

        Args:
            message: as received.
            ts_recv: our stamp, ns.
        Returns:
            None, or the message if it holds no market data: the feed must look at it.
        """
        health, tape = self.health, self.tape
        health.messages += 1
        health.bytes += len(message)
        if tape.exhausted:
            health.dropped_messages += 1
            self.lost = True
            return None
        at = tape.at
        count = self._decode(message, tape.memory, at, ts_recv)
        if count < 0:
            if not tape.reserve(self.decoder.needed_rows):
                health.dropped_messages += 1
                self.lost = True
                return None
            at = tape.at
            count = self._decode(message, tape.memory, at, ts_recv)
        if count == 0:
            return self._without_rows(message, ts_recv)
        memory = tape.memory
        offset = at * ROW_BYTES
        line = self.lines[memory[offset + 16] | memory[offset + 17] << 8]
        self._heard(line, ts_recv)
        kind = memory[offset + 18]
        if kind == _DEPTH:
            self._depth(line, count, ts_recv)
            return None
        ident = _WORD(memory, offset + _ID_AT[kind])[0]
        ids = line.quotes if kind == _QUOTE else line.trades
        if ident <= ids.last:
            self._repeated(line, ids, ident, ts_recv)
            return None
        if kind != _QUOTE:
            line.skew_ns = ts_recv - _WORD(memory, offset)[0]
            if ident > ids.last + 1 and ids.last >= 0:
                self._trade_hole(line, ident - ids.last - 1)
        ids.last = ident
        ids.repeats = 0
        self._emit(line, count)
        return None

    def _heard(self, line: Line, ts_recv: int) -> None:
        """Note that an instrument lives."""
        line.last_ns = ts_recv
        health = line.health
        health.last_ns = ts_recv
        health.messages += 1
        if health.state == FeedState.STALE:
            self._event("feed.resumed", {"symbol": health.symbol})
            self._start(line)

    def _emit(self, line: Line, count: int) -> None:
        """Publish the rows behind the tape's end, or hold them."""
        tape = self.tape
        if line.held is not None:
            start = tape.at * ROW_BYTES
            self._hold(line, bytes(tape.memory[start : start + count * ROW_BYTES]))
        elif tape.commit(count):
            self.fresh = True
            self.health.rows += count
        else:
            self.lost = True

    def _emit_bytes(self, line: Line, packet: bytes) -> None:
        """Publish or hold one packet that stands elsewhere."""
        if packet and line.held is not None:
            self._hold(line, packet)
        elif packet:
            self._append(np.frombuffer(packet, ROW))

    def _append(self, rows: np.ndarray) -> None:
        """Publish packets; the last row carries LAST."""
        if self.tape.append(rows):
            self.fresh = True
            self.health.rows += len(rows)
        else:
            self.lost = True

    def _hold(self, line: Line, packet: bytes) -> None:
        """Keep a packet until the history is there; give that up when it takes too long."""
        assert line.held is not None
        line.held.append(packet)
        line.held_rows += len(packet) // ROW_BYTES
        if line.held_rows > MAX_HELD_ROWS:
            self.give_up_history(line, "too many rows wait for it")

    def _repeated(self, line: Line, ids: StreamIds, ident: int, ts_recv: int) -> None:
        """Count a message that was there before; after a run of them begin anew."""
        line.health.duplicates += 1
        if ids.began_anew():
            ids.last = ident
            ids.repeats = 0
            self.gap(line, GapReason.LOST, ts_recv)

    def _trade_hole(self, line: Line, missing: int) -> None:
        """Say that trades never came: the bar they belong to is not whole."""
        line.health.trade_holes += missing
        self._event("feed.trade_hole", {"symbol": line.health.symbol, "missing": missing})

    # --- depth -----------------------------------------------------------------------------------

    def _depth(self, line: Line, count: int, ts_recv: int) -> None:
        """Take an update of the book, `count` rows behind the tape's end (0 to none)."""
        ids, sync = self.decoder.depth, line.sync
        if sync is None or ids is None:
            return
        packet = IN_PLACE
        if sync.needs_snapshot or ids.first_id > sync.book_id + 1:
            start = self.tape.at * ROW_BYTES
            packet = bytes(self.tape.memory[start : start + count * ROW_BYTES])
        dropped = sync.dropped
        applied = sync.on_delta(Delta(ids.first_id, ids.last_id, ids.prev_id, packet))
        if applied is IN_PLACE:
            line.book_repeats = 0
            if count:
                self._emit(line, count)
        elif sync.gap is not None:
            self._book_gap(line, ts_recv)
        elif sync.dropped > dropped and not sync.needs_snapshot:
            line.health.duplicates += 1
            line.book_repeats += 1
            if line.book_repeats > MAX_REPEATS:
                sync.lose(GapReason.SEQUENCE)
                self._book_gap(line, ts_recv)
        else:
            self._wants(Want.SNAPSHOT, line)

    def _book_gap(self, line: Line, ts_recv: int) -> None:
        """Say that the book is torn, and ask for another one."""
        line.book_repeats = 0
        line.health.book_synced = False
        self._gap_row(line, GapReason.SEQUENCE, ts_recv)
        self._wants(Want.SNAPSHOT, line)

    def take_snapshot(self, line: Line, reply: bytes, ts_recv: int) -> bool:
        """Take a full book; False if it does not reach what is known: another one is needed."""
        tape, sync = self.tape, line.sync
        if sync is None or tape.exhausted:
            return False
        symbol = line.instrument.symbol
        count = self._decode(reply, tape.memory, tape.at, ts_recv, symbol)
        if count < 0 and tape.reserve(self.decoder.needed_rows):
            count = self._decode(reply, tape.memory, tape.at, ts_recv, symbol)
        ids = self.decoder.depth
        if count <= 0 or ids is None or not ids.snapshot:
            return False
        packets = sync.on_snapshot(ids.last_id, IN_PLACE)
        if not packets:
            return False
        self._emit(line, count)
        for packet in packets[1:]:
            self._emit_bytes(line, packet)
        if sync.gap is not None:
            self._book_gap(line, ts_recv)
            return False
        line.health.snapshots += 1
        line.health.book_synced = True
        return True

    # --- gaps and history ------------------------------------------------------------------------

    def gap(self, line: Line, reason: GapReason, now_ns: int) -> None:
        """Say that an instrument's data is torn as a whole; its history is then fetched again."""
        line.held = None
        if line.sync is not None:
            line.sync.lose(reason)
            line.health.book_synced = False
        line.errors.clear()
        self._gap_row(line, reason, now_ns)
        if reason == GapReason.STALE:
            line.health.state = FeedState.STALE
        else:
            self._start(line)

    def _gap_row(self, line: Line, reason: GapReason, now_ns: int) -> None:
        """Put a GAP row where the rows of the instrument go."""
        since = line.last_ns or line.since_ns
        line.health.gaps += 1
        self._event("feed.gap", {"symbol": line.health.symbol, "reason": reason.name.lower()})
        payload = (since, now_ns, int(reason), 0, 0)
        if line.held is None:
            self.tape.push(row_head(Kind.GAP, line.index), 0, now_ns, payload)
            self.fresh = True
        else:
            head = (0, now_ns, line.index, int(Kind.GAP), 0, LAST, 0)
            self._hold(line, _GAP_ROW.pack(*head, *payload))

    def first_held_trade(self, line: Line) -> int:
        """Return the id of the first trade that is held, -1 if none is."""
        for packet in line.held or ():
            if packet[18] == _TRADE:
                return int(_WORD(packet, 40)[0])
        return -1

    def take_history(self, line: Line, rows: np.ndarray, last_trade_id: int) -> None:
        """Publish an instrument's history and what was held meanwhile, less what both have.

        Args:
            rows: ROW[n] of packets of one row, in order of time.
            last_trade_id: trades up to it are in the history.
        """
        held, line.held = line.held or [], None
        line.health.state = FeedState.LIVE
        for start in range(0, len(rows), APPEND_ROWS):
            self._append(rows[start : start + APPEND_ROWS])
        line.health.history_rows += len(rows)
        line.trades.last = max(line.trades.last, last_trade_id)
        for packet in held:
            trade = packet[18] == _TRADE
            if not (trade and _WORD(packet, 40)[0] <= last_trade_id):
                self._append(np.frombuffer(packet, ROW))

    def give_up_history(self, line: Line, why: str) -> None:
        """Go on without history."""
        self._event("feed.history_failed", {"symbol": line.health.symbol, "why": why})
        self.take_history(line, np.zeros(0, ROW), -1)

    # --- time ------------------------------------------------------------------------------------

    def tick(self, now_ns: int) -> list[Line]:
        """Look at the clock, some twenty times a second.

        Returns:
            the instruments that became stale now; all of them when nothing came from any.
        """
        if self.lost and not self.tape.exhausted:
            self.lost = False
            for line in self.lines.values():
                self.gap(line, GapReason.LOST, now_ns)
        limits = self.limits
        late = [line for line in self.lines.values() if line.age_ns(now_ns) > limits.stale_ns]
        if len(late) == len(self.lines):
            return late
        found = [line for line in late if line.health.state != FeedState.STALE]
        for line in found:
            self._event("feed.stale", {"symbol": line.health.symbol})
            self.gap(line, GapReason.STALE, now_ns)
        for line in self.lines.values():
            if abs(line.skew_ns) > limits.max_skew_ns:
                self._event("feed.skew", {"symbol": line.health.symbol, "skew_ns": line.skew_ns})
        return found

    # --- messages without market data ------------------------------------------------------------

    def _without_rows(self, message: bytes, ts_recv: int) -> bytes | None:
        """Take what the decoder has no rows for: an empty update, an answer, or an error."""
        ids = self.decoder.depth
        if ids is not None and not ids.snapshot and ids.instrument in self.lines:
            line = self.lines[ids.instrument]
            self._heard(line, ts_recv)
            self._depth(line, 0, ts_recv)
            return None
        return message

    def take_bar(self, line: Line, row: np.ndarray) -> None:
        """Publish a closed bar of an instrument whose bars are the venue's, ROW[1]."""
        self._heard(line, int(row["ts_recv"][0]))
        self._emit_bytes(line, row.tobytes())

    def bad_message(self, symbol: str, why: str, now_ns: int) -> bool:
        """Count a message that cannot be read.

        Args:
            symbol: whose it was, empty where it does not say.
        Returns:
            True when so many that name no instrument came that the connection must end.
        """
        line = self.by_symbol.get(symbol)
        self.health.decode_errors += 1
        if line is not None:
            line.health.decode_errors += 1
        self._event("feed.decode_error", {"symbol": symbol, "why": why})
        errors = self._errors if line is None else line.errors
        errors.append(now_ns)
        while errors[0] < now_ns - self.limits.error_window_ns:
            errors.popleft()
        if len(errors) < self.limits.max_decode_errors:
            return False
        errors.clear()
        if line is None:
            return True
        self.gap(line, GapReason.BAD_MESSAGE, now_ns)
        return False
