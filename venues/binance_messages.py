"""Decode Binance market messages (spot and USD-M) straight into tape rows; pure."""

import struct
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Annotated, Any, NamedTuple

import msgspec
from msgspec import Meta

from engine.rows import LAST, OFF_MARKET, ROW_BYTES, SNAPSHOT, SNAPSHOT_START, Kind
from venues.binance_fast import FastParser

# Bounds that no market reaches: zero, negative and infinite numbers are refused while parsing.
Price = Annotated[float, Meta(gt=0, lt=1e15)]
Size = Annotated[float, Meta(ge=0, lt=1e18)]
Id = Annotated[int, Meta(ge=0, lt=1 << 62)]
Stamp = Annotated[int, Meta(ge=0, lt=4_102_444_800_000_000)]  # ms, or us by its size; until 2100
Levels = list[tuple[Price, Size]]
MICROSECONDS_FROM = 100_000_000_000_000  # a larger stamp counts microseconds

MARKET_PRINTS = ("", "MARKET")


class Ticker(msgspec.Struct, gc=False):
    """bookTicker; spot sends no times."""

    u: Id
    s: str
    b: Price
    B: Size
    a: Price
    A: Size
    T: Stamp = 0
    E: Stamp = 0


class Trade(msgspec.Struct, gc=False):
    """One trade; `X` tells market trades from insurance fund prints (USD-M)."""

    s: str
    t: Id
    p: Price
    q: Size
    T: Stamp
    m: bool
    X: str = ""


class AggregateTrade(msgspec.Struct, gc=False):
    """Trades of one taker order at one price."""

    s: str
    a: Id
    p: Price
    q: Size
    T: Stamp
    m: bool


class Update(msgspec.Struct, gc=False):
    """depthUpdate; sizes are absolute."""

    s: str
    U: Id
    u: Id
    b: Levels
    a: Levels
    E: Stamp
    T: Stamp = 0
    pu: int = -1


class Book(msgspec.Struct, gc=False):
    """A full book, as REST gives it: without a symbol."""

    lastUpdateId: Id
    bids: Levels
    asks: Levels
    E: Stamp = 0
    T: Stamp = 0


class _Kind(msgspec.Struct, gc=False):
    """What tells the kind of a message whose keys come in another order."""

    e: str = ""
    u: int | None = None
    lastUpdateId: int | None = None
    stream: str = ""
    data: msgspec.Raw = msgspec.Raw()
    result: Any = msgspec.UNSET
    id: Any = msgspec.UNSET


class DepthIds(NamedTuple):
    """What the sync must know of the depth packet decoded last."""

    first_id: int
    last_id: int
    prev_id: int
    snapshot: bool
    instrument: int


def _decoder(kind: type) -> msgspec.json.Decoder:
    return msgspec.json.Decoder(kind, strict=False)


_TICKER = _decoder(Ticker).decode
_TRADE = _decoder(Trade).decode
_AGGREGATE = _decoder(AggregateTrade).decode
_UPDATE = _decoder(Update).decode
_BOOK = _decoder(Book).decode
_KIND = _decoder(_Kind).decode

_HEAD = "<qqHBbHH"  # ts_event ts_recv instrument kind side flags check
_PUT_TICKER = struct.Struct(_HEAD + "ddddq").pack_into
_PUT_TRADE = struct.Struct(_HEAD + "ddqqq").pack_into
_PUT_LEVEL = struct.Struct(_HEAD + "ddqqq").pack_into
_QUOTE, _TRADED, _DEPTH = int(Kind.QUOTE), int(Kind.TRADE), int(Kind.DEPTH)
_IGNORED = ("kline", "24hrTicker", "24hrMiniTicker", "markPriceUpdate", "avgPrice", "forceOrder")


