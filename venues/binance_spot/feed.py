"""The live feed of Binance spot market data: one connection, kept alive, onto the live tape.

How a runner drives it:

    feed = SpotFeed(params, tape, clock=clock, transport=WebsocketTransport(), rest=rest,
                    wake=wake, on_event=log_event, randomness=random.Random(seed))
    task = group.create_task(feed.run())       # until it is cancelled; any other end is an error

The feed never calls the engine. It publishes rows and then calls `wake()` once: after the last
message that waited in the socket, or every 5 ms where they do not end. So a burst is one wake:

    def wake():
        tape.wake(clock.now_ns())              # the WAKE row: decisions are made here, stamped now
        for address, first_row, stop in tape.windows(words[CURSOR]):
            pipeline.drain(address, first_row, stop, stop)
        tape.cursor = words[CURSOR]             # full segments behind the cursor may be unmapped

A runner needs its own timer besides (bars close and signals age without data too) that calls the
same function. What `wake` raises ends `run()`.
"""

import asyncio
import random
from collections.abc import Callable, Iterator, Sequence

import msgspec

from engine.book_sync import FIRST_TO_LAST
from engine.clock import Clock
from engine.feed_health import EndReason, FeedHealth, FeedState
from engine.live_tape import LiveTape
from venues.binance_spot.history import History, HistoryNeed, Venue, fetch_history
from venues.binance_spot.notices import NoticeKind, is_text, read_notice
from venues.binance_spot.rest import RestError, SpotRest
from venues.binance_spot.statuses import StatusWatch
from venues.event_limit import LimitedEvents
from venues.intake import Intake
from venues.lines import Event, IntakeLimits, Line, Want
from venues.transport import Backoff, Connection, ConnectionEnded, Transport

BASE_WS = "wss://data-stream.binance.vision"  # market data only
MAX_REQUESTS = 4  # subscriptions sent at once: the venue takes five messages a second
MAX_FETCHES = 4  # REST requests at once
TICK_S = 0.05
MAX_BATCH_NS = 5_000_000  # in a flood the runner is called this often, between two messages
HOLE_TRIES = 3  # how often trades are asked for that must reach the first one of the stream
HOLE_WAIT_S = 0.2
NS_PER_S = 1_000_000_000
STREAMS = (
    ("trades", "trade"),
    ("quotes", "bookTicker"),
    ("depth", "depth@100ms"),
    ("bars", "kline_1m"),
)


class FeedParams(msgspec.Struct, frozen=True, kw_only=True):
    """Settings of the feed."""

    base_ws: str = BASE_WS
    limits: IntakeLimits = IntakeLimits()
    history: HistoryNeed | None = None  # None: no warm-up
    confirm_timeout_s: float = 2.0
    max_confirm_tries: int = 3
    snapshot_levels: int = 1000
    max_snapshot_tries: int = 5
    snapshot_pause_s: float = 10.0  # after so many tries in vain
    backoff_base_s: float = 0.25
    backoff_cap_s: float = 30.0
    stable_s: float = 10.0  # a connection that lived so long starts the backoff anew
    status_poll_s: float = 60.0  # how often it is asked which instruments trade


