"""The market's other participants at work: their touch, the levels behind it, their trades."""

from collections.abc import Iterator

from venues.embedded.exchange import Exchange
from venues.embedded.market import TRADE_EVENT, Event
from venues.embedded.symbols import HALT, Symbol

_GOLDEN, _MASK = 0x9E37_79B9_7F4A_7C15, (1 << 64) - 1


def ladder_lots(tick: int, side: int, typical: int) -> int:
    """Return the size that the house shows at a tick behind the touch: a hash, 0.4 to 1.6 typical.

    >>> ladder_lots(599_990, 1, 1000) == ladder_lots(599_990, 1, 1000)
    True
    """
    mixed = ((tick * 2 + (side > 0) + 1) * _GOLDEN) & _MASK
    mixed = ((mixed ^ (mixed >> 29)) * 0xBF58_476D_1CE4_E5B9) & _MASK
    return max(1, typical * (400 + (mixed >> 40) % 1201) // 1000)


def ladder(symbol: Symbol, side: int, touch: int) -> Iterator[tuple[int, int]]:
    """Yield (tick, lots) of the levels behind the touch, the nearest first."""
    step = symbol.spec.ladder_ticks
    first = (touch - 1) // step * step if side > 0 else -(-(touch + 1) // step) * step
    for place in range(symbol.spec.ladder_levels):
        tick = first - side * step * place
        if tick > 0:
            yield tick, ladder_lots(tick, side, symbol.spec.ladder_lots)


def apply_event(exchange: Exchange, symbol: Symbol, event: Event) -> None:
    """Let one event of the market happen in the book; a halted symbol misses it."""
    if symbol.status == HALT:
        return
    shift = symbol.shift_ticks
    if event[1] == TRADE_EVENT:
        _, _, price, lots, side, _ = event
        exchange.house_trade(symbol, side, max(1, price + shift), lots)
        return
    _, _, bid, ask, bid_lots, ask_lots = event
    bid = max(1, bid + shift)
    ask = max(bid + 1, ask + shift)
    if symbol.house_touch == (bid, ask):
        symbol.house[1, bid], symbol.house[-1, ask] = bid_lots, ask_lots
        exchange.house_levels(symbol, ((1, bid, bid_lots), (-1, ask, ask_lots)), ())
        return
    wanted = {(1, bid): bid_lots, (-1, ask): ask_lots}
    for side, touch in ((1, bid), (-1, ask)):
        for tick, lots in ladder(symbol, side, touch):
            wanted[side, tick] = lots
    gone = [place for place in symbol.house if place not in wanted]
    symbol.house, symbol.house_touch = wanted, (bid, ask)
    exchange.house_levels(symbol, [(*place, lots) for place, lots in wanted.items()], gone)
