"""Paper matching in the kernel against the rules written a second time, event by event."""

from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.kernel import KernelModule, load_kernel
from engine.rows import BAR_OPEN, Kind
from features.spec import FeatureSpec
from tests.venues.matching_world import NS, START, KernelVenue, Twins, price_of
from tests.venues.paper_reference import GTC, IOC, MARKET, POST_ONLY, PaperReference, Resting

BASE = 10_000  # ticks


@pytest.fixture(scope="module")
def kernel() -> KernelModule:
    """Load the kernel that trades, with one small feature."""
    return load_kernel([FeatureSpec(features=(("mid_price_velocity_1s", {}),))])


@dataclass
class Step:
    """One random step; what the numbers mean depends on `what`."""

    what: str
    dt: int
    a: int
    b: int
    c: int
    d: int


steps = st.lists(
    st.builds(
        Step,
        what=st.sampled_from(["quote"] * 4 + ["trade"] * 3 + ["place"] * 4 + ["cancel", "crossed"]
                             + ["depth"] * 2),
        dt=st.integers(0, 5),
        a=st.integers(-4, 4),
        b=st.integers(1, 4),
        c=st.integers(0, 120),
        d=st.integers(0, 120),
    ),
    min_size=5,
    max_size=60,
)  # fmt: skip


