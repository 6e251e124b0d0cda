"""How orders meet: taking, self-trade prevention, settlement, and what becomes of the rest."""

from typing import TYPE_CHECKING, NamedTuple

from venues.embedded.book import Match
from venues.embedded.orders import Fill, Order, Report
from venues.embedded.refusals import filter_failure
from venues.embedded.symbols import Symbol
from venues.embedded.trades import Print

if TYPE_CHECKING:
    from venues.embedded.exchange import Exchange


class Leg(NamedTuple):
    """One side of a trade."""

    side: int
    lots: int
    quote: int  # its value, minor units
    made: Print
    maker: bool


def size_by_money(symbol: Symbol, order: Order) -> None:
    """Turn a market order for an amount of quote currency into one for lots, walking the book.

    Raises:
        Refused: -1013, the amount buys or sells nothing.
    """
    money = order.quote_qty
    for tick, lots in symbol.book.offered(order.side, None, _spared(order)):
        part = min(lots, symbol.affordable(tick, money))
        order.qty_lot += part
        money -= symbol.value_up(tick, part)
        if part < lots:
            break
    if order.qty_lot == 0:
        raise filter_failure("LOT_SIZE")


def to_lock(symbol: Symbol, order: Order) -> tuple[str, int]:
    """Return the asset and the minor units that an order may cost at worst, fees aside."""
    if order.side < 0:
        return symbol.spec.base, order.qty_lot * symbol.lot_minor
    if order.price_tick:
        return symbol.spec.quote, symbol.value_up(order.price_tick, order.qty_lot)
    left, cost = order.qty_lot, 0
    for tick, lots in symbol.book.offered(order.side, None, _spared(order)):
        part = min(left, lots)
        cost += symbol.value_up(tick, part)
        left -= part
        if left == 0:
            break
    return symbol.spec.quote, cost


def _spared(order: Order) -> int | None:
    """Return the account whose own orders a new order passes over."""
    return order.account if order.stp != "NONE" else None


def take(exchange: "Exchange", symbol: Symbol, order: Order) -> list[Fill]:
    """Let a new order take what its limit allows."""
    book, limit = symbol.book, order.price_tick or None
    fills: list[Fill] = []
    prints: list[Print] = []
    if order.tif == "FOK" and not _whole(symbol, order):
        return fills
    while order.left_lot > 0 and not order.prevented:
        place = book.first(order.side, limit)
        if place is None:
            break
        maker = place.order
        if maker is not None and maker.account == order.account and order.stp != "NONE":
            _prevent(exchange, symbol, order, maker)
            continue
        match = book.take(order.side, order.left_lot)
        fills += settle(exchange, symbol, match, order, (order.side, prints))
    _publish(exchange, symbol, prints)
    return fills


def _whole(symbol: Symbol, order: Order) -> bool:
    """Say whether an order would be filled whole: fill or kill."""
    other, wanted = symbol.book.sides[-order.side], order.qty_lot
    for tick in other.ticks():
        if not other.within(tick, order.price_tick):
            break
        for place in other.levels[tick].queue:
            if place.order is not None and place.order.account == order.account:
                if order.stp in ("EXPIRE_TAKER", "EXPIRE_BOTH"):
                    return False
                if order.stp == "EXPIRE_MAKER":
                    continue
            wanted -= place.left
            if wanted <= 0:
                return True
    return False


def _prevent(exchange: "Exchange", symbol: Symbol, taker: Order, maker: Order) -> None:
    """Keep an account from trading with itself, by the taker's mode."""
    if taker.stp in ("EXPIRE_MAKER", "EXPIRE_BOTH"):
        symbol.book.remove(maker)
        exchange.end(maker, "EXPIRED_IN_MATCH")
        exchange.report(Report(maker, "EXPIRED"))
    taker.prevented = taker.stp in ("EXPIRE_TAKER", "EXPIRE_BOTH")


def settle_rest(exchange: "Exchange", symbol: Symbol, order: Order) -> None:
    """Let the rest of a new order stand in the book, or end it."""
    if order.left_lot == 0:
        return  # `_apply` has ended it
    if order.kind != "MARKET" and order.tif == "GTC" and not order.prevented:
        symbol.book.rest(order.side, order.price_tick, order, order.left_lot)
        return
    exchange.end(order, "EXPIRED_IN_MATCH" if order.prevented else "EXPIRED")
    exchange.report(Report(order, "EXPIRED"))


