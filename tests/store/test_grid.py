"""Increments: the finest one seen, exact, and deaf to float noise."""

from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import UsageError
from store.grid import Grid, Increment, checked_increment

STEPS = [Decimal(one) for one in
         ("0.00000001", "0.0001", "0.01", "0.05", "0.25", "0.5", "1", "5", "10")]  # fmt: skip


@given(
    step=st.sampled_from(STEPS),
    counts=st.lists(st.integers(1, 10**6), min_size=60, max_size=120, unique=True),
    parts=st.integers(1, 4),
)
def test_the_step_of_a_grid_is_found(step: Decimal, counts: list[int], parts: int) -> None:
    values = np.array([float(step * one) for one in [*counts, 1, 2, 3]])
    increment = Increment()
    for part in np.array_split(values, parts):
        increment.add(part)
    assert Decimal(increment.text() or "0") == step
    assert increment.noise == 0


def test_averaged_mids_do_not_count() -> None:
    ticks = 91.0 + np.arange(200) / 1000.0
    noise = np.array([0.1 + 0.2, (91.001 + 91.002) / 3.0])
    increment = Increment()
    increment.add(np.rint(ticks * 1000.0) / 1000.0)
    increment.add(noise)
    assert increment.text() == "0.001"
    assert increment.noise == 2


def test_few_values_are_not_trusted_above_their_decimals() -> None:
    increment = Increment()
    increment.add(np.array([100.0, 200.0, 300.0]))
    assert increment.text() == "1"
    assert Increment().text() is None


def test_lots_come_from_trades_before_levels_before_volumes() -> None:
    grid = Grid()
    grid.volume.add(np.array([12.5] * 50))
    assert grid.lot() == ("0.1", True)
    grid.level.add(np.array([0.000007]))
    assert grid.lot() == ("0.000001", True)
    grid.size.add(np.array([0.001, 0.002]))
    assert grid.lot() == ("0.001", True)


@pytest.mark.parametrize(("price", "lot"), [(1.38, "0.001"), (1300.0, "0.000001"), (0.2, "0.01")])
def test_without_sizes_a_lot_is_worth_a_cent_at_most(price: float, lot: str) -> None:
    grid = Grid()
    grid.price.add(np.array([price]))
    assert grid.lot() == (lot, False)
    assert float(lot) * price <= 0.01


def test_minimum_notional_needs_many_trades() -> None:
    grid = Grid()
    grid.add_trades(np.full(999, 100.0), np.full(999, 0.0537))
    assert grid.min_notional() == "0"
    grid.add_trades(np.array([100.0]), np.array([0.0537]))
    assert grid.min_notional() == "5"


@pytest.mark.parametrize("text", ["0", "-1", "nan", "inf", "1,5", "", "1e99"])
def test_wrong_increments_are_refused(text: str) -> None:
    with pytest.raises(UsageError, match=r"--tick .*: allowed is a decimal number above 0"):
        checked_increment("--tick", text)
    assert checked_increment("--min-notional", "0", zero=True) == "0"
