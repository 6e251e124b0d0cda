"""Whose an order's lots are, what of them opens and what closes, and what the opening ones reserve.

The books of the portfolio keep the counts; the gate's record does not take part.
"""

from engine.books import NOBODY
from engine.events import Block, Place
from engine.money import split
from engine.orders import Order
from engine.portfolio import Change, Portfolio

OPPOSITE = int(Block.OPPOSITE_INTENT)
ALONE = ((NOBODY, 1),)  # the owner of an order without a model


def split_lots(
    portfolio: Portfolio, place: Place, qty: int
) -> tuple[tuple[int, ...], tuple[int, ...], int]:
    """Return each owner's lots, those of them that open exposure, and a Block bit or 0.

    What closes needs no reserve, so it must still close when it fills, in whatever order the
    orders of an owner fill. Hence an order closes only what no other order on its side may
    take first, and while a position is being closed, nothing on that side may open.
    """
    owners = place.owners or ALONE
    side = place.side
    parts = (qty,) if len(owners) == 1 else split(qty, tuple(w for _, w in owners))
    opens = list(parts)
    bad = 0
    for at, (owner, _) in enumerate(owners):
        book = portfolio.books.get((owner, place.instrument))
        held = 0 if book is None else -side * book.position_lot
        if book is not None and held > 0:
            ahead = book.opening_buy_lot if side > 0 else book.opening_sell_lot
            opens[at] = max(0, parts[at] - max(0, held - book.closing_lot - ahead))
            if opens[at] and book.closing_lot:
                bad = OPPOSITE
    return parts, tuple(opens), bad


def count_lots(portfolio: Portfolio, order: Order, owner: int, closing: int, opening: int) -> None:
    """Count lots of an owner as on their way (negative: no longer)."""
    book = portfolio.book(owner, order.instrument)
    book.closing_lot += closing
    if order.side > 0:
        book.opening_buy_lot += opening
    else:
        book.opening_sell_lot += opening


def owner_filled(portfolio: Portfolio, order: Order, change: Change) -> tuple[int, int]:
    """Count a fill of one of several owners; return the lots it had to open, and their reserve.

    What closes fills first; the portfolio has already lowered the owner's lots.
    """
    at = [owner for owner, _ in order.owners].index(change.owner)
    open_left = min(order.owner_open[at], order.owner_left[at])
    opened = order.owner_open[at] - open_left
    count_lots(portfolio, order, change.owner, opened - change.qty, -opened)
    before = order.owner_reserve[at]
    order.owner_open[at] = open_left
    order.owner_reserve[at] = reserve_of(portfolio, order, open_left)
    return opened, before - order.owner_reserve[at]


def reserve_of(portfolio: Portfolio, order: Order, opening_lot: int) -> int:
    """Return what opening lots of an order reserve at its worst price, minor units."""
    if opening_lot <= 0:
        return 0
    return portfolio.grids[order.instrument].notional(order.worst_tick, opening_lot)


def reserves_of(portfolio: Portfolio, order: Order) -> list[tuple[int, int]]:
    """Return (owner, what the order still reserves for him)."""
    if len(order.owners) > 1:
        return [(owner, order.owner_reserve[at]) for at, (owner, _) in enumerate(order.owners)]
    owner = order.owners[0][0] if order.owners else NOBODY
    return [(owner, reserve_of(portfolio, order, order.opening_lot))]
