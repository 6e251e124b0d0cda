"""What the control port does to the market itself: crossed books, jumps, halts, foreign frames."""

import asyncio
from typing import Any

import msgspec

from engine.errors import UsageError
from venues.embedded import frames, messages
from venues.embedded.connection import Connection
from venues.embedded.exchange import Exchange
from venues.embedded.house import apply_event
from venues.embedded.market import QUOTE_EVENT
from venues.embedded.streams import MarketStreams
from venues.embedded.symbols import HALT, TRADING, Symbol

MAX_BOMB_BYTES = 512 << 20
MAX_MESSAGE_BYTES = 256 << 20
ENDLESS_FRAMES = 200_000  # of 1 kB: 200 MB, unless the client ends it


def cross(exchange: Exchange, symbol: Symbol) -> None:
    """Tell the public of a bid above the best ask that no one has (F11)."""
    _, ask, bid_lots, _ = symbol.book.touch()
    if not ask:
        raise UsageError(f"cross: {symbol.name} has no ask")
    symbol.phantoms[1, ask + 1] = max(1, bid_lots)
    symbol.book.changed[1, ask + 1] = None
    exchange.finish(symbol)


def uncross(exchange: Exchange, symbol: Symbol) -> None:
    """Take back what `cross` told."""
    for place in list(symbol.phantoms):
        symbol.book.changed[place] = None
        del symbol.phantoms[place]
    exchange.finish(symbol)


def restock(exchange: Exchange, symbol: Symbol) -> None:
    """Let the house show all that it wants to show, as the market's next move would."""
    exchange.house_levels(symbol, [(*place, lots) for place, lots in symbol.house.items()], ())


def jump(exchange: Exchange, symbol: Symbol, bps: float) -> int:
    """Move the whole market of a symbol at once, and for good (F13). Returns the ticks."""
    bid, _, bid_lots, ask_lots = symbol.book.touch()
    ticks = round(bid * bps / 10_000)
    if symbol.house_touch is None or bid + ticks < 1:
        raise UsageError(f"jump: {symbol.name} cannot move by {bps:g} bps")
    raw_bid, raw_ask = (tick - symbol.shift_ticks for tick in symbol.house_touch)
    symbol.shift_ticks += ticks
    event = (0, QUOTE_EVENT, raw_bid, raw_ask, max(1, bid_lots), max(1, ask_lots))
    apply_event(exchange, symbol, event)
    return ticks


def set_status(symbol: Symbol, status: str) -> None:
    """Halt a symbol or let it trade again (F24)."""
    if status not in (TRADING, HALT):
        raise UsageError(f"status {status!r}: allowed is {TRADING} or {HALT}")
    symbol.status = status


def send_text(streams: MarketStreams, stream: str, payload: str, changes: dict[str, Any]) -> str:
    """Send a message of one's own on a stream (F12, F14, F15).

    Args:
        streams: who is subscribed.
        stream: its full name.
        payload: sent as it is; where it is empty, the stream's own kind of message is made.
        changes: fields of that message to set, for example {"p": "-1"}.
    Returns:
        what was sent.
    Raises:
        UsageError: no message is known for the stream.
    """
    if not payload:
        symbol = streams.exchange.symbols.get(stream.partition("@")[0].upper())
        kind = stream.partition("@")[2]
        if symbol is None or kind not in ("trade", "bookTicker"):
            raise UsageError(f"send: {stream} needs a payload; trade and bookTicker are made")
        text = messages.book_ticker(symbol, symbol.book.touch())
        if kind == "trade":
            made = symbol.trades.add(
                streams.exchange.now_ms, symbol.last_price(), 1, 1, same_taker=False
            )
            text = messages.trade(symbol, made, made.ms)
        payload = msgspec.json.encode(msgspec.json.decode(text) | changes).decode()
    streams.publish(stream, payload)
    return payload


def send_bytes(streams: MarketStreams, kind: str, size: int) -> int:
    """Break the protocol on every market connection (F19, F20, F21). Returns how many.

    Args:
        streams: whose connections.
        kind: `big` (one text message of `size` bytes), `bomb` (inflates to `size`), or one of
            frames.broken.
        size: bytes, for the first two.
    """
    if kind == "big" and 0 < size <= MAX_MESSAGE_BYTES:
        data = frames.frame(b'{"e":"' + b"x" * max(0, size - 8) + b'"}')
    elif kind == "bomb" and 0 < size <= MAX_BOMB_BYTES:
        data = frames.bomb(size)
    else:
        try:
            data = frames.broken(kind)
        except KeyError:
            raise UsageError(f"bytes: unknown kind {kind!r}, or its size is out of range") from None
    connections = list(streams.connections)
    for connection in connections:
        connection.write(data)
        if kind == "endless":
            connection.stalled = True  # no other message may come into this one
            connection.keep(asyncio.ensure_future(_go_on(connection)))
    return len(connections)


async def _go_on(connection: Connection) -> None:
    """Never end a message, until the client does."""
    for _ in range(ENDLESS_FRAMES):
        if connection.gone:
            return
        if connection.backlog < 1 << 20:
            connection.write(frames.CONTINUATION)
            await asyncio.sleep(0)
        else:
            await asyncio.sleep(0.005)
