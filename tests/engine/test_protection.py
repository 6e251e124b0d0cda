"""Protective legs: what is held stays watched, whatever stands in the way of an exit."""

from types import SimpleNamespace

import numpy as np
import pytest

from engine.events import Block
from engine.fills import Calls, FillDesk
from engine.instruments import Instrument
from engine.kernel.layout import WORD, Out
from engine.kernel.state import KernelRules, KernelState
from engine.limits import MAX_ORDERS, MAX_TRIGGERS
from engine.money import Grid
from engine.orders import Order
from engine.portfolio import Portfolio
from engine.protection import Protection


class Places:
    """The kernel's places for triggers."""

    def __init__(self, room: int = MAX_TRIGGERS) -> None:
        self.room = room
        self.active: dict[int, tuple[int, ...]] = {}
        self.lots: dict[int, int] = {}  # that the kernel was told, by place

    def protect(self, trigger: int, *rest: int) -> int:
        if len(self.active) >= self.room:
            return -1
        self.active[trigger] = rest
        return trigger

    def measure(self, place: int, lots: int) -> None:
        self.lots[place] = lots

    def unprotect(self, trigger: int) -> int:
        return int(self.active.pop(trigger, None) is not None)


def protected_order(order_id: int, side: int = 1) -> Order:
    order = Order(order_id, order_id, 0, side)
    order.stop_loss_tick, order.take_profit_tick = 1000 - side * 50, 1000 + side * 90
    order.signal_id = order_id
    order.owners = ((0, 1),)
    return order


def protection(room: int = MAX_TRIGGERS) -> tuple[Protection, Places]:
    places = Places(room)
    return Protection(places.protect, places.unprotect, lambda *_: None, places.measure), places


def watched(made: Protection) -> list[tuple[int, int]]:
    """Return (side, lots) of all legs, oldest first; the kernel was told the same lots."""
    told: Places = made._protect.__self__  # type: ignore[attr-defined]
    assert all(told.lots[leg.place] == leg.qty_lot for leg in made.legs.values())
    return [(leg.side, leg.qty_lot) for leg in made.legs.values()]


def test_fills_of_one_order_join_one_leg():
    made, places = protection()
    order = protected_order(1)
    made.cover(order, 0, 4)
    made.cover(order, 0, 3)
    made.cover(protected_order(2), 0, 5)
    assert watched(made) == [(1, 7), (1, 5)]
    assert len(places.active) == 2


def test_selling_shortens_the_oldest_first():
    made, places = protection()
    made.cover(protected_order(1), 0, 7)
    made.cover(protected_order(2), 0, 5)
    made.trim(0, 0, 9)
    assert watched(made) == [(1, 4), (1, 5)]
    made.trim(0, 0, 2)
    assert watched(made) == [(1, 2)]
    made.trim(0, 0, 0)
    assert watched(made) == []
    assert places.active == {}


def test_a_leg_of_the_side_no_longer_held_is_dropped():
    """After a flip from long to short the long's stop would only add to the short."""
    made, places = protection()
    made.cover(protected_order(1), 0, 10)
    made.trim(0, 0, -5)
    assert watched(made) == []
    made.cover(protected_order(2, side=-1), 0, 5)
    made.trim(0, 0, -5)
    assert watched(made) == [(-1, 5)]
    assert list(places.active.values()) == [(0, -1, 1050, 910)]


def test_an_exit_that_did_not_happen_is_watched_again():
    made, places = protection()
    made.cover(protected_order(1), 0, 10)
    (trigger,) = places.active
    places.active.clear()  # it fired
    leg = made.fired(trigger)
    made.exiting(77, leg)
    assert watched(made) == []
    made.again(77, 6)
    assert watched(made) == [(1, 6)]
    assert made.fired(trigger) is None  # the old trigger means nothing any more


def test_without_a_place_the_lots_join_another_leg():
    made, places = protection(room=2)
    made.cover(protected_order(1), 0, 10)
    made.cover(protected_order(2), 0, 5)
    first = next(iter(places.active))
    places.active.pop(first)
    leg = made.fired(first)
    made.keep(leg, 6)
    made.keep(leg, 4)
    assert sum(lots for _, lots in watched(made)) == 15
    assert len(places.active) == 2


class Venue:
    """Takes orders, does nothing."""

    def __init__(self) -> None:
        self.taken: list[int] = []

    def submit(self, approved) -> None:
        self.taken.append(approved.order.qty_lot)


