"""Read what a stream sends beside market data: answers, closed candles, the announced end. Pure."""

from enum import IntEnum
from typing import Any, NamedTuple

import msgspec
import numpy as np

from engine.rows import LAST, ROW, Kind, bar_flags
from venues.binance_messages import Price, Size, Stamp
from venues.binance_spot.replies import nanoseconds

NS_PER_MINUTE = 60_000_000_000
IGNORED = {"24hrTicker", "24hrMiniTicker", "avgPrice", "aggTrade"}


class NoticeKind(IntEnum):
    """What a message is."""

    ANSWER = 0  # to a request of ours
    SHUTDOWN = 1  # the venue will end the connection
    BAR = 2  # a closed candle
    NOTHING = 3  # known and not needed
    BAD = 4  # not readable, or of no known kind


class Notice(NamedTuple):
    """A message without rows of its own."""

    kind: NoticeKind
    symbol: str = ""
    request: int = -1  # ANSWER: to which request
    why: str = ""  # BAD: what is wrong; ANSWER: what the venue refused, empty where it agreed
    bar: np.ndarray | None = None  # ROW[1] without an instrument


class _Message(msgspec.Struct):
    """All keys that any such message may have."""

    stream: Any = ""
    data: Any = None
    e: Any = ""
    s: Any = ""
    k: Any = None
    id: Any = None
    result: Any = None
    error: Any = None
    code: Any = None
    msg: Any = None


class _Candle(msgspec.Struct):
    t: Stamp
    i: str
    o: Price
    h: Price
    l: Price  # noqa: E741 - the venue's name
    c: Price
    v: Size
    x: bool


def read_notice(message: bytes, ts_recv: int) -> Notice:
    """Say what a message is that the decoder has no rows for."""
    try:
        found = msgspec.json.decode(message, type=_Message)
        stream = found.stream if isinstance(found.stream, str) else ""
        if isinstance(found.data, dict):
            found = msgspec.convert(found.data, _Message)
    except msgspec.ValidationError:
        return Notice(NoticeKind.BAD, why="no object")
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return Notice(NoticeKind.BAD, why="no JSON")
    if type(found.id) is int and not found.e:
        refused = found.error or (found.msg if found.code else None)
        why = "" if refused is None else _shortened(refused)
        return Notice(NoticeKind.ANSWER, request=found.id, why=why)
    if found.e == "serverShutdown":
        return Notice(NoticeKind.SHUTDOWN)
    symbol = found.s if isinstance(found.s, str) and found.s else stream.partition("@")[0].upper()
    if found.e == "kline":
        return _candle(symbol, found.k, ts_recv)
    if found.e in IGNORED:
        return Notice(NoticeKind.NOTHING, symbol)
    if found.code is not None and found.msg is not None:
        return Notice(NoticeKind.BAD, why=f"the venue says {_shortened(found.msg)}")
    known = found.e in ("trade", "depthUpdate", "bookTicker")
    why = "field missing, of the wrong type or out of bounds" if known else "unknown message"
    return Notice(NoticeKind.BAD, symbol, why=why)


def _candle(symbol: str, content: Any, ts_recv: int) -> Notice:
    """Read a candle; one that still grows is not needed."""
    try:
        one = msgspec.convert(content, _Candle, strict=False)
    except msgspec.ValidationError:
        return Notice(NoticeKind.BAD, symbol, why="a candle that cannot be read")
    if not one.x or one.i != "1m":
        return Notice(NoticeKind.NOTHING, symbol)
    bar = np.zeros(1, ROW)
    row = bar[0]
    row["kind"], row["flags"] = Kind.BAR, LAST | bar_flags(NS_PER_MINUTE)
    row["ts_event"], row["ts_recv"] = nanoseconds(one.t), ts_recv
    row["f0"], row["f1"], row["f2"], row["f3"], row["f4"] = one.o, one.h, one.l, one.c, one.v
    return Notice(NoticeKind.BAR, symbol, bar=bar)


def _shortened(text: object) -> str:
    """Return a venue's words, bounded and on one line."""
    return repr(text)[:200]


def is_text(message: bytes) -> bool:
    """Say whether the bytes of a text message are UTF-8, as RFC 6455, section 8.1 demands.

    Messages are received as bytes and not looked at for this; only one that cannot be read is.

    >>> is_text(b"{}"), is_text(bytes([255]))
    (True, False)
    """
    try:
        message.decode()
    except UnicodeDecodeError:
        return False
    return True
