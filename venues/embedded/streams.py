"""The market streams: who is subscribed to what, and the messages when something happens."""

from collections.abc import Iterator

from venues.embedded import messages
from venues.embedded.candles import INTERVALS_MS, candles_of
from venues.embedded.connection import Connection
from venues.embedded.exchange import Exchange, Listener
from venues.embedded.frames import frame
from venues.embedded.symbols import Symbol
from venues.embedded.trades import Print

FAST_TICKS, SLOW_TICKS = 1, 10  # depth messages each 100 ms and each second
PARTIAL_LEVELS = (5, 10, 20)


class MarketStreams(Listener):
    """Listener of the exchange that feeds the subscribers."""

    def __init__(self, exchange: Exchange) -> None:
        """Follow an exchange from its present state on."""
        self.exchange = exchange
        self.connections: dict[Connection, None] = {}
        self.subscribers: dict[str, dict[Connection, None]] = {}
        self.published = 0  # messages, whatever the number of subscribers
        self._touch = {s.name: self.told_touch(s) for s in exchange.symbols.values()}
        self._depths = {
            (s.name, ticks): _Changes(s.book.update_id + 1)
            for s in exchange.symbols.values()
            for ticks in (FAST_TICKS, SLOW_TICKS)
        }
        self._ticks = 0
        self._closed: dict[str, int] = {}  # kline stream -> opening time of the last closed candle
        exchange.listeners.append(self)

    def subscribe(self, connection: Connection, names: list[str]) -> None:
        """Add streams to a connection; unknown names are taken and stay silent, as at Binance."""
        self.connections[connection] = None
        for name in names:
            connection.streams[name] = None
            self.subscribers.setdefault(name, {})[connection] = None

    def unsubscribe(self, connection: Connection, names: list[str]) -> None:
        """Take streams from a connection."""
        for name in names:
            connection.streams.pop(name, None)
            there = self.subscribers.get(name, {})
            there.pop(connection, None)
            if not there:
                self.subscribers.pop(name, None)

    def forget(self, connection: Connection) -> None:
        """Drop a connection that is gone."""
        self.unsubscribe(connection, list(connection.streams))
        self.connections.pop(connection, None)

    def publish(self, name: str, payload: str) -> None:
        """Send a message to everyone who is subscribed to its stream."""
        there = self.subscribers.get(name)
        if not there:
            return
        self.published += 1
        plain = envelope = b""
        for connection in list(there):
            if connection.combined:
                envelope = envelope or frame(messages.combined(name, payload).encode())
                connection.send(name, envelope)
            else:
                plain = plain or frame(payload.encode())
                connection.send(name, plain)

    def on_prints(self, symbol: Symbol, prints: list[Print]) -> None:
        """Send trades, and aggregates of those of one taker at one price."""
        now = self.exchange.now_ms
        name = symbol.lower + "@trade"
        if name in self.subscribers:
            for made in prints:
                self.publish(name, messages.trade(symbol, made, now))
        name = symbol.lower + "@aggTrade"
        if name in self.subscribers:
            for group in _groups(prints):
                self.publish(name, messages.aggregate_trade(symbol, group, now))

    def on_book(self, symbol: Symbol) -> None:
        """Note which levels changed, and send the touch if it did."""
        for ticks in (FAST_TICKS, SLOW_TICKS):
            self._depths[symbol.name, ticks].levels.update(symbol.book.changed)
        touch = self.told_touch(symbol)
        if touch != self._touch[symbol.name]:
            self._touch[symbol.name] = touch
            self.publish(symbol.lower + "@bookTicker", messages.book_ticker(symbol, touch))

    def tick(self) -> None:
        """Send what is sent on a clock; to be called each 100 ms."""
        self._ticks += 1
        for symbol in self.exchange.symbols.values():
            self._send_depth(symbol, FAST_TICKS, ("@depth@100ms",))
            self._send_partial(symbol, "@100ms")
            if self._ticks % SLOW_TICKS == 0:
                self._send_depth(symbol, SLOW_TICKS, ("@depth", "@depth@1000ms"))
                self._send_partial(symbol, "")
        if self._ticks % SLOW_TICKS == 0:
            self.send_klines(seconds=self._ticks // SLOW_TICKS)

    def told_touch(self, symbol: Symbol) -> tuple[int, int, int, int]:
        """Return the touch as the public is told it."""
        if not symbol.phantoms:
            return symbol.book.touch()
        bids, asks = messages.top_levels(symbol, 1)
        (bid, bid_lots), (ask, ask_lots) = (bids or [(0, 0)])[0], (asks or [(0, 0)])[0]
        return bid, ask, bid_lots, ask_lots

    def reset_ids(self, symbol: Symbol) -> None:
        """Begin the update ids at 1 again, as after a restart of the real venue (F09)."""
        symbol.book.update_id = 0
        for ticks in (FAST_TICKS, SLOW_TICKS):
            self._depths[symbol.name, ticks].first_id = 1

    def _send_depth(self, symbol: Symbol, ticks: int, endings: tuple[str, ...]) -> None:
        """Send the levels that changed since the last message of this speed."""
        changes = self._depths[symbol.name, ticks]
        last = symbol.book.update_id
        if not changes.levels or last < changes.first_id:
            return
        told: dict[int, messages.Levels] = {1: [], -1: []}
        wanted = any(symbol.lower + ending in self.subscribers for ending in endings)
        for side, tick in changes.levels if wanted else ():
            lots = symbol.phantoms.get((side, tick))
            told[side].append((tick, symbol.book.sides[side].lots(tick) if lots is None else lots))
        ids = changes.first_id, last
        changes.first_id = last + 1
        changes.levels.clear()
        if wanted:
            payload = messages.depth_update(symbol, ids, told[1], told[-1], self.exchange.now_ms)
            for ending in endings:
                self.publish(symbol.lower + ending, payload)

    def _send_partial(self, symbol: Symbol, speed: str) -> None:
        """Send the best levels to those who want no differences."""
        for limit in PARTIAL_LEVELS:
            name = f"{symbol.lower}@depth{limit}{speed}"
            if name in self.subscribers:
                self.publish(name, messages.book(symbol, limit))

    def send_klines(self, seconds: int) -> None:
        """Send the candles that are subscribed to: `1s` each second, others each second one."""
        now = self.exchange.now_ms
        for name in [name for name in self.subscribers if "@kline_" in name]:
            lower, _, interval = name.partition("@kline_")
            symbol = self.exchange.symbols.get(lower.upper())
            if symbol is None or interval not in INTERVALS_MS:
                continue
            if interval != "1s" and seconds % 2 and now % 60_000 > 2_000:
                continue
            length = INTERVALS_MS[interval]
            for row in kline_rows(symbol, interval, now, seconds=2):
                opened = int(row["ms"])
                if opened + length <= now:
                    if self._closed.get(name, 0) >= opened:
                        continue
                    self._closed[name] = opened
                self.publish(name, messages.kline(symbol, (interval, length), row, now))


def kline_rows(symbol: Symbol, interval: str, now_ms: int, *, seconds: int) -> Iterator:
    """Yield the candle that closed within the last `seconds`, if one did, and the running one."""
    length = INTERVALS_MS[interval]
    since = now_ms - seconds * 1000
    if interval == "1s":
        rows = symbol.trades.select(
            key="id", start=None, ms_from=since - since % 1000, ms_to=None, limit=1 << 30
        )
        made = candles_of(rows["ms"], rows["price"], rows["lots"], rows["side"], length)
        if len(rows):
            made["first_id"] += rows["id"][0]
    else:
        made = symbol.trades.candles.select(length, since - since % length, None, 3, now_ms)
    yield from made[-2:]


class _Changes:
    """Levels that changed since the last depth message, and the first update id of the next."""

    def __init__(self, first_id: int) -> None:
        self.levels: dict[tuple[int, int], None] = {}
        self.first_id = first_id


def _groups(prints: list[Print]) -> Iterator[list[Print]]:
    """Yield runs of trades that share an aggregate id."""
    group = [prints[0]]
    for made in prints[1:]:
        if made.agg_id != group[0].agg_id:
            yield group
            group = []
        group.append(made)
    yield group
