"""Each limit of the gate by itself: the last order that fits passes, the next has its bit alone."""

from collections.abc import Callable

import msgspec
import pytest

from engine.events import Block, Place, Purpose
from engine.money import minor
from risk.gate import allow
from tests.risk.test_gate_properties import Desk, entry

MS = 1_000_000
SIZES = ("max_order_notional", "max_position_notional", "max_model_exposure", "max_gross_exposure")
WIDE = dict.fromkeys(SIZES, 1e6)
EXIT, STOP = int(Purpose.EXIT), int(Purpose.STOP_LOSS)


def desk(**limits: object) -> Desk:
    """Return a gate that only the given limits stop: of 1,000 USDT, a lot costs 0.1 of them."""
    return Desk(**(WIDE | {"allow_short": True, "reduce_to_fit": False} | limits))


def blocks(at: Desk, place: Place) -> Block:
    """Ask the gate, and return what it says."""
    answer = at.gate.check(place, at.intents)
    at.intents += 1
    assert (answer.approved is None) == (answer.blocks != 0)
    return Block(answer.blocks)


def holding(lots: int, **limits: object) -> Desk:
    """Return a desk whose model 0 has bought."""
    at = desk(**limits)
    at.fill(at.place(entry(1, lots, price=1_000)).order, lots, 1_000)
    return at


@pytest.mark.parametrize(
    ("limits", "fits", "breaks", "block"),
    [
        ({"max_order_notional": 40.0}, entry(1, 400, 1_000), entry(1, 401, 1_000),
         Block.ORDER_NOTIONAL),
        ({"max_position_notional": 40.0}, entry(1, 400, 1_000), entry(1, 401, 1_000),
         Block.POSITION),
        ({"max_model_exposure": 40.0}, entry(1, 400, 1_000), entry(1, 401, 1_000),
         Block.MODEL_EXPOSURE),
        ({"max_gross_exposure": 40.0}, entry(1, 400, 1_000), entry(1, 401, 1_000),
         Block.GROSS_EXPOSURE),
        ({}, entry(1, 10, 951), entry(1, 10, 949), Block.PRICE_COLLAR),
        ({}, entry(-1, 10, 1_049), entry(-1, 10, 1_051), Block.PRICE_COLLAR),
        ({}, entry(1, 9_998, 1_000), entry(1, 9_999, 1_000), Block.BALANCE),  # with the fee
        ({"allow_short": False}, entry(1, 1), entry(-1, 1), Block.SHORT_NOT_ALLOWED),
        ({}, entry(1, 1), entry(1, 0), Block.LOT_SIZE),
        ({}, entry(1, 1), entry(1, 1, -1), Block.TICK_SIZE),
        ({}, entry(1, 1), entry(0, 1), Block.NUMBER),
        ({}, entry(1, 1), entry(1, 1 << 62), Block.NUMBER),
    ],
)  # fmt: skip
def test_an_order_by_itself(limits, fits, breaks, block):
    assert blocks(desk(**limits), breaks) == block
    assert blocks(desk(**limits), fits) == 0


def test_an_amount_beyond_the_numbers_is_refused():
    assert Block.NUMBER in blocks(desk(), entry(1, 3 * 10**11, 1_000))


def test_the_smallest_order_of_the_venue():
    at = desk()
    at.record[0]["min_notional"][0] = minor("5")
    assert blocks(at, entry(1, 49, 1_000)) == Block.MIN_NOTIONAL
    assert blocks(at, entry(1, 50, 1_000)) == 0


def test_an_exit_opens_nothing_and_needs_no_smallest_size():
    at = holding(100)
    at.record[0]["min_notional"][0] = minor("50")
    assert blocks(at, entry(-1, 101, purpose=EXIT)) == Block.REDUCE_ONLY
    assert blocks(at, entry(-1, 100, purpose=EXIT)) == 0
    assert blocks(at, entry(-1, 500, 1_000)) == Block.OPPOSITE_INTENT, "it is being closed"


def test_the_rate_fills_up_with_time_and_spares_protective_orders():
    at = holding(100, max_orders_per_s=2.0)
    assert blocks(at, entry(1, 1)) == 0
    assert blocks(at, entry(1, 2)) == Block.ORDER_RATE
    assert blocks(at, entry(-1, 1, purpose=EXIT)) == Block.ORDER_RATE
    assert blocks(at, entry(-1, 1, purpose=STOP)) == 0
    at.now += 1_000 * MS
    assert blocks(at, entry(1, 3)) == 0


