"""The public messages of the market streams, in Binance's layout and key order; pure.

Written by hand instead of by a JSON library: the layouts are fixed and hold nothing to escape, and
these are the exchange's most frequent messages.
"""

import numpy as np

from venues.embedded.amounts import text
from venues.embedded.candles import candle_fields
from venues.embedded.symbols import Symbol
from venues.embedded.trades import Print

Levels = list[tuple[int, int]]  # tick, lots


def trade(symbol: Symbol, made: Print, now_ms: int) -> str:
    """Return `trade`; `m` says that the buyer was the maker."""
    price, lots = text(made.price_tick * symbol.tick_minor), text(made.lots * symbol.lot_minor)
    return (
        f'{{"e":"trade","E":{now_ms},"s":"{symbol.name}","t":{made.trade_id},"p":"{price}",'
        f'"q":"{lots}","T":{made.ms},"m":{_bool(made.side < 0)},"M":true}}'
    )


def aggregate_trade(symbol: Symbol, made: list[Print], now_ms: int) -> str:
    """Return `aggTrade` of the trades of one taker at one price."""
    first, last = made[0], made[-1]
    price = text(first.price_tick * symbol.tick_minor)
    lots = text(sum(one.lots for one in made) * symbol.lot_minor)
    return (
        f'{{"e":"aggTrade","E":{now_ms},"s":"{symbol.name}","a":{first.agg_id},"p":"{price}",'
        f'"q":"{lots}","f":{first.trade_id},"l":{last.trade_id},"T":{first.ms},'
        f'"m":{_bool(first.side < 0)},"M":true}}'
    )


def book_ticker(symbol: Symbol, touch: tuple[int, int, int, int]) -> str:
    """Return `bookTicker` of a touch (bid, ask, bid_lots, ask_lots); spot sends no time."""
    bid, ask, bid_lots, ask_lots = touch
    tick, lot = symbol.tick_minor, symbol.lot_minor
    return (
        f'{{"u":{symbol.book.update_id},"s":"{symbol.name}","b":"{text(bid * tick)}",'
        f'"B":"{text(bid_lots * lot)}","a":"{text(ask * tick)}","A":"{text(ask_lots * lot)}"}}'
    )


def levels(symbol: Symbol, rows: Levels) -> str:
    """Return [["price","qty"],...] of (tick, lots)."""
    tick, lot = symbol.tick_minor, symbol.lot_minor
    return "[" + ",".join(f'["{text(p * tick)}","{text(q * lot)}"]' for p, q in rows) + "]"


def depth_update(
    symbol: Symbol, ids: tuple[int, int], bids: Levels, asks: Levels, now_ms: int
) -> str:
    """Return `depthUpdate`: absolute sizes of the levels that changed within the ids U to u."""
    return (
        f'{{"e":"depthUpdate","E":{now_ms},"s":"{symbol.name}","U":{ids[0]},"u":{ids[1]},'
        f'"b":{levels(symbol, bids)},"a":{levels(symbol, asks)}}}'
    )


def top_levels(symbol: Symbol, limit: int) -> tuple[Levels, Levels]:
    """Return the best levels of both sides with what is told falsely of them (F11)."""
    rows = []
    for side in (1, -1):
        book_side = symbol.book.sides[side]
        told = {tick: book_side.lots(tick) for tick in book_side.ticks(limit)}
        told |= {tick: lots for (s, tick), lots in symbol.phantoms.items() if s == side}
        order = sorted(told, reverse=side > 0)
        rows.append([(tick, told[tick]) for tick in order[:limit]])
    return rows[0], rows[1]


def book(symbol: Symbol, limit: int) -> str:
    """Return the book as REST and the partial streams give it: without a symbol."""
    bids, asks = top_levels(symbol, limit)
    return (
        f'{{"lastUpdateId":{symbol.book.update_id},"bids":{levels(symbol, bids)},'
        f'"asks":{levels(symbol, asks)}}}'
    )


def kline(symbol: Symbol, interval: tuple[str, int], row: np.void, now_ms: int) -> str:
    """Return `kline` of one candle; `x` says that its time is over."""
    name, length_ms = interval
    fields = candle_fields(row, length_ms, symbol.spec)
    opened, price_open, high, low, close, volume, closes, quote, count, base, taker, _ = fields
    first = int(row["first_id"])
    last = first + count - 1
    return (
        f'{{"e":"kline","E":{now_ms},"s":"{symbol.name}","k":{{"t":{opened},"T":{closes},'
        f'"s":"{symbol.name}","i":"{name}","f":{first if count else -1},'
        f'"L":{last if count else -1},"o":"{price_open}","c":"{close}","h":"{high}","l":"{low}",'
        f'"v":"{volume}","n":{count},"x":{_bool(now_ms > closes)},"q":"{quote}","V":"{base}",'
        f'"Q":"{taker}","B":"0"}}}}'
    )


def combined(stream: str, payload: str) -> str:
    """Return a message in the envelope of combined streams."""
    return f'{{"stream":"{stream}","data":{payload}}}'


def _bool(value: bool) -> str:
    return "true" if value else "false"
