"""Windows of kernel time against a plain list of what was added."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.market import MARKET
from features.step import step
from features.time_window import (
    CELLS,
    LANES,
    NS_PER_S,
    edge_cell,
    first_inside,
    level_before,
    level_set,
    window_add,
    window_dtype,
    window_init,
    window_sums,
    window_touch,
)

CELL = NS_PER_S // CELLS
jumps = st.sampled_from([0, 1, CELL // 2, *(n * CELL for n in (1, 7, 400, 999, 5000))])
steps = st.lists(st.tuples(jumps, st.integers(-100, 100), st.booleans()), min_size=1, max_size=80)


def market(ts: int) -> np.ndarray:
    m = np.zeros(1, MARKET)
    m["ts"] = ts
    return m


@step
def start(w, m):  # type: ignore[no-untyped-def]
    window_init(w, 1)
    window_touch(w, m)


@given(steps)
def test_sums_equal_those_of_a_plain_list(moves: list[tuple[int, int, bool]]) -> None:
    w, m = np.zeros(1, window_dtype(2)), market(10 * NS_PER_S)
    start(w[0], m[0])
    seen: list[tuple[int, int]] = []
    for dt, x, add in moves:
        m["ts"] += dt
        if add:
            seen.append((int(m["ts"][0]) // CELL, x))
            window_add(w[0], m[0], float(x), float(abs(x)))
        inside = [x for cell, x in seen if cell > int(m["ts"][0]) // CELL - CELLS]
        assert window_sums(w[0], m[0]) == (sum(inside), sum(abs(x) for x in inside))
    assert m["window_overflows"][0] == 0


@given(steps)
def test_the_level_before_the_window_equals_that_of_a_plain_list(
    moves: list[tuple[int, int, bool]],
) -> None:
    w, m = np.zeros(1, window_dtype(1)), market(10 * NS_PER_S)
    start(w[0], m[0])
    level_set(w[0], m[0], 1.0)
    seen = [(10 * NS_PER_S // CELL, 1.0)]
    for dt, x, add in moves:
        m["ts"] += dt
        if add:
            seen.append((int(m["ts"][0]) // CELL, float(x)))
            level_set(w[0], m[0], float(x))
        edge = int(m["ts"][0]) // CELL - CELLS
        outside = [x for cell, x in seen if cell <= edge]
        if outside:
            assert level_before(w[0], m[0]) == outside[-1]


def test_no_rounding_is_left_behind() -> None:
    w, m = np.zeros(1, window_dtype(2)), market(10 * NS_PER_S)
    start(w[0], m[0])
    for x in (1e16, 0.1, 0.2):
        window_add(w[0], m[0], x, x)
        m["ts"] += NS_PER_S // 2
    assert window_sums(w[0], m[0])[0] == 0.2


def test_a_ring_that_is_too_small_says_so_and_keeps_the_newest() -> None:
    w, m = np.zeros(1, window_dtype(2, ring=4)), market(10 * NS_PER_S)
    start(w[0], m[0])
    for x in range(1, 8):
        window_add(w[0], m[0], float(x), 0.0)
        m["ts"] += CELL
    assert m["window_overflows"][0] == 3
    assert window_sums(w[0], m[0])[0] == 4 + 5 + 6 + 7
    levels, m = np.zeros(1, window_dtype(1, ring=4)), market(10 * NS_PER_S)
    start(levels[0], m[0])
    for x in range(7):
        level_set(levels[0], m[0], float(x))
        m["ts"] += CELL
    assert m["window_overflows"][0] == 3


def test_the_busiest_second_fits() -> None:
    w, m = np.zeros(1, window_dtype(2)), market(10 * NS_PER_S)
    start(w[0], m[0])
    for _ in range(3 * CELLS):
        window_add(w[0], m[0], 1.0, 1.0)
        m["ts"] += CELL
    assert m["window_overflows"][0] == 0
    m["ts"] -= CELL
    assert window_sums(w[0], m[0])[0] == CELLS


def fresh(columns: int) -> tuple[np.ndarray, np.ndarray]:
    w, m = np.zeros(1, window_dtype(columns)), market(10 * NS_PER_S)
    start(w[0], m[0])
    return w, m


def filled(w: np.ndarray, m: np.ndarray, cells: int, seed: int) -> np.ndarray:
    """Add a random number to each of the next cells; return the numbers."""
    numbers = np.random.default_rng(seed).lognormal(0.0, 3.0, cells)
    for x in numbers:
        m["ts"] += CELL
        window_add(w[0], m[0], x, -x)
    return numbers


gaps = st.lists(st.integers(0, 40) | st.integers(0, 3 * CELLS), min_size=1, max_size=12)


@given(gaps, st.integers(0, 2 * CELLS), st.integers(0, 9))
def test_jumping_over_a_quiet_time_equals_stepping_through_it(
    quiet: list[int], lively: int, seed: int
) -> None:
    (stepped, m), (jumped, n) = fresh(2), fresh(2)
    filled(stepped, m, lively, seed)
    filled(jumped, n, lively, seed)
    for k, cells in enumerate(quiet):
        for _ in range(cells):
            m["ts"] += CELL
            window_sums(stepped[0], m[0])
        n["ts"] += cells * CELL
        assert window_sums(jumped[0], n[0]) == window_sums(stepped[0], m[0])  # to the last bit
        if k % 2:
            window_add(stepped[0], m[0], 0.1, 0.2)
            window_add(jumped[0], n[0], 0.1, 0.2)


@given(gaps, st.integers(0, 2 * CELLS))
def test_levels_are_the_same_jumped_to_and_stepped_to(quiet: list[int], lively: int) -> None:
    (stepped, m), (jumped, n) = fresh(1), fresh(1)
    for at in range(lively):
        for w, mark in ((stepped, m), (jumped, n)):
            mark["ts"] += CELL
            level_set(w[0], mark[0], float(at))
    for cells in quiet:
        for _ in range(cells):
            m["ts"] += CELL
            level_before(stepped[0], m[0])
        n["ts"] += cells * CELL
        assert level_before(jumped[0], n[0]) == level_before(stepped[0], m[0])


@pytest.mark.parametrize("lively", [1, LANES, LANES + 1, 100, CELLS])
def test_while_nothing_is_added_sums_go_from_the_oldest_cell_to_the_newest(lively: int) -> None:
    w, m = fresh(2)
    numbers = filled(w, m, lively, seed=lively)
    m["ts"] += (CELLS - lively) * CELL  # the first cell is the next to leave
    for gone in range(1, lively + 1):
        m["ts"] += CELL
        total = 0.0
        for x in numbers[gone:]:
            total += x
        assert window_sums(w[0], m[0]) == (total, -total)


def test_sums_are_made_once_for_several_cells_that_leave() -> None:
    w, m = fresh(2)
    filled(w, m, CELLS, seed=5)
    made = set()
    for _ in range(CELLS):
        m["ts"] += CELL
        for _ in range(3):
            window_sums(w[0], m[0])
            made.add(int(w["summed"][0]))
    assert len(made) <= CELLS // LANES + 1


def test_time_that_steps_back_finds_the_cells_again() -> None:
    w, m = fresh(2)
    numbers = filled(w, m, 50, seed=1)
    m["ts"] += 2 * CELLS * CELL
    assert window_sums(w[0], m[0]) == (0.0, 0.0)
    m["ts"] -= 2 * CELLS * CELL
    assert window_sums(w[0], m[0])[0] == pytest.approx(numbers.sum())


class Counted(np.ndarray):
    """A ring that counts how often it is looked at."""

    looks = 0

    def __getitem__(self, key: Any) -> Any:
        Counted.looks += 1
        return super().__getitem__(key)


@given(gaps, st.integers(1, CELLS))
def test_each_cell_is_passed_once_however_often_the_window_is_read(
    quiet: list[int], lively: int
) -> None:
    w, m = fresh(2)
    filled(w, m, lively, seed=3)
    record = {name: w[name][0] for name in w.dtype.names or ()}
    record["cell"] = record["cell"].view(Counted)
    Counted.looks = reads = 0
    for cells in quiet:
        m["ts"] += cells * CELL
        for _ in range(5):
            first_inside.py_func(record, edge_cell(w[0], m[0]))  # type: ignore[attr-defined]
            reads += 1
    assert Counted.looks <= 2 * reads + lively
