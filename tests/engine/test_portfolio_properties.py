"""The money, against exact decimals: nothing is lost, made up or owed, whatever is filled."""

from decimal import ROUND_FLOOR, Decimal
from fractions import Fraction

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from engine.books import NOBODY, Book
from engine.events import Fill, Liquidity, OrderType
from engine.instruments import Instrument
from engine.money import Grid, fee_rate, minor, split
from engine.orders import Order
from engine.portfolio import Portfolio

INSTRUMENTS = (
    Instrument(venue="x", symbol="BTCUSDT", base="BTC", quote="USDT", tick="0.1", lot="0.00001"),
    Instrument(venue="x", symbol="ETHBTC", base="ETH", quote="BTC", tick="0.00001", lot="0.0001"),
    Instrument(venue="x", symbol="SHIBUSDT", base="SHIB", quote="USDT", tick="0.00000001", lot="1"),
    Instrument(venue="x", symbol="ODDUSDT", base="ODD", quote="USDT", tick="0.0025", lot="0.005"),
)
BILLION = Decimal("1000000000.00000001")
LARGEST = 1 << 57  # minor units: 25 such fills fit what a balance can count


def half_up(amount: Decimal) -> Decimal:
    """Round to 1e-8, halves upwards."""
    return (amount * 10**8 + Decimal("0.5")).to_integral_value(ROUND_FLOOR) / 10**8


class MoneyReference:
    """Balances in Decimal, positions as sums of fills, costs as exact fractions."""

    def __init__(self, balances: dict[str, Decimal], maker_bps: float, taker_bps: float) -> None:
        self.balances = dict(balances)
        self.bps = {0: Decimal(str(taker_bps)), 1: Decimal(str(maker_bps))}
        self.lots = [0] * len(INSTRUMENTS)
        self.flow = [Decimal(0)] * len(INSTRUMENTS)
        self.fees = dict.fromkeys(balances, Decimal(0))

    def fill(self, fill: Fill) -> None:
        """Apply one execution."""
        of = INSTRUMENTS[fill.instrument]
        size = fill.qty_lot * Decimal(of.lot)
        notional = half_up(fill.price_tick * Decimal(of.tick) * size)
        paid = half_up(notional * self.bps[fill.liquidity] / 10_000)
        self.balances[of.base] += fill.side * size
        self.balances[of.quote] -= fill.side * notional + paid
        self.fees[of.quote] += paid
        self.lots[fill.instrument] += fill.side * fill.qty_lot
        self.flow[fill.instrument] -= fill.side * notional


def portfolio(amount: Decimal, maker_bps: float, taker_bps: float) -> Portfolio:
    """Open an account that holds the amount in every currency."""
    currencies = [(i.base, i.quote) for i in INSTRUMENTS]
    balances = {name: minor(str(amount)) for pair in currencies for name in pair}
    grids = [Grid(i) for i in INSTRUMENTS]
    return Portfolio(grids, currencies, balances, fee_rate(maker_bps), fee_rate(taker_bps))


def order(order_id: int, instrument: int, side: int, qty: int, price: int, owners=()) -> Order:
    """Make an approved order as the gate would."""
    made = Order(order_id, order_id, instrument, side)
    made.qty_lot, made.order_type, made.price_tick = qty, int(OrderType.LIMIT_GTC), price
    made.purpose, made.signal_id, made.worst_tick = 0, -1, price
    made.owners = owners
    made.opening_lot, made.closing_lot = qty, 0
    made.stop_loss_tick = made.take_profit_tick = 0
    return made


def exact(units: int) -> Decimal:
    """Return minor units as a Decimal amount."""
    return Decimal(units) / 10**8


def countable(instrument: int, qty: int, price: int) -> bool:
    """Say whether a fill is of a size that the gate could have let pass."""
    grid = Grid(INSTRUMENTS[instrument])
    return max(grid.notional(price, qty), qty * grid.lot_minor) < LARGEST