def test_an_old_signal_stops_entries_and_exits_and_no_protective_order():
    at = holding(100, max_signal_age_ms=100.0)
    old = at.now - 100 * MS - 1
    stopped = Block.SIGNAL_AGE
    for purpose, side, block in ((0, 1, stopped), (EXIT, -1, stopped), (STOP, -1, 0)):
        wish = msgspec.structs.replace(entry(side, 10, purpose=purpose), signal_ts=old)
        assert blocks(at, wish) == block


def test_the_same_again_waits_for_its_window():
    at = desk(duplicate_window_ms=500.0)
    assert blocks(at, entry(1, 10)) == 0
    at.now += 500 * MS - 1
    assert blocks(at, entry(1, 10)) == Block.DUPLICATE
    assert blocks(at, entry(1, 11)) == 0
    at.now += 1
    assert blocks(at, entry(1, 10)) == 0


def test_open_orders_are_counted_and_protective_ones_let_through():
    at = holding(100, max_open_orders=1)
    assert blocks(at, entry(1, 10)) == 0
    assert blocks(at, entry(1, 11)) == Block.OPEN_ORDERS
    assert blocks(at, entry(-1, 50, purpose=STOP)) == 0
    at = desk(max_open_orders=1)
    at.end(at.place(entry(1, 10)).order)
    assert blocks(at, entry(1, 11)) == 0


def halt(at: Desk) -> None:
    """Let the venue halt the first instrument."""
    at.matching[0]["halted"] = 1


def distrust(at: Desk) -> None:
    """Let no price of the first instrument be believed."""
    at.matching[0]["trusted"] = 0


def wait(at: Desk) -> None:
    """Let the touch grow too old."""
    at.now += 100 * MS + 1


@pytest.mark.parametrize(
    ("spoil", "block"),
    [(halt, Block.MARKET_HALTED), (distrust, Block.MARKET_CROSSED), (wait, Block.MARKET_STALE)],
)
def test_no_order_meets_such_a_market_not_even_a_stop(spoil: Callable[[Desk], None], block):
    at = holding(100, max_market_age_ms=100.0)
    assert blocks(at, entry(1, 10)) == 0
    at.now += 100 * MS
    assert blocks(at, entry(1, 10)) == 0, "old, and not too old"
    at.now -= 100 * MS
    spoil(at)
    assert blocks(at, entry(1, 10)) == block
    assert blocks(at, entry(-1, 100, purpose=STOP)) == block


def test_the_kill_switch_stops_all():
    at = holding(100)
    at.gate.kill(True)
    assert blocks(at, entry(1, 1)) == Block.KILLED
    assert blocks(at, entry(-1, 1, purpose=EXIT)) == Block.KILLED
    assert blocks(at, entry(-1, 1, purpose=STOP)) == Block.KILLED
    at.gate.kill(False)
    assert blocks(at, entry(1, 1)) == 0


def test_a_loss_of_the_day_leaves_only_closing():
    at = holding(500, max_daily_loss=5.0)
    at.move(0, 905.0)
    assert blocks(at, entry(1, 1)) == 0
    at.move(0, 895.0)
    assert blocks(at, entry(1, 1)) == Block.DAILY_LOSS
    assert blocks(at, entry(-1, 500, purpose=EXIT)) == 0


def test_a_drawdown_latches():
    at = holding(500, max_drawdown_pct=1.0)
    at.move(0, 810.0)
    assert blocks(at, entry(1, 1)) == 0
    at.move(0, 790.0)
    assert blocks(at, entry(1, 1)) == Block.DRAWDOWN
    at.move(0, 1_000.0)
    assert blocks(at, entry(1, 1)) == Block.DRAWDOWN, "it does not open by itself"
    assert blocks(at, entry(-1, 500, purpose=EXIT)) == 0


def test_a_model_that_may_not_trade_may_still_close():
    at = holding(100)
    allow(at.gate, 0, False)
    assert blocks(at, entry(1, 1)) == Block.MODEL_STATUS
    assert blocks(at, entry(-1, 100, purpose=EXIT)) == 0


def test_what_does_not_fit_is_cut_down_only_where_that_is_wanted():
    wish = entry(1, 600, 1_000)
    assert blocks(desk(max_model_exposure=50.0), wish) == Block.MODEL_EXPOSURE
    at = desk(max_model_exposure=50.0, reduce_to_fit=True)
    assert at.place(wish).order.qty_lot == 500
