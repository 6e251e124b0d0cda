"""Orders of a venue outside: doubt, proof, fills after the end; no number of the gate leaks."""

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.events import Block, Command
from risk.gate_kernel import mark
from risk.limits import at_cost_of
from tests.risk.test_gate_properties import Desk, entry, some_place

NS_PER_DAY = 86_400_000_000_000


def test_an_unknown_order_counts_until_it_is_proven():
    desk = Desk()
    order = desk.place(entry(1, 100)).order
    g = desk.record[0]
    reserved = int(g["in_flight"][0])
    desk.gate.doubt(order, True)
    assert (g["in_flight"][0], g["unknown"][0]) == (0, reserved)
    assert desk.gate.exposure(0) == reserved > 0
    desk.now += 30 * NS_PER_DAY
    desk.move(0, 1000.0)
    assert desk.gate.exposure(0) == reserved, "time proves nothing"
    assert desk.place(entry(1, 450)).order.qty_lot < 450, "what is unknown leaves less room"
    desk.gate.doubt(order, False)
    desk.end(order)
    assert g["unknown"][0] == 0
    desk.check_limits()


def test_a_fill_after_the_end_is_booked_and_leaves_nothing_reserved():
    desk = Desk()
    order = desk.place(entry(1, 100)).order
    desk.fill(order, 40, 1000)
    desk.end(order)
    late(desk, order, 25)
    assert desk.portfolio.book(0, 0).position_lot == 65
    assert desk.gate.exposure(0) == desk.portfolio.book(0, 0).cost
    desk.check_counts()


def late(desk: Desk, order, qty: int) -> None:
    """Fill an order that is over, as engine/venue_answers.py does."""
    desk.gate.reopen(order)
    desk.open[order.order_id] = order
    desk.fill(order, qty, desk.collars[order.order_id][0])
    if order.order_id in desk.open:
        desk.end(order)


@settings(max_examples=200, deadline=None)
@given(st.data(), st.booleans())
def test_nothing_leaks_whatever_a_venue_says_late(data, several):
    desk = Desk(allow_short=True)
    over, unknown = [], set()
    for _ in range(data.draw(st.integers(1, 25))):
        desk.now += 1_000_000
        action = data.draw(st.sampled_from(["place", "place", "doubt", "fill", "end", "late"]))
        if action == "place":
            desk.place(some_place(data, desk, several))
        elif action == "late" and over:
            order = data.draw(st.sampled_from(over))
            if order.left_lot > 0:
                late(desk, order, data.draw(st.integers(1, order.left_lot)))
        elif desk.open and action != "late":
            order = desk.open[data.draw(st.sampled_from(sorted(desk.open)))]
            doubted = order.order_id in unknown
            if action == "doubt":
                desk.gate.doubt(order, not doubted)
                unknown ^= {order.order_id}
                continue
            if doubted:
                desk.gate.doubt(order, False)
                unknown.discard(order.order_id)
            if action == "fill":
                low = desk.collars[order.order_id][0]
                desk.fill(order, data.draw(st.integers(1, order.left_lot)), low)
            else:
                desk.end(order)
                over.append(order)
        desk.check_counts()
        assert bool(desk.record[0]["unknown"].any()) <= bool(unknown)
    for number in unknown:
        desk.gate.doubt(desk.open[number], False)
    for order in list(desk.open.values()):
        desk.end(order)
    desk.check_counts()
    assert not desk.record[0]["unknown"].any()


def test_losses_of_earlier_runs_count_on():
    desk = Desk(max_daily_loss=10.0, max_drawdown_pct=5.0)
    today = desk.now // NS_PER_DAY
    desk.gate.restore(Command.DAY_LOSS, today, 11 * 10**8)
    assert desk.place(entry(1, 10)) is None, "lost already today"
    desk.now += NS_PER_DAY
    desk.move(0, 1000.0)
    assert desk.place(entry(1, 10)) is not None, "another day"
    desk.gate.restore(Command.BELOW_PEAK, 0, 60 * 10**8)
    mark(desk.record[0], desk.markets, desk.now)
    assert desk.record[0]["drawdown_latched"] == 1
    assert desk.place(entry(1, 11)) is None


def test_what_is_held_without_a_price_opens_nothing_and_begins_no_day():
    desk = Desk(max_daily_loss=10.0)
    desk.fill(desk.place(entry(1, 50)).order, 50, 1_000)
    began, day = desk.record[0]["day_equity"], desk.record[0]["day"]
    desk.move(0, np.nan)
    desk.now += NS_PER_DAY
    desk.move(1, 20_000.5)
    other = msgspec.structs.replace(entry(1, 10), instrument=1, signal_ts=desk.now)
    assert desk.gate.check(other, 9).blocks == Block.EQUITY_UNKNOWN
    assert (desk.record[0]["day_equity"], desk.record[0]["day"]) == (began, day)
    desk.move(0, 1_000.0)
    assert desk.gate.check(other, 10).approved is not None
    assert desk.record[0]["day"] == day + 1
    assert not np.isnan(desk.record[0]["day_equity"])


@pytest.mark.parametrize("moved_to", [1_500.0, 1_200.0, 1_010.0])
def test_a_loss_counts_on_whatever_part_of_it_prices_made(moved_to):
    """Bought at 100, 150 when the day begins, then less: the next run counts the same loss."""
    first = Desk(max_order_notional=1e6, max_position_notional=1e6, max_model_exposure=1e6)
    first.fill(first.place(entry(1, 50)).order, 50, 1_000)
    gate = first.record[0]
    first.now += NS_PER_DAY
    first.move(0, 1_500.0)
    mark(gate, first.markets, first.now)
    first.move(0, moved_to)
    mark(gate, first.markets, first.now)
    at_cost, cost = at_cost_of(gate), int(gate["position_cost"][0])
    day, peak = int(gate["day_equity"]) - at_cost, int(gate["peak_equity"]) - at_cost
    second = Desk()
    second.gate.capital(at_cost - int(second.record[0]["start_equity"]))
    second.gate.opening(0, 0, 50, (cost, 0, 0))
    second.gate.restore(Command.DAY_LOSS, int(gate["day"]), day)
    second.gate.restore(Command.BELOW_PEAK, 0, peak)
    second.move(0, moved_to)
    mark(second.record[0], second.markets, first.now)
    for name in ("equity", "day_equity", "peak_equity", "drawdown"):
        assert second.record[0][name] == pytest.approx(gate[name]), name
    lost = gate["day_equity"] - gate["equity"]
    assert lost == pytest.approx(50 * 0.001 * (1_500.0 - moved_to) * 0.1 * 1e8)


@pytest.mark.parametrize("age_ms", [100, 101])
def test_fault_M24_an_old_signal_is_blocked_at_the_gate(age_ms):
    desk = Desk(max_signal_age_ms=100.0)
    wish = msgspec.structs.replace(entry(1, 50), signal_ts=desk.now - age_ms * 1_000_000)
    answer = desk.gate.check(wish, 0)
    assert answer.blocks == (Block.SIGNAL_AGE if age_ms > 100 else 0)
    assert (answer.approved is None) == (age_ms > 100)
    assert desk.gate.exposure(0) == (0 if age_ms > 100 else answer.notional)