amounts = st.decimals(min_value=0, max_value=BILLION, places=8)
fills = st.lists(
    st.tuples(
        st.integers(0, len(INSTRUMENTS) - 1),
        st.sampled_from([1, -1]),
        st.integers(1, 10**12),
        st.integers(1, 10**9),
        st.sampled_from([Liquidity.MAKER, Liquidity.TAKER]),
        st.sampled_from([(), ((0, 1),), ((1, 1),), ((0, 1), (1, 1)), ((0, 3), (1, 2), (2, 2))]),
    ).filter(lambda drawn: countable(drawn[0], drawn[2], drawn[3])),
    max_size=25,
)


@settings(max_examples=200, deadline=None)
@given(amounts, fills, st.sampled_from([(1.0, 2.0), (-0.5, 7.5), (0.0, 0.0), (0.25, 3.3333)]))
def test_balances_positions_and_books_follow_the_fills(amount, script, bps):
    account = portfolio(amount, *bps)
    start = {name: exact(units) for name, units in account.total.items()}
    reference = MoneyReference(start, *bps)
    for number, (instrument, side, qty, price, liquidity, owners) in enumerate(script):
        fill = Fill(number, number, number, instrument, side, qty, price, int(liquidity))
        account.apply(fill, order(number, instrument, side, qty, price, owners))
        reference.fill(fill)
    assert {name: exact(units) for name, units in account.total.items()} == reference.balances
    for at in range(len(INSTRUMENTS)):
        books = [book for _, book in account.books_of(at)]
        assert sum(book.position_lot for book in books) == reference.lots[at]
        assert account.position_lot(at) == reference.lots[at]
        flow = sum(book.realized - book.cost for book in books)
        assert exact(flow) == reference.flow[at]  # what was gained is what came in
    for name in account.total:
        paid = [
            book.fees for (_, at), book in account.books.items() if INSTRUMENTS[at].quote == name
        ]
        assert exact(sum(paid)) == reference.fees[name] == exact(account.fees[name])
        net = sum(
            book.realized - book.fees
            for (_, at), book in account.books.items()
            if INSTRUMENTS[at].quote == name
        )
        assert account.realized[name] == net


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.sampled_from([1, -1]), st.integers(1, 10**6), st.integers(1, 10**12)),
                max_size=30))  # fmt: skip
def test_average_cost_is_exact_to_one_unit_a_fill(script):
    """Cost and gain follow the exact average cost; a flat book costs nothing at all."""
    book = Book()
    lots, cost, gain = 0, Fraction(0), Fraction(0)
    for count, (side, qty, notional) in enumerate(script, start=1):
        opened, closed, realized = book.apply(side, qty, notional)
        closing = min(qty, abs(lots)) if lots * side < 0 else 0
        paid = Fraction(notional * closing, qty)
        out = cost * closing / abs(lots) if closing else Fraction(0)
        gain += -side * paid - out
        cost += side * (notional - paid) - out
        lots += side * qty
        assert book.position_lot == lots
        assert opened >= 0
        assert closed >= 0
        assert abs(book.cost - cost) <= count
        assert abs(book.realized - gain) <= 2 * count
        assert realized == 0 or closing > 0
        if lots == 0:
            assert book.cost == 0
            cost = Fraction(0)
        assert book.cost * lots >= 0


