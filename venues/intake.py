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
from engine.live_tape import LiveTape
from engine.row_words import row_head
from engine.rows import ROW, ROW_BYTES, Kind
from venues.admit import STATE, WORDS
from venues.binance_fast import PUBLISHED
from venues.binance_messages import MessageDecoder
from venues.lines import (
    BYTES,
    LAST_NS,
    MAX_REPEATS,
    MESSAGES,
    ROWS,
    SKEW_NS,
    Event,
    IntakeLimits,
    Line,
    StreamIds,
    Want,
)
from venues.row_sink import RowSink

APPEND_ROWS = 1024  # history rows published at one go
IN_PLACE = b"in place"  # stands for the rows that were just decoded; compared by identity

_QUOTE, _TRADE, _DEPTH = int(Kind.QUOTE), int(Kind.TRADE), int(Kind.DEPTH)
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
        self.sink = RowSink(tape, self._too_many_held)
        self.lines: dict[int, Line] = {}
        self._health = FeedHealth(
            instruments=[InstrumentHealth(symbol=table[index].symbol) for index in indices]
        )
        self._states = np.zeros(len(table), STATE)
        self._address = int(self._states.ctypes.data)
        self._other = [0, 0]  # messages without an instrument, bytes of what was taken slowly
        self._rule = rule
        self._event = on_event
        self._wants = wants
        self._errors: deque[int] = deque()  # of messages that name no instrument
        words = memoryview(self._states.view(np.uint8)).cast("B").cast("q")
        for index, health in zip(indices, self._health.instruments, strict=True):
            own = words[index * len(WORDS) : (index + 1) * len(WORDS)]
            self.lines[index] = Line(index, table[index], health, own)
        self.by_symbol = {line.instrument.symbol: line for line in self.lines.values()}
        self.decoder = MessageDecoder(
            {symbol: line.index for symbol, line in self.by_symbol.items()},
            {index: table[index].tick_size for index in indices},
        )
        self._decode, self._fast = self.decoder.decode_into, self.decoder.fast

    @property
    def health(self) -> FeedHealth:
        """Counters, up to date; the same object each time."""
        health = self._health
        health.messages = self._other[0] + sum(one.health.messages for one in self.lines.values())
        health.bytes = self._other[1] + sum(one.words[BYTES] for one in self.lines.values())
        health.rows = self.sink.rows + sum(one.words[ROWS] for one in self.lines.values())
        return health

    def connected(self, now_ns: int) -> None:
        """Begin a connection: nothing is known of any book, ids may begin anew."""
        self.tape.push(row_head(Kind.CONNECT), 0, now_ns)
        self.sink.fresh = True
        self._health.connected = True
        self._health.connects += 1
        self._errors.clear()
        for line in self.lines.values():
            line.quotes.follow(-1)
            line.trades.follow(-1)
            line.words[LAST_NS] = line.words[SKEW_NS] = 0
            line.book_repeats = 0
            line.since_ns = now_ns
            line.sync = BookSync(self._rule) if "depth" in line.instrument.has else None
            line.health.book_synced = False
            self._start(line, ask=False)

    def disconnected(self, reason: EndReason, now_ns: int) -> None:
        """End a connection: what was held is dropped, the kernel distrusts every instrument."""
        self.tape.push(row_head(Kind.DISCONNECT), 0, now_ns, (0, int(reason), 0, 0, 0))
        self.sink.fresh = True
        self._health.connected = False
        self._health.last_end = reason
        for line in self.lines.values():
            line.held = None
            line.state = FeedState.OFF
            line.health.book_synced = False

    def _start(self, line: Line, *, ask: bool = True) -> None:
        """Hold the rows of an instrument until its history is there, where history is wanted."""
        line.held = [] if self.limits.warms else None
        line.held_rows = 0
        line.state = FeedState.WARMING if self.limits.warms else FeedState.LIVE
        if ask and self.limits.warms:
            self._wants(Want.HISTORY, line)

    def take(self, message: bytes, ts_recv: int) -> bytes | None:
        """Take one message.

        Args:
            message: as received.
            ts_recv: our stamp, ns.
        Returns:
            None, or the message if it holds no market data: the feed must look at it.
        """
        tape, fast = self.tape, self._fast
        at, memory = tape.at, tape.memory
        count = 0
        if at < tape.limit and memory is fast.buffer:
            count = fast.publish(id(message), at, ts_recv, tape.first_row, self._address)
            if count == PUBLISHED:
                tape.at = at = at + 1
                if at >= tape.mark:
                    tape.passed_mark()
                self.sink.fresh = True
                return None
        count = count or self._decode(message, memory, at, ts_recv)
        return self._take_slowly(message, count, ts_recv)

    def _take_slowly(self, message: bytes, count: int, ts_recv: int) -> bytes | None:
        """Take a message that does not simply follow; `count` rows of it lie behind the end."""
        tape = self.tape
        self._other[1] += len(message)
        if tape.exhausted and count != 0:
            self._drop(ts_recv)
            return None
        if self.sink.lost and not tape.exhausted:
            self._mend(ts_recv)
            count = self._decode(message, tape.memory, tape.at, ts_recv)  # the gap stands there now
        if count < 0 or count > 0 and tape.at + count > tape.limit:
            if not tape.reserve(count if count > 0 else self.decoder.needed_rows):
                self._drop(ts_recv)
                return None
            count = self._decode(message, tape.memory, tape.at, ts_recv)
        if count == 0:
            return self._without_rows(message, ts_recv)
        memory = tape.memory
        offset = tape.at * ROW_BYTES
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
            line.words[SKEW_NS] = ts_recv - _WORD(memory, offset)[0]
            if ident > ids.last + 1 and ids.last >= 0:
                self._trade_hole(line, ident - ids.last - 1)
        ids.follow(ident)
        self.sink.emit(line, count)
        return None

    def _drop(self, ts_recv: int) -> None:
        """Count a message that finds no room: what comes after cannot follow. The stream lives."""
        self._health.dropped_messages += 1
        self.sink.lost = True
        for line in self.lines.values():
            line.words[LAST_NS] = ts_recv

    def _mend(self, now_ns: int) -> None:
        """Say that rows were lost, now that there is room again."""
        self.sink.lost = False
        for line in self.lines.values():
            self.gap(line, GapReason.LOST, now_ns)

    def _heard(self, line: Line, ts_recv: int) -> None:
        """Note that an instrument lives."""
        line.words[LAST_NS] = ts_recv
        line.words[MESSAGES] += 1
        if line.state == FeedState.STALE:
            self._event("feed.resumed", {"symbol": line.instrument.symbol})
            self._start(line)

    def _repeated(self, line: Line, ids: StreamIds, ident: int, ts_recv: int) -> None:
        """Count a message that was there before; after a run of them begin anew."""
        line.health.duplicates += 1
        if ids.began_anew():
            ids.follow(ident)
            self.gap(line, GapReason.LOST, ts_recv)

    def _trade_hole(self, line: Line, missing: int) -> None:
        """Say that trades never came: the bar they belong to is not whole."""
        line.health.trade_holes += missing
        self._event("feed.trade_hole", {"symbol": line.health.symbol, "missing": missing})

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
                self.sink.emit(line, count)
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
        self.sink.emit(line, count)
        for packet in packets[1:]:
            self.sink.put(line, packet)
        if sync.gap is not None:
            self._book_gap(line, ts_recv)
            return False
        line.health.snapshots += 1
        line.health.book_synced = True
        return True

    def gap(self, line: Line, reason: GapReason, now_ns: int) -> None:
        """Say that an instrument's data is torn as a whole; its history is then fetched again."""
        line.held = None
        if line.sync is not None:
            line.sync.lose(reason)
            line.health.book_synced = False
        line.errors.clear()
        self._gap_row(line, reason, now_ns)
        if reason == GapReason.STALE:
            line.state = FeedState.STALE
        else:
            self._start(line)

    def _gap_row(self, line: Line, reason: GapReason, now_ns: int) -> None:
        """Put a GAP row where the rows of the instrument go."""
        line.health.gaps += 1
        self._event("feed.gap", {"symbol": line.health.symbol, "reason": reason.name.lower()})
        self.sink.gap_row(line, reason, now_ns)

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
        line.state = FeedState.LIVE
        for start in range(0, len(rows), APPEND_ROWS):
            self.sink.append(rows[start : start + APPEND_ROWS])
        line.health.history_rows += len(rows)
        line.trades.follow(max(line.trades.last, last_trade_id))
        for packet in held:
            trade = packet[18] == _TRADE
            if not (trade and _WORD(packet, 40)[0] <= last_trade_id):
                self.sink.append(np.frombuffer(packet, ROW))

    def _too_many_held(self, line: Line) -> None:
        self.give_up_history(line, "too many rows wait for it")

    def give_up_history(self, line: Line, why: str) -> None:
        """Go on without history."""
        self._event("feed.history_failed", {"symbol": line.health.symbol, "why": why})
        self.take_history(line, np.zeros(0, ROW), -1)

    def tick(self, now_ns: int) -> list[Line]:
        """Look at the clock, some twenty times a second.

        Returns:
            those to subscribe to: silent now, or still; all when nothing came from any.
        """
        if self.sink.lost and not self.tape.exhausted:
            self._mend(now_ns)
        limits = self.limits
        late = [line for line in self.lines.values() if line.age_ns(now_ns) > limits.stale_ns]
        if len(late) == len(self.lines) and not self._health.halted:
            return late
        found = [line for line in late if line.state != FeedState.STALE]
        for line in found:
            self._event("feed.stale", {"symbol": line.health.symbol})
            self.gap(line, GapReason.STALE, now_ns)
            line.ask_at_ns = 0
        for line in self.lines.values():
            if abs(line.skew_ns) > limits.max_skew_ns:
                self._event("feed.skew", {"symbol": line.health.symbol, "skew_ns": line.skew_ns})
        return [line for line in late if line.asks(now_ns)]

    def _without_rows(self, message: bytes, ts_recv: int) -> bytes | None:
        """Take what the decoder has no rows for: an empty update, an answer, or an error."""
        ids = self.decoder.depth
        if ids is not None and not ids.snapshot and ids.instrument in self.lines:
            line = self.lines[ids.instrument]
            self._heard(line, ts_recv)
            self._depth(line, 0, ts_recv)
            return None
        self._other[0] += 1
        return message

    def take_bar(self, line: Line, row: np.ndarray) -> None:
        """Publish a closed bar of an instrument whose bars are the venue's, ROW[1]."""
        self._heard(line, int(row["ts_recv"][0]))
        self.sink.put(line, row.tobytes())

    def bad_message(self, symbol: str, why: str, now_ns: int) -> bool:
        """Count a message that cannot be read.

        Args:
            symbol: whose it was, empty where it does not say.
        Returns:
            True when so many that name no instrument came that the connection must end.
        """
        line = self.by_symbol.get(symbol)
        self._health.decode_errors += 1
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