class MessageDecoder:
    """Decode the messages of one connection.

    Nothing that a venue sends raises: what cannot be used is counted in `skipped` by its reason.
    Duplicate keys of a JSON object: the last one counts. The usual layouts are parsed by machine
    code (binance_parse.py); whatever it gives up on goes to msgspec, which has the last word.
    """

    def __init__(
        self, symbols: Mapping[str, int], ticks: Mapping[int, float] | None = None
    ) -> None:
        """Take the instruments.

        Args:
            symbols: "BTCUSDT" -> index on the tape; a symbol that raises KeyError is skipped.
            ticks: index -> price increment; depth rows get their price in ticks. Where it is
                missing `i2` holds the previous update id, for the importer to fill later.
        """
        self._symbols = symbols
        self._ticks = dict(ticks or {})
        self.skipped: Counter[str] = Counter()
        self._named = ""  # symbol of the message decoded last
        self.needed_rows = 0  # rows of the message that did not fit
        self.fast = FastParser()
        self.decode_into = self._bound()

    @property
    def depth(self) -> DepthIds | None:
        """Ids of the depth message decoded last, also of one without levels; None if it is none."""
        found, first_id, last_id, prev_id, instrument = self.fast.found()
        if not found:
            return None
        return DepthIds(first_id, last_id, prev_id, found == 2, instrument)

    def _bound(self) -> Callable[..., int]:
        """Return decode_into as a closure: a method costs 100 ns more a message."""
        fast = self.fast
        parse, state, adopt, slowly = fast.parse, fast.address, fast.adopt, self._slowly

        def decode_into(
            message: bytes, buffer: memoryview, at: int, ts_recv: int, symbol: str = ""
        ) -> int:
            """Write the rows of one message, one packet, from slot `at` on.

            Args:
                message: the frame as received; raw or with the combined-stream envelope.
                buffer: writable bytes of whole ROWs, `memoryview(rows.view(np.uint8))`.
                at: index of the first row to write.
                ts_recv: our receive stamp, ns.
                symbol: whose book a bare snapshot is (REST replies do not say).
            Returns:
                rows written: 0 if the message holds nothing for the tape, -1 if the buffer is too
                short for it (see `needed_rows`).
            """
            if buffer is not fast.buffer:
                adopt(buffer)
            return parse(id(message), at, ts_recv, state) or slowly(
                message, buffer, at, ts_recv, symbol
            )

        return decode_into

    def _slowly(
        self, message: bytes, buffer: memoryview, at: int, ts_recv: int, symbol: str
    ) -> int:
        """Decode what the fast parser gave up on, and remember its symbol for the next time."""
        self.fast.no_depth()
        count = self._by_kind(message, buffer, at, ts_recv, symbol)
        if count > 0:
            index = int.from_bytes(buffer[at * 64 + 16 : at * 64 + 18], "little")
            self.fast.learn(self._named, index, self._ticks.get(index, 0.0))
        return count

    def _by_kind(
        self, message: bytes, buffer: memoryview, at: int, ts_recv: int, symbol: str
    ) -> int:
        """Decode a message by what it says of itself, whatever the order of its keys."""
        try:
            kind = _KIND(message)
            if kind.stream and len(bytes(kind.data)):
                message = bytes(kind.data)
                kind = _KIND(message)
            if kind.e == "trade":
                return self._trade(_TRADE(message), buffer, at, ts_recv)
            if kind.e == "depthUpdate":
                return self._update(_UPDATE(message), buffer, at, ts_recv)
            if kind.e == "aggTrade":
                return self._aggregate(_AGGREGATE(message), buffer, at, ts_recv)
            if kind.e == "bookTicker" or (kind.e == "" and kind.u is not None):
                return self._ticker(_TICKER(message), buffer, at, ts_recv)
            if kind.lastUpdateId is not None:
                return self._book(_BOOK(message), symbol, buffer, at, ts_recv)
        except (msgspec.ValidationError, OverflowError):
            self.skipped["field missing, of the wrong type or out of bounds"] += 1
        except (msgspec.MsgspecError, ValueError, RecursionError):
            self.skipped["no JSON"] += 1
        except KeyError:
            self.skipped["symbol not asked for"] += 1
        else:
            if kind.e in _IGNORED:
                self.skipped[f"{kind.e} is not used"] += 1
            elif kind.id is not msgspec.UNSET or kind.result is not msgspec.UNSET:
                self.skipped["answer to a request"] += 1
            else:
                self.skipped["unknown message"] += 1
        return 0

    def _index(self, symbol: str) -> int:
        """Return the instrument of a symbol, or raise KeyError."""
        self._named = symbol
        return self._symbols[symbol]

    def _ticker(self, m: Ticker, buffer: memoryview, at: int, ts_recv: int) -> int:
        """Write one QUOTE row."""
        if (at + 1) * ROW_BYTES > len(buffer):
            return self._short(1)
        stamp = m.T or m.E
        if stamp:
            stamp *= 1_000_000 if stamp < MICROSECONDS_FROM else 1_000
        index = self._index(m.s)
        _PUT_TICKER(
            buffer, at * 64, stamp, ts_recv, index, _QUOTE, 0, LAST, 0, m.b, m.a, m.B, m.A, m.u
        )
        return 1

    def _trade(self, m: Trade, buffer: memoryview, at: int, ts_recv: int) -> int:
        """Write one TRADE row."""
        if (at + 1) * ROW_BYTES > len(buffer):
            return self._short(1)
        stamp = m.T * (1_000_000 if m.T < MICROSECONDS_FROM else 1_000)
        flags = LAST if m.X in MARKET_PRINTS else LAST | OFF_MARKET
        side = -1 if m.m else 1
        index = self._index(m.s)
        _PUT_TRADE(
            buffer, at * 64, stamp, ts_recv, index, _TRADED, side, flags, 0, m.p, m.q, m.t, 0, 0
        )
        return 1

    def _aggregate(self, m: AggregateTrade, buffer: memoryview, at: int, ts_recv: int) -> int:
        """Write one TRADE row."""
        return self._trade(Trade(m.s, m.a, m.p, m.q, m.T, m.m), buffer, at, ts_recv)

    def _update(self, m: Update, buffer: memoryview, at: int, ts_recv: int) -> int:
        """Write the DEPTH rows of an update: bids, then asks."""
        index = self._index(m.s)
        self.fast.note_depth(1, (m.U, m.u, m.pu), index)
        head = (m.T or m.E, ts_recv, index, 0)
        return self._levels(head, (m.b, m.a), (m.pu, m.u, m.U), buffer, at)

    def _book(self, m: Book, symbol: str, buffer: memoryview, at: int, ts_recv: int) -> int:
        """Write the DEPTH rows of a full book."""
        index = self._index(symbol)
        self.fast.note_depth(2, (m.lastUpdateId, m.lastUpdateId, -1), index)
        head = (m.T or m.E, ts_recv, index, SNAPSHOT)
        ids = -1, m.lastUpdateId, m.lastUpdateId
        return self._levels(head, (m.bids, m.asks), ids, buffer, at)

    def _levels(
        self,
        head: tuple[int, int, int, int],
        sides: tuple[Levels, Levels],
        ids: tuple[int, int, int],
        buffer: memoryview,
        at: int,
    ) -> int:
        """Write levels as one packet."""
        stamp, ts_recv, index, flags = head
        prev_id, last_id, first_id = ids
        count = len(sides[0]) + len(sides[1])
        if count == 0:
            return 0
        if (at + count) * ROW_BYTES > len(buffer):
            return self._short(count)
        if stamp:
            stamp *= 1_000_000 if stamp < MICROSECONDS_FROM else 1_000
        tick = self._ticks.get(index, 0.0)
        offset = at * ROW_BYTES
        last = offset + (count - 1) * ROW_BYTES
        mark = flags | SNAPSHOT_START if flags else 0
        for side, levels in zip((1, -1), sides):
            for price, size in levels:
                if offset == last:
                    mark |= LAST
                slot = round(price / tick) if tick else prev_id
                _PUT_LEVEL(
                    buffer, offset, stamp, ts_recv, index, _DEPTH, side, mark, 0,
                    price, size, slot, last_id, first_id,
                )  # fmt: skip
                offset += ROW_BYTES
                mark = flags
        return count

    def _short(self, rows: int) -> int:
        """Say that the buffer is too short."""
        self.needed_rows = rows
        return -1
