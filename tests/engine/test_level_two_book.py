"""The kernel's level-two book: its levels, its sequence, and what a torn or crossed one shows."""

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.kernel import KernelModule, load_kernel
from engine.instruments import Instrument
from engine.kernel.book import clear_book, gather_levels, set_ask, set_bid
from engine.kernel.layout import MATCHING, Reason
from engine.kernel.state import KernelRules, KernelState
from engine.market import BOOK_SLOTS, MARKET, TOP_LEVELS
from engine.rows import LAST, ROW, SNAPSHOT, SNAPSHOT_START, Kind
from features.spec import FeatureSpec

SECOND = 1_000_000_000
START = 1_700_000_000 * SECOND
RULES = KernelRules(
    implied_wakes=True, bar_interval_ns=60 * SECOND, bar_grace_ns=0, max_data_age_ns=1 << 60,
    max_jump=0.9, jump_confirmations=1, trigger_confirmations=1, sample_ns=1 << 60,
    assumed_notional=1.0, half_spread=1e-4,
)  # fmt: skip
BOOK_GAP = 1
Level = tuple[int, int, float]  # side, tick, size


def instrument(*has: str) -> Instrument:
    return Instrument(
        venue="test", symbol="BTCUSDT", base="BTC", quote="USDT", tick="0.1", lot="0.001", has=has
    )


def bare_book() -> tuple[np.void, np.void, list[np.ndarray]]:
    """Return the records of a book without a kernel, and the memory behind them."""
    x, m = np.zeros(1, MATCHING), np.zeros(1, MARKET)
    memory = [np.zeros(BOOK_SLOTS, kind) for kind in (float, float, float, float, "i8", "i8")]
    for name, part in zip(("bid_book", "ask_book"), memory):
        m[name] = part.ctypes.data
    for name, part in zip(("bid_used", "ask_used", "bid_ticks", "ask_ticks"), memory[2:]):
        x[name] = part.ctypes.data
    x["tick_divisor"] = 10.0
    return x[0], m[0], [x, m, *memory]


levels = st.lists(
    st.tuples(
        st.sampled_from([1, -1]),
        st.integers(1, 60) | st.integers(100_000, 100_040),
        st.sampled_from([0.0, 0.0, 0.5, 1.0, 2.5]),
    ),
    max_size=120,
)


@settings(max_examples=150, deadline=None)
@given(levels, levels)
def test_the_best_levels_are_those_of_a_sorted_table(before: list[Level], after: list[Level]):
    """A snapshot forgets all; two prices a whole ring apart share a place and the nearer stays."""
    x, m, memory = bare_book()
    for updates in (before, after):
        clear_book(x, m)
        wanted: dict[int, dict[int, float]] = {1: {}, -1: {}}
        for side, tick, size in updates:
            tick += 1_000 if side < 0 else 0
            (set_bid if side > 0 else set_ask)(x, m, tick, size)
            wanted[side].pop(tick, None)
            if size:
                wanted[side][tick] = size
    gather_levels(x, m)
    for side, name in ((1, "bid"), (-1, "ask")):
        ticks = sorted(wanted[side], reverse=side > 0)
        near = [t for t in ticks if abs(t - ticks[0]) < BOOK_SLOTS][:TOP_LEVELS]
        assert m[f"best_{name}_tick"] == (near[0] if near else 0)
        prices, sizes = m[f"{name}_prices"], m[f"{name}_sizes"]
        assert prices[: len(near)].tolist() == [tick / 10 for tick in near]
        assert sizes[: len(near)].tolist() == [wanted[side][tick] for tick in near]
        assert np.isnan(prices[len(near) :]).all()
        assert not sizes[len(near) :].any()
    assert len(memory) == 8


@pytest.fixture(scope="module")
def kernel() -> KernelModule:
    # no feature is looked at: the one of tests/app/lively.py has a kernel already
    return load_kernel([FeatureSpec(features=(("mid_price_velocity_1s", {}),))])