@settings(max_examples=150, deadline=None)
@given(amounts, st.data())
def test_total_is_free_plus_locked_and_nothing_is_promised_twice(amount, data):
    """Orders that found enough free money can always be paid, in any order of fills and ends."""
    account = portfolio(amount, 1.0, 2.0)
    open_orders: list[Order] = []
    for number in range(data.draw(st.integers(1, 25))):
        action = data.draw(st.sampled_from(["new", "new", "fill", "fill", "end"]))
        if action == "new":
            instrument = data.draw(st.integers(0, len(INSTRUMENTS) - 1))
            side = data.draw(st.sampled_from([1, -1]))
            qty, price = data.draw(st.integers(1, 10**9)), data.draw(st.integers(1, 10**7))
            paid_in = account.currencies[instrument][1 if side > 0 else 0]
            if account.need(instrument, side, qty, price) <= account.free(paid_in):
                made = order(number, instrument, side, qty, price)
                account.lock(made)
                open_orders.append(made)
        elif open_orders:
            which = data.draw(st.integers(0, len(open_orders) - 1))
            made = open_orders[which]
            if action == "fill":
                qty = data.draw(st.integers(1, made.qty_lot - made.filled_lot))
                better = data.draw(st.integers(0, made.worst_tick - 1))
                price = made.worst_tick - better if made.side > 0 else made.worst_tick + better
                taker = int(Liquidity.TAKER)
                account.apply(
                    Fill(
                        number, number, made.order_id, made.instrument, made.side, qty, price, taker
                    ),
                    made,
                )
                made.filled_lot += qty
                account.unlock(made, made.qty_lot - made.filled_lot)
            if action == "end" or made.filled_lot == made.qty_lot:
                account.unlock(made, 0)
                open_orders.remove(made)
        for name in account.total:
            locked = sum(
                o.locked
                for o in open_orders
                if account.currencies[o.instrument][1 if o.side > 0 else 0] == name
            )
            assert account.locked[name] == locked >= 0
            assert account.free(name) >= 0
            assert account.free(name) + account.locked[name] == account.total[name]


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.integers(1, 50), min_size=2, max_size=4),
    st.lists(st.integers(1, 30), min_size=1, max_size=30),
)
def test_shares_of_an_order_do_not_depend_on_how_it_fills(held, pieces):
    """An exit in many small fills takes from each owner what one fill would, and flips nobody."""
    account = portfolio(BILLION, 0.0, 0.0)
    owners = tuple(enumerate(held))
    total = sum(held)
    for owner, lots in owners:
        account.apply(Fill(0, 0, 0, 0, 1, lots, 100, 0), order(0, 0, 1, lots, 100, ((owner, 1),)))
    qty = data_qty = min(total, sum(pieces))
    assume(qty > 0)
    leaving = order(1, 0, -1, qty, 100, owners)
    for piece in pieces:
        piece = min(piece, data_qty)
        if piece:
            account.apply(Fill(1, 0, 1, 0, -1, piece, 100, 0), leaving)
            leaving.filled_lot += piece
            data_qty -= piece
    expected = split(qty, tuple(held))
    for (owner, lots), part in zip(owners, expected, strict=True):
        assert account.book(owner, 0).position_lot == lots - part >= 0
    assert account.position_lot(0) == total - qty


@given(st.integers(0, 10**18), st.lists(st.integers(0, 10**9), min_size=1, max_size=8))
def test_split_adds_up_and_is_fair_to_one_unit(total, weights):
    assume(sum(weights) > 0)
    parts = split(total, tuple(weights))
    assert sum(parts) == total
    for part, weight in zip(parts, weights, strict=True):
        assert abs(Fraction(part) - Fraction(total * weight, sum(weights))) < 1


@pytest.mark.parametrize("plant", ["fee", "base", "cost"])
def test_planted_errors_are_seen(plant, monkeypatch):
    """One unit wrong anywhere is seen by the comparisons above."""
    original = Book.apply

    def wrong(self, side, qty, notional):
        moved = original(self, side, qty, notional)
        if plant == "cost":
            self.cost += 1
        return moved

    monkeypatch.setattr(Book, "apply", wrong)
    account = portfolio(Decimal(1000), 1.0, 2.0)
    reference = MoneyReference({n: exact(u) for n, u in account.total.items()}, 1.0, 2.0)
    fill = Fill(0, 0, 0, 0, 1, 123_456, 654_321, 0)
    account.apply(fill, order(0, 0, 1, 123_456, 654_321))
    reference.fill(fill)
    if plant == "fee":
        account.total["USDT"] += 1
    if plant == "base":
        account.total["BTC"] -= 1
    same_money = {n: exact(u) for n, u in account.total.items()} == reference.balances
    book = account.book(NOBODY, 0)
    same_flow = exact(book.realized - book.cost) == reference.flow[0]
    assert not (same_money and same_flow)