class OpenGate:
    """Approves what it is asked for, unless told to block."""

    blocks = 0

    def check(self, place, intent_id):
        order = Order(intent_id, intent_id, place.instrument, place.side)
        order.qty_lot, order.owners, order.purpose = place.qty_lot, place.owners, place.purpose
        order.stop_loss_tick = order.take_profit_tick = 0
        approved = None if self.blocks else SimpleNamespace(order=order)
        return SimpleNamespace(approved=approved, blocks=self.blocks, code=2 if self.blocks else 0)


NO_CALLS = Calls(*[lambda *_: None] * 5)


class Desk:
    """The order desk around a position of ten lots, half of it protected."""

    def __init__(self) -> None:
        instrument = Instrument(
            venue="x", symbol="BTCUSDT", base="BTC", quote="USDT", tick="0.1", lot="0.001",
            has=("quotes",),
        )  # fmt: skip
        rules = KernelRules(
            implied_wakes=True, bar_interval_ns=60, bar_grace_ns=0, max_data_age_ns=1, max_jump=0.5,
            jump_confirmations=1, trigger_confirmations=1, sample_ns=1, assumed_notional=1.0,
            half_spread=0.0,
        )  # fmt: skip
        self.state = KernelState([instrument], 0, np.dtype([("unused", "i8")]), rules)
        money = Portfolio([Grid(instrument)], [("BTC", "USDT")], {"USDT": 10**12}, 0, 0)
        self.book = money.book(0, 0)
        self.book.position_lot = 10
        self.places = Places()
        places = self.places
        self.protection = Protection(
            places.protect, places.unprotect, money.count_leg, places.measure
        )
        self.protection.cover(protected_order(1), 0, 10)
        self.gate, self.venue = OpenGate(), Venue()
        recorder = SimpleNamespace(
            intent=lambda *_: None, verdict=lambda *_: None, order=lambda *_: None
        )
        rooms = (self.gate, self.venue, self.protection)
        self.desk = FillDesk(self.state, money, rooms, recorder, NO_CALLS)

    def fire(self) -> None:
        """Let the oldest trigger fire."""
        trigger = next(iter(self.places.active))
        del self.places.active[trigger]
        event = self.state.out[0]
        event["kind"], event["order_id"], event["ledger"] = int(Out.STOP), trigger, -1
        self.state.words[WORD["out_count"]] = 1
        self.desk.on_venue()


def test_a_stop_sends_what_is_held():
    desk = Desk()
    desk.fire()
    assert desk.venue.taken == [10]
    assert desk.protection.legs == {}


BLOCKS = [Block.MARKET_CROSSED, Block.MARKET_STALE, Block.MARKET_HALTED]


@pytest.mark.parametrize("block", BLOCKS)
def test_a_blocked_stop_is_watched_again(block):
    desk = Desk()
    desk.gate.blocks = int(block)
    desk.fire()
    assert desk.venue.taken == []
    assert watched(desk.protection) == [(1, 10)]
    desk.gate.blocks = 0
    desk.fire()
    assert desk.venue.taken == [10]


def test_a_stop_against_the_wakes_other_side_is_watched_again():
    desk = Desk()
    desk.state.words[WORD["now"]] = 5
    x = desk.state.matching[0]
    x["sided_now"], x["sided_row"], x["sided"] = 5, desk.state.words[WORD["row"]], 1
    desk.fire()
    assert desk.venue.taken == []
    assert watched(desk.protection) == [(1, 10)]


def test_what_another_exit_closes_already_stays_watched():
    """Should that exit be taken back, the stop is still there."""
    desk = Desk()
    desk.book.closing_lot = 7
    desk.fire()
    assert desk.venue.taken == [3]
    assert watched(desk.protection) == [(1, 7)]
    desk.book.closing_lot = 10
    desk.fire()
    assert desk.venue.taken == [3]
    assert watched(desk.protection) == [(1, 7)]


def test_no_place_in_the_venue_is_a_refusal():
    """With every place taken a stop waits, an entry is blocked; nothing breaks."""
    desk = Desk()
    for number in range(MAX_ORDERS):
        desk.desk.kept.orders[1000 + number] = protected_order(1000 + number)
    desk.fire()
    assert desk.venue.taken == []
    assert watched(desk.protection) == [(1, 10)]
    assert desk.desk.counts.blocked == {int(Block.OPEN_ORDERS): 1}