class SpotFeed:
    """See the head of this file. Events have the codes `feed.*`; fields are plain values."""

    def __init__(
        self,
        params: FeedParams,
        tape: LiveTape,
        *,
        clock: Clock,
        transport: Transport,
        rest: SpotRest,
        wake: Callable[[], None],
        on_event: Event,
        randomness: random.Random,
        indices: Sequence[int] | None = None,
    ) -> None:
        """Take all parts.

        Args:
            tape: its instruments say by `has` which streams are wanted.
            rest: for books and history; closed by its owner.
            wake: called after each batch of rows; see above.
            on_event: called with a stable code and its fields.
            randomness: for the jitter of delays.
            indices: which of the tape's instruments; None for all.
        """
        self.params = params
        self._clock = clock
        self._transport = transport
        self._rest = rest
        self._wake = wake
        self._random = randomness
        self._events = LimitedEvents(on_event, clock.monotonic_ns)
        self._intake = Intake(
            tape,
            range(len(tape.instruments)) if indices is None else indices,
            FIRST_TO_LAST,
            msgspec.structs.replace(params.limits, warms=params.history is not None),
            on_event=self._events.say,
            wants=self._fetch,
        )
        self._request = 0
        self._answers: dict[int, asyncio.Future[str]] = {}
        self._fetches: dict[tuple[Want, int], asyncio.Task[None]] = {}
        self._group: asyncio.TaskGroup | None = None
        self._gate = asyncio.Semaphore(MAX_FETCHES)
        self._statuses = StatusWatch(
            rest,
            self._intake,
            self._gate,
            now_ns=clock.now_ns,
            say=self._events.say,
            poll_s=params.status_poll_s,
        )
        self._waking: asyncio.Handle | None = None
        self._failure: Exception | None = None  # of wake

    @property
    def health(self) -> FeedHealth:
        """Counters, changed in place."""
        return self._intake.health

    async def run(self) -> None:
        """Keep the feed alive until cancelled."""
        params = self.params
        backoff = Backoff(
            self._random,
            base_s=params.backoff_base_s,
            cap_s=params.backoff_cap_s,
            floor_s=min(0.05, params.backoff_base_s),
            stable_s=params.stable_s,
        )
        while True:
            begun_ns = self._clock.monotonic_ns()
            ended = await self._connect_once()
            lived_s = (self._clock.monotonic_ns() - begun_ns) / NS_PER_S
            delay_s = backoff.next_delay_s(lived_s, ended.retry_after_s)
            self._events.say(
                "feed.waits", {"delay_ms": round(delay_s * 1000), "tries": backoff.tries}
            )
            await asyncio.sleep(delay_s)

    async def _connect_once(self) -> ConnectionEnded:
        """Open a connection and serve it until it ends; return why it did."""
        try:
            connection = await self._transport.connect(self.params.base_ws.rstrip("/") + "/stream")
        except ConnectionEnded as ended:
            self.health.failed_dials += 1
            self.health.last_end = ended.reason
            self._events.say("feed.unreachable", _fields(ended))
            return ended
        self._intake.connected(self._clock.now_ns())
        self._events.say("feed.connected", {"connects": self.health.connects})
        end = ConnectionEnded(EndReason.STOPPED, "stopped by us")
        try:
            async with asyncio.TaskGroup() as group:
                self._group = group
                group.create_task(self._read(connection))
                group.create_task(self._watch(connection))
                self._subscribe(connection, group)
                group.create_task(self._statuses.run())
        except* ConnectionEnded as found:
            end = next(_leaves(found))
        finally:
            self._group = None
            self._fetches.clear()
            self._answers.clear()
            self._intake.disconnected(end.reason, self._clock.now_ns())
            if end.reason != EndReason.STOPPED:
                self._events.say("feed.lost", _fields(end))
            self._fire()
            await connection.close(abort=end.reason in (EndReason.STALE, EndReason.BAD_DATA))
        if self._failure is not None:
            raise self._failure
        return end

    async def _read(self, connection: Connection) -> None:
        """Hand over every message; wake once when no more wait, or after MAX_BATCH_NS of them."""
        sink, take, receive = self._intake.sink, self._intake.take, connection.receive
        now_ns, loop = self._clock.now_ns, asyncio.get_running_loop()
        wake_by = 0
        while True:
            message = await receive()
            stamp = now_ns()
            rest = take(message, stamp)
            if rest is not None:
                self._notice(rest, stamp)
            if sink.fresh:
                if self._waking is None:
                    self._waking = loop.call_soon(self._fire)
                    wake_by = stamp + MAX_BATCH_NS
                elif stamp > wake_by:
                    self._fire()

    def _fire(self) -> None:
        """Call the runner if rows were published."""
        if self._waking is not None:
            self._waking.cancel()
            self._waking = None
        if not self._intake.sink.fresh:
            return
        self._intake.sink.fresh = False
        try:
            self._wake()
        except Exception as error:  # raised again by the task that watches
            self._failure = error

    def _notice(self, message: bytes, stamp: int) -> None:
        """Act on a message that holds no rows."""
        notice = read_notice(message, stamp)
        line = self._intake.by_symbol.get(notice.symbol)
        if notice.kind == NoticeKind.ANSWER:
            waiting = self._answers.pop(notice.request, None)
            if waiting is not None and not waiting.done():
                waiting.set_result(notice.why)
        elif notice.kind == NoticeKind.SHUTDOWN:
            raise ConnectionEnded(EndReason.SHUTDOWN, "the venue announced its end")
        elif notice.kind == NoticeKind.BAR and line is not None and notice.bar is not None:
            notice.bar["instrument"] = line.index
            self._intake.take_bar(line, notice.bar)
        elif notice.kind == NoticeKind.BAD:
            if not is_text(message):
                raise ConnectionEnded(EndReason.PROTOCOL, "a text message that is no UTF-8")
            if self._intake.bad_message(notice.symbol, notice.why, stamp):
                raise ConnectionEnded(EndReason.BAD_DATA, f"too many such messages: {notice.why}")

    async def _watch(self, connection: Connection) -> None:
        """Look for silence, of the connection and of each instrument."""
        intake = self._intake
        while True:
            await asyncio.sleep(TICK_S)
            if self._failure is not None:
                raise self._failure
            silent = intake.tick(self._clock.now_ns())
            if silent and len(silent) == len(intake.lines) and not self.health.halted:
                self._events.say("feed.stale", {"symbol": "all"})
                raise ConnectionEnded(EndReason.STALE, "nothing came for too long")
            if silent:
                self._statuses.hurry()
                self._request += 1
                await connection.send(_subscription(self._request, silent))
            if intake.sink.fresh:
                self._fire()

    def _subscribe(self, connection: Connection, group: asyncio.TaskGroup) -> None:
        """Ask for all streams, in a few requests."""
        lines = list(self._intake.lines.values())
        size = -(-len(lines) // MAX_REQUESTS)
        for start in range(0, len(lines), size):
            group.create_task(self._confirm(connection, lines[start : start + size]))

    async def _confirm(self, connection: Connection, lines: list[Line]) -> None:
        """Subscribe to some instruments, within bounds, then ask for their history."""
        symbols = ",".join(line.instrument.symbol for line in lines)
        for attempt in range(1, self.params.max_confirm_tries + 1):
            self._request += 1
            request = self._request
            answer = asyncio.get_running_loop().create_future()
            self._answers[request] = answer
            for line in lines:
                line.since_ns = self._clock.now_ns()  # silence counts from the request on
            await connection.send(_subscription(request, lines))
            try:
                async with asyncio.timeout(self.params.confirm_timeout_s):
                    why = await answer
            except TimeoutError:
                self._answers.pop(request, None)
                why = "no confirmation in time"
            if not why:
                break
            fields = {"symbols": symbols, "attempt": attempt, "why": why}
            self._events.say("feed.unconfirmed", fields)
        else:
            self._events.say("feed.not_subscribed", {"symbols": symbols})
            return
        self._events.say("feed.subscribed", {"symbols": symbols})
        for line in lines:
            if line.state == FeedState.WARMING:
                self._fetch(Want.HISTORY, line)

    def _fetch(self, want: Want, line: Line) -> None:
        """Begin a fetch, as a task of the connection; a history is begun anew, a book only once."""
        if self._group is None:
            return
        key = (want, line.index)
        running = self._fetches.get(key)
        if running is not None and not running.done():
            if want == Want.SNAPSHOT:
                return
            running.cancel()
        work = self._snapshot(line) if want == Want.SNAPSHOT else self._history(line)
        self._fetches[key] = self._group.create_task(work)

    async def _snapshot(self, line: Line) -> None:
        """Fetch a book until one reaches what is known, within bounds."""
        symbol = line.instrument.symbol
        delays = Backoff(self._random, base_s=0.1, cap_s=2.0, floor_s=0.02)
        for attempt in range(1, self.params.max_snapshot_tries + 1):
            wait_s = 0.0
            try:
                async with self._gate:
                    reply = await self._rest.depth(symbol, self.params.snapshot_levels)
                if self._intake.take_snapshot(line, reply, self._clock.now_ns()):
                    self._events.say("feed.book", {"symbol": symbol, "attempt": attempt})
                    return
                why = "older than the updates"
            except RestError as error:
                why, wait_s = str(error), error.retry_after_s
            self._events.say(
                "feed.snapshot_failed", {"symbol": symbol, "attempt": attempt, "why": why}
            )
            await asyncio.sleep(delays.next_delay_s(retry_after_s=wait_s))
        self._events.say("feed.no_book", {"symbol": symbol})
        await asyncio.sleep(self.params.snapshot_pause_s)  # the next update asks again

    async def _history(self, line: Line) -> None:
        """Fetch an instrument's history and let its rows go."""
        need = self.params.history
        assert need is not None
        symbol = line.instrument.symbol
        try:
            async with self._gate:
                history = await self._fetch_history(line, need)
        except RestError as error:
            if line.held is not None:
                self._intake.give_up_history(line, str(error))
            return
        if line.held is None:
            return
        self._intake.take_history(line, history.rows, history.last_trade_id)
        self._events.say(
            "feed.history", {"symbol": symbol, "rows": len(history.rows), "whole": history.whole}
        )
        if self._intake.sink.fresh and self._waking is None:
            self._waking = asyncio.get_running_loop().call_soon(self._fire)

    async def _fetch_history(self, line: Line, need: HistoryNeed) -> History:
        """Fetch it again while its trades do not reach the first one of the stream."""
        asked_ns = self._clock.now_ns()
        venue_ns = await self._rest.server_time_ns()
        offset_ns = venue_ns - (asked_ns + self._clock.now_ns()) // 2
        self.health.clock_offset_ns = offset_ns
        if abs(offset_ns) > self.params.limits.max_skew_ns:
            self._events.say("feed.skew", {"symbol": "all", "skew_ns": -offset_ns})
        venue = Venue(line.instrument.symbol, line.index, offset_ns)
        for _ in range(HOLE_TRIES):
            history = await fetch_history(self._rest, venue, need, self._clock.now_ns)
            first = self._intake.first_held_trade(line)
            if first <= history.last_trade_id + 1:
                return history
            await asyncio.sleep(HOLE_WAIT_S)
        return history.without_growing()


def _subscription(request: int, lines: Sequence[Line]) -> str:
    """Return the request for all streams that instruments want."""
    streams = [
        f"{line.instrument.symbol.lower()}@{stream}"
        for line in lines
        for what, stream in STREAMS
        if what in line.instrument.has
    ]
    message = {"method": "SUBSCRIBE", "params": streams, "id": request}
    return msgspec.json.encode(message).decode()


def _fields(ended: ConnectionEnded) -> dict[str, object]:
    """Return the fields of an event on the end of a connection."""
    return {"reason": ended.reason.name.lower(), "why": str(ended)}


def _leaves(group: BaseExceptionGroup[ConnectionEnded]) -> Iterator[ConnectionEnded]:
    """Yield the exceptions of a group, however deep."""
    for one in group.exceptions:
        if isinstance(one, BaseExceptionGroup):
            yield from _leaves(one)
        else:
            yield one
