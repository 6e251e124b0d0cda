"""Read Binance spot's REST replies: grids, candles, trades. Pure; typed bounds refuse nonsense."""

from collections.abc import Sequence
from decimal import Decimal
from typing import Any, NamedTuple

import msgspec

from engine.errors import UsageError
from engine.instruments import Instrument
from venues.binance_messages import MICROSECONDS_FROM, Id, Price, Size, Stamp


class Candle(msgspec.Struct, array_like=True, gc=False):
    """One row of `klines`; stamps in ms, or us by their size."""

    open_stamp: Stamp
    open: Price
    high: Price
    low: Price
    close: Price
    volume: Size


class PublicTrade(msgspec.Struct, gc=False):
    """One trade of `trades`."""

    id: Id
    price: Price
    qty: Size
    time: Stamp
    isBuyerMaker: bool


class Aggregate(msgspec.Struct, gc=False):
    """One entry of `aggTrades`: the trades `f` to `l` of one taker at one price."""

    f: Id
    l: Id  # noqa: E741 - the venue's name
    p: Price
    q: Size
    T: Stamp
    m: bool


class PastTrade(NamedTuple):
    """A trade, or several of one taker: the last id, ns, price, size, side of the aggressor."""

    first_id: int
    last_id: int
    ts_event: int
    price: float
    size: float
    side: int


class _Symbol(msgspec.Struct):
    symbol: str
    status: str
    baseAsset: str
    quoteAsset: str
    filters: list[dict[str, Any]]


class _ExchangeInfo(msgspec.Struct):
    symbols: list[_Symbol]


class _Time(msgspec.Struct):
    serverTime: Stamp


class VenueError(msgspec.Struct):
    """What the venue says when it refuses a request."""

    code: int = 0
    msg: str = ""


_CANDLES = msgspec.json.Decoder(list[Candle], strict=False)
_TRADES = msgspec.json.Decoder(list[PublicTrade], strict=False)
_AGGREGATES = msgspec.json.Decoder(list[Aggregate], strict=False)


def nanoseconds(stamp: int) -> int:
    """Scale a stamp of ms, or of us by its size.

    >>> nanoseconds(1_700_000_000_000), nanoseconds(1_700_000_000_000_001)
    (1700000000000000000, 1700000000000001000)
    """
    return stamp * (1_000_000 if stamp < MICROSECONDS_FROM else 1_000)


def read_time(reply: bytes) -> int:
    """Return the venue's time, ns."""
    return nanoseconds(msgspec.json.decode(reply, type=_Time).serverTime)


def read_candles(reply: bytes) -> list[Candle]:
    """Return candles, oldest first; the last one may still grow."""
    return _CANDLES.decode(reply)


def read_trades(reply: bytes) -> list[PastTrade]:
    """Return recent trades, oldest first."""
    return [
        PastTrade(t.id, t.id, nanoseconds(t.time), t.price, t.qty, -1 if t.isBuyerMaker else 1)
        for t in _TRADES.decode(reply)
    ]


def read_aggregates(reply: bytes) -> list[PastTrade]:
    """Return aggregate trades, oldest first."""
    return [
        PastTrade(t.f, t.l, nanoseconds(t.T), t.p, t.q, -1 if t.m else 1)
        for t in _AGGREGATES.decode(reply)
    ]


def read_instruments(
    reply: bytes, symbols: Sequence[str], has: tuple[str, ...], bar_interval_ns: int
) -> tuple[Instrument, ...]:
    """Read the grids of `exchangeInfo`.

    Args:
        reply: the venue's answer.
        symbols: canonical, in the order of the tape.
        has: what the feed brings of each.
        bar_interval_ns: of the HISTORY bars.
    Returns:
        the tape's table.
    Raises:
        UsageError: the venue does not have a symbol.
    """
    found = {one.symbol: one for one in msgspec.json.decode(reply, type=_ExchangeInfo).symbols}
    instruments = []
    for symbol in symbols:
        if symbol not in found:
            raise UsageError(f"binance_spot has no symbol {symbol}")
        one = found[symbol]
        filters = {entry.get("filterType"): entry for entry in one.filters}
        notional = filters.get("NOTIONAL") or filters.get("MIN_NOTIONAL") or {}
        instruments.append(
            Instrument(
                venue="binance_spot",
                symbol=symbol,
                base=one.baseAsset,
                quote=one.quoteAsset,
                tick=_increment(filters, "PRICE_FILTER", "tickSize", symbol),
                lot=_increment(filters, "LOT_SIZE", "stepSize", symbol),
                min_notional=_plain(str(notional.get("minNotional", "0"))),
                has=has,
                bar_interval_ns=bar_interval_ns,
            )
        )
    return tuple(instruments)


def read_statuses(reply: bytes) -> dict[str, str]:
    """Read symbol -> status of `exchangeInfo`."""
    return {
        one.symbol: one.status for one in msgspec.json.decode(reply, type=_ExchangeInfo).symbols
    }


def _increment(filters: dict[Any, dict[str, Any]], name: str, key: str, symbol: str) -> str:
    """Return an increment as a plain decimal string.

    Raises:
        UsageError: the venue gives none.
    """
    text = _plain(str(filters.get(name, {}).get(key, "0")))
    if Decimal(text) <= 0:
        raise UsageError(f"binance_spot gives no {key} of {symbol}")
    return text


def _plain(text: str) -> str:
    """Return a decimal without trailing zeros or exponent.

    >>> _plain("0.01000000"), _plain("10.00"), _plain("0")
    ('0.01', '10', '0')
    """
    return format(Decimal(text).normalize(), "f")
