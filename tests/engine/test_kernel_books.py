"""The kernel's money and books, against the Python ones that have no bound."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.events import Fill
from engine.kernel import books, exact
from engine.kernel.layout import ROOT
from engine.kernel.ledger import GRID, LEDGER
from engine.money import FEE_SCALE, Grid, fee
from tests.engine.test_portfolio_properties import INSTRUMENTS, amounts, fills, order, portfolio

LARGEST = (1 << 61) - 1


def record(instrument: int) -> np.void:
    """Return an instrument's GRID record."""
    grid = Grid(INSTRUMENTS[instrument])
    made = np.zeros(1, GRID)
    made["tick"], made["num"], made["den"] = grid.tick, grid.num, grid.den
    return made[0]


@settings(max_examples=500, deadline=None)
@given(st.integers(0, len(INSTRUMENTS) - 1), st.integers(1, LARGEST), st.integers(1, LARGEST))
def test_a_notional_is_exact_or_said_not_to_fit(at, price, qty):
    wanted = Grid(INSTRUMENTS[at]).notional(price, qty)
    found = int(exact.notional(record(at), price, qty))
    if found == exact.NO_FIT:
        assert wanted > LARGEST
    else:
        assert found == wanted


@settings(max_examples=300, deadline=None)
@given(st.integers(0, len(INSTRUMENTS) - 1), st.integers(1, 10**10), st.integers(1, 10**10))
def test_notionals_of_ordinary_orders_fit(at, price, qty):
    wanted = Grid(INSTRUMENTS[at]).notional(price, qty)
    if wanted <= LARGEST:
        assert int(exact.notional(record(at), price, qty)) == wanted


@settings(max_examples=500, deadline=None)
@given(st.integers(0, LARGEST), st.integers(-FEE_SCALE, FEE_SCALE))
def test_a_fee_is_exact(amount, rate):
    assert int(exact.fee(amount, rate)) == fee(amount, rate)


@settings(max_examples=500, deadline=None)
@given(st.integers(-LARGEST, LARGEST), st.integers(1, LARGEST), st.data())
def test_a_share_is_exact(amount, whole, data):
    part = data.draw(st.integers(0, whole))
    assert int(exact.share(amount, part, whole)) == amount * part // whole


class Trips:
    """Round trips lost in a row, counted from what each fill brought."""

    def __init__(self) -> None:
        self.lots: dict[tuple[int, int], int] = {}
        self.gains: dict[tuple[int, int], int] = {}
        self.lost: dict[int, int] = {}

    def take(self, key: tuple[int, int], lots: int, gain: int) -> dict[int, int]:
        """Take a fill of (owner, instrument), signed lots, gain after its fee."""
        before = self.lots.get(key, 0)
        after = self.lots[key] = before + lots
        self.gains[key] = self.gains.get(key, 0) + gain
        if before and after * before <= 0:
            if total := self.gains.pop(key):
                self.lost[key[0]] = self.lost.get(key[0], 0) + 1 if total < 0 else 0
        return self.lost


@settings(max_examples=200, deadline=None)
@given(amounts, fills, st.sampled_from([(1.0, 2.0), (-0.5, 7.5), (0.25, 3.3333)]))
def test_fills_of_one_owner_book_as_in_python(amount, script, bps):
    """Balances, fees, results and every book, of models and strategies, to the last unit."""
    mine, theirs = portfolio(amount, *bps), portfolio(amount, *bps)
    root = np.zeros(1, ROOT)
    root["n_instruments"] = len(INSTRUMENTS)
    mine.give_records(root[0])
    line = np.zeros(1, LEDGER)[0]
    trips, lost = Trips(), {}
    for number, (at, side, qty, price, liquidity, owners) in enumerate(script):
        approved = order(number, at, side, qty, price, owners[:1])
        approved.strategy = line["strategy"] = number % 3 - 1
        line["instrument"], line["side"] = at, side
        line["owner"] = owners[0][0] if owners else -1
        moved = books.apply_fill(root[0], line, (qty, price, int(liquidity)))
        fill = Fill(number, number, number, at, side, qty, price, int(liquidity))
        (change,) = theirs.apply(fill, approved)
        assert moved == (change.opened, change.closed, change.gain, change.fee)
        lost = trips.take((int(line["owner"]), at), side * qty, change.gain - change.fee)
    assert (mine.wallets == theirs.wallets).all()
    assert (mine.books.records == theirs.books.records).all()
    assert (mine.strategy_books.records == theirs.strategy_books.records).all()
    assert (mine.desk["losses"] == theirs.desk["losses"]).all()
    assert {o - 1: int(n) for o, n in enumerate(mine.desk[0]["losses"]) if n} == {
        owner: n for owner, n in lost.items() if n
    }