def house_take(exchange: "Exchange", symbol: Symbol, side: int, limit: int, lots: int) -> int:
    """Let the house take up to `lots` within a limit. Returns the lots that it did not get."""
    prints: list[Print] = []
    while lots > 0 and symbol.book.first(side, limit) is not None:
        match = symbol.book.take(side, lots)
        settle(exchange, symbol, match, None, (side, prints))
        lots -= match.lots
    _publish(exchange, symbol, prints)
    return lots


def settle(
    exchange: "Exchange",
    symbol: Symbol,
    match: Match,
    taker: Order | None,
    aggressor: tuple[int, list[Print]],
) -> list[Fill]:
    """Move money for one match and report it. Returns the taker's fills.

    Args:
        exchange: where accounts and listeners are.
        symbol: what was traded.
        match: from the book.
        taker: the order that took; None is the house.
        aggressor: the taker's side, and the list of this operation's trades, which grows.
    """
    side, prints = aggressor
    fills = []
    for lots in _pieces(exchange, match, taker):
        now = exchange.now_ms
        made = symbol.trades.add(now, match.price_tick, lots, side, same_taker=bool(prints))
        prints.append(made)
        quote = symbol.value(match.price_tick, lots)
        for order, is_maker in ((match.maker, True), (taker, False)):
            direction = -side if is_maker else side
            leg = Leg(direction, lots, quote, made, is_maker)
            fill = _one_side(exchange, symbol, order, leg)
            if fill is not None:
                _apply(exchange, symbol, fill)
                if not is_maker:
                    fills.append(fill)
    return fills


def _pieces(exchange: "Exchange", match: Match, taker: Order | None) -> list[int]:
    """Return the lots of each print: one, or fragments where an account trades and V09 is on."""
    count = min(exchange.mischief.fragments, match.lots)
    if count < 2 or (taker is None and match.maker is None):
        return [match.lots]
    size, rest = divmod(match.lots, count)
    return [size + (at < rest) for at in range(count)]


def _one_side(exchange: "Exchange", symbol: Symbol, order: Order | None, leg: Leg) -> Fill | None:
    """Pay and receive for one side of a trade; the house has no fill."""
    ledger, spec = exchange.ledger, symbol.spec
    account = None if order is None else ledger.accounts[order.account]
    gives, gets = (spec.quote, leg.quote), (spec.base, leg.lots * symbol.lot_minor)
    if leg.side < 0:
        gives, gets = gets, gives
    ledger.pay(account, *gives)
    ledger.receive(account, *gets)
    if order is None or account is None:
        return None
    order.locked -= gives[1]
    fill = Fill(order, leg.made.price_tick, leg.lots, leg.quote)
    charged = ledger.charge(account, gets[0], gets[1], leg.quote, maker=leg.maker)
    fill.maker, fill.fee, fill.fee_asset = leg.maker, charged.amount, charged.asset
    fill.trade_id, fill.ts_ms = leg.made.trade_id, leg.made.ms
    return fill


def _apply(exchange: "Exchange", symbol: Symbol, fill: Fill) -> None:
    """Move an order on by a fill, release what it no longer needs, and report."""
    order = fill.order
    account = exchange.ledger.accounts[order.account]
    order.filled_lot += fill.lots
    order.quote_filled += fill.quote
    order.updated_ms = fill.ts_ms
    if order.side > 0 and order.price_tick:
        needed = symbol.value_up(order.price_tick, order.left_lot)
        exchange.ledger.unlock(account, symbol.spec.quote, order.locked - needed)
        order.locked = needed
    exchange.keep_fill(fill)
    order.status = "PARTIALLY_FILLED"
    if order.left_lot == 0:
        exchange.end(order, "FILLED")
    exchange.report(Report(order, "TRADE", fill))


def secret_fill(
    exchange: "Exchange", symbol: Symbol, order: Order, lots: int
) -> tuple[Order, Fill, Print]:
    """Fill part of an order against the house without telling anyone yet (V12).

    The money moves now, so the balances are right; the order's own sums follow when it is told.
    """
    made = symbol.trades.add(exchange.now_ms, order.price_tick, lots, -order.side, same_taker=False)
    quote = symbol.value(order.price_tick, lots)
    _one_side(exchange, symbol, None, Leg(-order.side, lots, quote, made, False))
    fill = _one_side(exchange, symbol, order, Leg(order.side, lots, quote, made, True))
    assert fill is not None
    return order, fill, made


def _publish(exchange: "Exchange", symbol: Symbol, prints: list[Print]) -> None:
    """Tell the listeners of an operation's trades."""
    if prints:
        for one in exchange.listeners:
            one.on_prints(symbol, prints)