class Market:
    """One instrument under the compiled kernel."""

    def __init__(self, kernel: KernelModule, *has: str) -> None:
        self.kernel = kernel
        self.state = KernelState([instrument(*has)], 0, kernel.features, RULES)
        self.state.root["needs_levels"] = 1
        kernel.start(self.state.address)
        self.m, self.x, self.root = (
            self.state.markets[0], self.state.matching[0], self.state.root[0],
        )  # fmt: skip
        self.rows = np.zeros(256, ROW)
        self.count = 0

    def row(self, kind: Kind, flags: int = LAST, side: int = 0, **slots: float) -> None:
        row = self.rows[self.count]
        self.count += 1
        row["kind"], row["flags"], row["side"] = kind, flags, side
        row["ts_event"] = row["ts_recv"] = START + self.count * SECOND
        for name, value in slots.items():
            row[name] = value
        advance, address = self.kernel.advance, self.rows.ctypes.data
        while Reason.HEAD not in Reason(advance(self.state.address, address, 0, self.count)):
            pass

    def packet(self, changes: Sequence[Level], snapshot: bool = False) -> None:
        for k, (side, tick, size) in enumerate(changes):
            flags = LAST if k == len(changes) - 1 else 0
            flags |= SNAPSHOT * snapshot | SNAPSHOT_START * (snapshot and k == 0)
            self.row(Kind.DEPTH, flags, side, f0=tick / 10, f1=size, i2=tick)


WHOLE = [(1, 1000, 2.0), (1, 999, 1.0), (-1, 1002, 3.0), (-1, 1004, 1.0)]


def test_a_torn_book_shows_nothing_until_its_next_snapshot(kernel):
    market = Market(kernel, "depth")
    market.packet(WHOLE, snapshot=True)
    assert (market.m["depth_count"], market.x["trusted"], market.m["stale"]) == (1, 1, 0)
    market.row(Kind.GAP, i2=BOOK_GAP)
    assert (market.m["depth_count"], market.x["trusted"], market.m["stale"]) == (0, 0, 1)
    market.packet([(1, 1001, 5.0)])
    market.packet([(-1, 1003, 5.0)])
    assert (market.m["depth_count"], market.x["trusted"], market.m["stale"]) == (0, 0, 1)
    market.packet(WHOLE, snapshot=True)
    assert (market.m["depth_count"], market.x["trusted"], market.m["stale"]) == (1, 1, 0)
    assert (market.m["bid"], market.m["ask"]) == (100.0, 100.2)


def test_a_torn_book_beside_quotes_leaves_the_quotes_alone(kernel):
    market = Market(kernel, "depth", "quotes", "quote_sizes")
    market.row(Kind.QUOTE, f0=100.0, f1=100.2, f2=1.0, f3=1.0)
    market.packet(WHOLE, snapshot=True)
    market.row(Kind.GAP, i2=BOOK_GAP)
    assert (market.m["depth_count"], market.x["trusted"], market.m["stale"]) == (0, 1, 0)
    market.packet([(1, 1001, 5.0)])
    assert market.m["depth_count"] == 0
    market.packet(WHOLE, snapshot=True)
    assert market.m["depth_count"] == 1


@pytest.mark.parametrize("price", [1002, 1003], ids=["locked", "crossed"])
@pytest.mark.parametrize("has", ["depth", "depth quotes quote_sizes"])
def test_a_crossed_book_is_counted_and_shows_nothing_until_it_is_uncrossed(kernel, has, price):
    market = Market(kernel, *has.split())
    market.row(Kind.QUOTE, f0=100.0, f1=100.2, f2=1.0, f3=1.0)
    market.packet(WHOLE, snapshot=True)
    quoted = "quotes" in has
    market.packet([(1, price, 1.0)])
    assert market.root["dropped_crossed"] == 1
    assert market.m["depth_count"] == 0
    assert market.x["trusted"] == quoted
    market.packet([(1, price, 0.0)])
    assert market.root["dropped_crossed"] == 1
    assert market.m["depth_count"] == 1
    assert market.x["trusted"] == 1


def test_an_emptied_side_takes_the_trust_away_until_it_is_filled(kernel):
    market = Market(kernel, "depth")
    market.packet(WHOLE, snapshot=True)
    for side, one, other in ((1, (1, 1000), (1, 999)), (-1, (-1, 1002), (-1, 1004))):
        market.packet([(*one, 0.0)])
        assert market.x["trusted"] == 1
        market.packet([(*other, 0.0)])
        assert market.x["trusted"] == 0
        assert market.m["best_bid_tick" if side > 0 else "best_ask_tick"] == 0
        market.packet([(*one, 1.0)])
        assert market.x["trusted"] == 1


@pytest.mark.parametrize(
    ("size", "tick"), [(np.nan, 1001), (np.inf, 1001), (-1.0, 1001), (1.0, 0), (1.0, -5)]
)
def test_levels_that_are_none_move_nothing(kernel, size, tick):
    market = Market(kernel, "depth")
    market.packet(WHOLE, snapshot=True)
    before = [part.tobytes() for part in market.state.books]
    market.packet([(1, tick, size)])
    assert [part.tobytes() for part in market.state.books] == before
    assert (market.m["bid"], market.x["trusted"]) == (100.0, 1)
