"""A fill in the books of one owner: balances, cost, results. engine/portfolio.py, jitted.

The rules are those of `Portfolio` and `Book`, which tests hold against these; orders of several
owners go through those.
"""

from numba import njit

from engine.kernel.exact import fee, notional, share
from engine.kernel.places import desk_of, grid_at, strategy_book, used_book, wallet_at


@njit
def apply_to_book(book, side, qty, amount):  # type: ignore[no-untyped-def]
    """Book lots for an amount at average cost; return (opened, closed at cost, gain)."""
    position = book["position_lot"]
    if position * side >= 0:
        book["position_lot"] = position + side * qty
        book["cost"] += side * amount
        return amount, 0, 0
    held = abs(position)
    closing = min(qty, held)
    paid = amount if closing == qty else share(amount, closing, qty)
    out = share(book["cost"], closing, held) if closing < held else book["cost"]
    gain = -side * paid - out
    book["position_lot"] = position + side * closing
    book["cost"] -= out
    book["realized"] += gain
    opened = amount - paid
    if qty > closing:
        book["position_lot"] += side * (qty - closing)
        book["cost"] += side * opened
    return opened, abs(out), gain


@njit
def count_trip(root, owner, book, before):  # type: ignore[no-untyped-def]
    """After a fill: a round trip ends where an owner's position comes to nothing or turns.

    One that lost after fees adds to the owner's losses in a row, over all instruments; one that
    gained ends the row. The whole fee of a fill that turns a position belongs to what it ends.
    """
    after = book["position_lot"]
    if before == 0 or (after != 0 and (after > 0) == (before > 0)):
        return
    result = book["realized"] - book["fees"]
    losses = desk_of(root)["losses"]
    if result < book["trip_from"]:
        losses[owner + 1] += 1
    elif result > book["trip_from"]:
        losses[owner + 1] = 0
    book["trip_from"] = result


@njit
def apply_fill(root, order, fill):  # type: ignore[no-untyped-def]
    """Book a fill (qty, price_tick, liquidity) of an order; return (opened, closed, gain, fee)."""
    qty, price_tick, liquidity = fill
    at, side = order["instrument"], order["side"]
    grid = grid_at(root, at)
    amount = notional(grid, price_tick, qty)
    paid = fee(
        amount, desk_of(root)["maker_rate"] if liquidity == 1 else desk_of(root)["taker_rate"]
    )
    quote, base = wallet_at(root, grid["quote"]), wallet_at(root, grid["base"])
    quote["total"] -= side * amount + paid
    base["total"] += side * qty * grid["lot_minor"]
    quote["fees"] += paid
    if order["strategy"] >= 0:
        own = strategy_book(root, order["strategy"], at)
        apply_to_book(own, side, qty, amount)
        own["fees"] += paid
    book = used_book(root, order["owner"], at)
    before = book["position_lot"]
    opened, closed, gain = apply_to_book(book, side, qty, amount)
    book["fees"] += paid
    count_trip(root, order["owner"], book, before)
    quote["realized"] += gain - paid
    return opened, closed, gain, paid


@njit
def need(root, instrument, side, size):  # type: ignore[no-untyped-def]
    """Return what an order must find free: base to sell, quote with fee to buy; (qty, worst)."""
    qty, worst_tick = size
    grid = grid_at(root, instrument)
    if side < 0:
        return qty * grid["lot_minor"]
    amount = notional(grid, worst_tick, qty)
    return amount + fee(amount, desk_of(root)["max_rate"])


@njit
def relock(root, order, left_lot):  # type: ignore[no-untyped-def]
    """Change what an order locks to what its last `left_lot` lots need."""
    needed = 0
    if left_lot > 0:
        size = (left_lot, order["worst_tick"])
        needed = need(root, order["instrument"], order["side"], size)
    grid = grid_at(root, order["instrument"])
    wallet = wallet_at(root, grid["base"] if order["side"] < 0 else grid["quote"])
    wallet["locked"] += needed - order["locked"]
    order["locked"] = needed


@njit
def promise(root, order, closing, opening):  # type: ignore[no-untyped-def]
    """Count lots of an order's owner as on their way (negative: no longer)."""
    book = used_book(root, order["owner"], order["instrument"])
    book["closing_lot"] += closing
    if order["side"] > 0:
        book["opening_buy_lot"] += opening
    else:
        book["opening_sell_lot"] += opening


@njit
def reserve_of(root, order, opening_lot):  # type: ignore[no-untyped-def]
    """Return what lots of an order that open reserve, at its worst price."""
    if opening_lot <= 0:
        return 0
    return notional(grid_at(root, order["instrument"]), order["worst_tick"], opening_lot)