def play(twins: Twins, script: list[Step], sizes: bool, depth: bool) -> None:
    """Give both a random market and random orders; sizes are tenths of a lot."""
    mid = BASE
    placed: list[int] = []
    quotes = not twins.reference.touch_from_depth
    if depth:
        ladder = [(-1, mid + k, Fraction(20 * k, 10)) for k in range(1, 6)]
        twins.depth(1, ladder + [(1, mid - k, Fraction(30 * k, 10)) for k in range(1, 6)], True)
    for s in script:
        big, small = Fraction(s.c + 1, 10), Fraction(s.d + 1, 10)
        if s.what == "quote" and quotes:
            mid += s.a
            twins.quote(s.dt, mid, mid + s.b, big if sizes else None, small if sizes else None)
        elif s.what == "crossed" and quotes:
            twins.quote(s.dt, mid + s.b, mid, big, small)
        elif s.what == "trade":
            twins.trade(s.dt, mid + s.a, big, 1 if s.d % 2 else -1)
        elif s.what == "place":
            order_type = (MARKET, GTC, GTC, IOC, POST_ONLY)[s.c % 5]
            collar = (1, 1 << 40) if s.d % 3 else (mid - 2, mid + 3)
            side = 1 if s.b % 2 else -1
            placed.append(twins.place(side, order_type, 1 + s.d % 17, mid + s.a, s.dt * 2, collar))
        elif s.what == "cancel" and placed:
            twins.cancel(placed[s.c % len(placed)], s.dt)
        elif s.what == "depth" and depth:
            size = Fraction(0) if s.c % 4 == 0 else big
            side = 1 if s.d % 2 else -1
            level = mid - side * (s.b + 1) + (0 if quotes else s.a // 3)
            twins.depth(s.dt, [(side, level, size)])
    if quotes:
        twins.quote(100, mid, mid + 1, Fraction(9), Fraction(9))


@settings(max_examples=250, deadline=None)
@given(script=steps)
def test_quotes_with_sizes(kernel, script):
    twins = Twins(kernel, ("quotes", "quote_sizes", "trades", "trade_sides"))
    play(twins, script, sizes=True, depth=False)
    assert twins.agree() == twins.venue.events


@settings(max_examples=100, deadline=None)
@given(script=steps)
def test_quotes_without_sizes(kernel, script):
    twins = Twins(kernel, ("quotes", "trades"))
    play(twins, script, sizes=False, depth=False)
    assert twins.agree() == twins.venue.events


@settings(max_examples=150, deadline=None)
@given(script=steps)
def test_quotes_and_depth(kernel, script):
    twins = Twins(kernel, ("quotes", "quote_sizes", "trades", "trade_sides", "depth"))
    play(twins, script, sizes=True, depth=True)
    assert twins.agree() == twins.venue.events


@settings(max_examples=150, deadline=None)
@given(script=steps)
def test_depth_alone(kernel, script):
    twins = Twins(kernel, ("trades", "trade_sides", "depth"))
    play(twins, script, sizes=True, depth=True)
    assert twins.agree() == twins.venue.events


def lots(*numbers: float) -> tuple[Fraction, ...]:
    """Return exact lots."""
    return tuple(Fraction(number) for number in numbers)


@pytest.mark.parametrize("has", [("trades", "depth"), ("quotes", "quote_sizes", "depth")])
def test_a_level_that_we_took_stays_taken_when_the_touch_moves(kernel, has):
    """Take the touch, let a better one come: the level behind it is still empty for us."""
    twins = Twins(kernel, has)
    book = [(1, BASE - 1, Fraction(9)), (-1, BASE, Fraction(5)), (-1, BASE + 1, Fraction(7))]
    twins.depth(1, book, snapshot=True)
    if "quotes" in has:
        twins.quote(1, BASE - 1, BASE, *lots(9, 5))
    twins.place(1, MARKET, 5, 0, 1)
    twins.trade(2, BASE + 50, Fraction(1), 1)
    if "quotes" in has:
        twins.quote(1, BASE - 1, BASE, *lots(9, 5))  # said again, unchanged: not refreshed
        twins.depth(1, [(1, BASE - 1, Fraction(0)), (1, BASE - 2, Fraction(3)),
                        (-1, BASE - 1, Fraction(1))])  # fmt: skip
        twins.quote(1, BASE - 2, BASE - 1, *lots(3, 1))
    else:
        twins.depth(1, [(1, BASE - 1, Fraction(0)), (1, BASE - 2, Fraction(3)),
                        (-1, BASE - 1, Fraction(1))])  # fmt: skip
    twins.place(1, MARKET, 4, 0, 1)
    twins.trade(2, BASE + 50, Fraction(1), 1)
    events = twins.agree()
    taken = [(e[2], e[3]) for e in events if e[0] == 2]
    assert taken == [(5, BASE), (1, BASE - 1), (3, BASE + 1)]


def test_the_touch_fills_once_until_it_changes(kernel):
    twins = Twins(kernel, ("quotes", "quote_sizes"))
    twins.quote(1, BASE, BASE + 1, *lots(5, 5))
    twins.place(1, IOC, 3, BASE + 1, 1)
    twins.place(1, IOC, 3, BASE + 1, 2)
    twins.place(1, IOC, 3, BASE + 1, 3)
    twins.quote(3, BASE, BASE + 1, *lots(4, 5))  # the bid changed, the ask did not
    twins.place(1, IOC, 3, BASE + 1, 1)
    twins.quote(1, BASE, BASE + 1, *lots(4, 6))
    twins.place(1, IOC, 3, BASE + 1, 1)
    twins.quote(1, BASE, BASE + 2, *lots(4, 6))
    kinds = [(e[0], e[1], e[2]) for e in twins.agree()]
    assert kinds == [(2, 1, 3), (2, 2, 2), (4, 2, 1), (4, 3, 3), (4, 4, 3), (2, 5, 3)]


def test_first_in_line_first_filled(kernel):
    """Better prices stand first, then who came first, wherever their records lie."""
    twins = Twins(kernel, ("quotes", "quote_sizes", "trades", "trade_sides"))
    twins.quote(1, BASE, BASE + 5, *lots(9, 9))
    early = twins.place(1, GTC, 2, BASE + 1, 1)
    twins.quote(2, BASE, BASE + 5, *lots(9, 8))
    first = twins.place(1, GTC, 2, BASE + 2, 1)
    twins.cancel(early, 1)
    twins.quote(2, BASE, BASE + 5, *lots(9, 7))
    second = twins.place(1, GTC, 2, BASE + 2, 1)  # takes the record of the cancelled one
    better = twins.place(1, GTC, 2, BASE + 3, 2)
    twins.quote(3, BASE, BASE + 5, *lots(9, 6))
    twins.quote(1, BASE, BASE + 2, *lots(9, 3))
    twins.quote(1, BASE, BASE + 2, *lots(9, 2))
    fills = [e[1:4] for e in twins.agree() if e[0] == 2]
    assert fills == [(better, 2, BASE + 3), (first, 1, BASE + 2), (first, 1, BASE + 2),
                     (second, 1, BASE + 2)]  # fmt: skip


def test_queue_before_fill_and_no_fill_on_touch(kernel):
    twins = Twins(kernel, ("quotes", "quote_sizes", "trades", "trade_sides"))
    twins.quote(1, BASE, BASE + 1, *lots(5, 5))
    mine = twins.place(1, POST_ONLY, 4, BASE, 1)
    twins.quote(1, BASE, BASE + 1, *lots(8, 5))  # those who came later stand behind us
    twins.trade(1, BASE, Fraction(3), -1)
    twins.trade(1, BASE, Fraction(2), -1)  # the queue of 5 is gone
    twins.trade(1, BASE, Fraction(2), 1)  # a buyer hits the other side of the book
    assert [e[0] for e in twins.agree()] == [1]
    twins.trade(1, BASE, Fraction(7, 4), -1)  # 1.75 lots: one whole lot
    twins.trade(1, BASE - 1, Fraction(1, 10), -1)  # through our price: all that is left
    assert [e[:4] for e in twins.agree()[1:]] == [(2, mine, 1, BASE), (2, mine, 3, BASE)]


def test_beyond_the_known_book_nobody_knows_the_queue(kernel):
    """Only a trade through such a price fills it, or its becoming the touch."""
    twins = Twins(kernel, ("trades", "trade_sides", "depth"))
    book = [(1, BASE - 1, Fraction(9)), (1, BASE - 3, Fraction(2)), (-1, BASE, Fraction(5))]
    twins.depth(1, book, snapshot=True)
    known = twins.place(1, GTC, 4, BASE - 2, 1)  # inside: no level, nobody ahead
    deep = twins.place(1, GTC, 4, BASE - 4, 1)
    twins.trade(2, BASE - 2, Fraction(3), -1)
    twins.trade(1, BASE - 4, Fraction(50), -1)
    assert [e[:3] for e in twins.agree() if e[0] == 2] == [(2, known, 3), (2, known, 1)]
    twins.depth(1, [(1, BASE - 1, Fraction(0)), (1, BASE - 3, Fraction(0)),
                    (1, BASE - 4, Fraction(6))])  # fmt: skip
    twins.trade(1, BASE - 4, Fraction(8), -1)
    assert [e[:3] for e in twins.agree() if e[0] == 2][2:] == [(2, deep, 2)]


def test_market_orders_of_bars_alone_fill_at_the_next_open(kernel):
    """A bar's close fills nothing; the open of the next one does, on its assumed touch."""
    venue = KernelVenue(kernel, ("bars",))

    def bar_quote(ts: int, bid: int, ask: int, flags: int) -> None:
        venue.feed([{"kind": Kind.QUOTE, "ts_recv": ts, "ts_event": ts, "f0": price_of(bid),
                     "f1": price_of(ask), "f2": 1.0, "f3": 1.0, "flags": flags}])  # fmt: skip

    bar_quote(START, BASE, BASE + 2, BAR_OPEN)
    venue.place(Resting(1, 1, MARKET, 3, 0, (1, 1 << 40), START + 5))
    bar_quote(START + 60 * NS, BASE + 10, BASE + 12, 0)
    assert venue.events == []
    bar_quote(START + 60 * NS, BASE + 20, BASE + 22, BAR_OPEN)
    assert venue.events == [(2, 1, 3, BASE + 22, 0, 0, START + 60 * NS)]


def test_planted_errors_in_the_reference_are_seen(kernel):
    """The comparison can fail: each broken rule parts the two on some script."""

    class NoQueue(PaperReference):
        def _rest(self, order):
            super()._rest(order)
            order.queue = Fraction(0)

    class NoMemory(PaperReference):
        def _take_touch(self, side, qty):
            pass

    class NoPostOnly(PaperReference):
        def _arrive(self, order):
            order.order_type = GTC if order.order_type == POST_ONLY else order.order_type
            super()._arrive(order)

    class AnyAggressor(PaperReference):
        def trade(self, ts, price, size, side):
            super().trade(ts, price, size, 0)

    for broken in (NoQueue, NoMemory, NoPostOnly, AnyAggressor):
        parted = 0
        for seed in range(30):
            twins = Twins(kernel, ("quotes", "quote_sizes", "trades", "trade_sides"))
            twins.reference = broken()
            random = np.random.default_rng(seed)
            kinds = ["quote", "quote", "trade", "place", "place"]
            script = [
                Step(kinds[random.integers(5)], int(random.integers(1, 5)),
                     int(random.integers(-2, 3)), int(random.integers(1, 4)),
                     int(random.integers(120)), int(random.integers(120)))
                for _ in range(60)
            ]  # fmt: skip
            play(twins, script, sizes=True, depth=False)
            parted += [e.key() for e in twins.reference.events] != twins.venue.events
        assert parted > 0, broken.__name__
