"""Windows of kernel time against a plain list of what was added."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from engine.market import MARKET
from features.step import step
from features.time_window import (
    CELLS,
    NS_PER_S,
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
