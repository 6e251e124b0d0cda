"""The agent's wish is followed, growing only where the classifier does not object."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.events import HoldReason, Purpose
from strategies.registry import build_strategy
from tests.strategies.small_view import (
    ACTION,
    BUY,
    CLASSES,
    EIGHT,
    HOLD,
    SECOND,
    SELL,
    signal,
    view,
)

LARGEST = 1999  # lots of 200 at the ask


def made(said=HOLD, *, ts: int = 0, reason=None, **params):
    """Return the strategy behind an answer of the classifier; None for no answer."""
    one = build_strategy("hybrid_ppo", params)
    if said is not None:
        assert one.decide(view(signal(said, ts=ts, reason=reason), CLASSES)) == ()
    return one


def wish(position: float, form=ACTION, **more):
    action = BUY if position > 0 else SELL if position < 0 else HOLD
    return view(signal(action, position=position, value=position), form, **more)


@pytest.mark.parametrize(
    ("said", "agreement", "buys"),
    [(BUY, False, True), (HOLD, False, True), (SELL, False, False), (None, False, False),
     (BUY, True, True), (HOLD, True, False)],
)  # fmt: skip
def test_growing_needs_a_classifier_that_does_not_object(said, agreement, buys):
    found = made(said, agreement=agreement).decide(wish(0.5))
    assert bool(found) == buys
    if found:
        assert (found[0].side, found[0].purpose) == (1, Purpose.ENTRY)
        assert found[0].qty_lot == round(0.5 * LARGEST)


def test_an_old_answer_or_one_that_says_nothing_objects():
    one = made(BUY, veto_age_s=60.0)
    assert one.decide(wish(0.5, now=61 * SECOND)) == ()
    assert made(BUY, veto_age_s=60.0).decide(wish(0.5, now=60 * SECOND))
    assert made(BUY, ts=30 * SECOND, veto_age_s=60.0).decide(wish(0.5, now=61 * SECOND))
    assert made(HOLD, reason=HoldReason.MODEL_NAN).decide(wish(0.5)) == ()


@pytest.mark.parametrize("said", [BUY, HOLD, SELL, None])
def test_close_closes_whatever_anybody_says(said):
    (one,) = made(said).decide(wish(0.0, held=700, closing=100))
    assert (one.side, one.qty_lot, one.purpose) == (-1, 600, Purpose.EXIT)
    (two,) = made(said).decide(wish(0.0, held=-700))
    assert (two.side, two.qty_lot) == (1, 700)
    assert made(said).decide(wish(0.0)) == ()


@pytest.mark.parametrize("said", [BUY, None])
def test_less_is_never_vetoed(said):
    (one,) = made(said).decide(wish(0.25, held=1500))
    assert (one.side, one.qty_lot, one.purpose) == (-1, 1500 - round(0.25 * LARGEST), Purpose.EXIT)


def test_a_position_is_turned_by_closing_it_first():
    (one,) = made(SELL, allow_short=True).decide(wish(-1.0, held=500))
    assert (one.side, one.qty_lot, one.purpose) == (-1, 500, Purpose.EXIT)
    (two,) = made(SELL, allow_short=True).decide(wish(-1.0))
    assert (two.side, two.qty_lot, two.purpose) == (-1, LARGEST, Purpose.ENTRY)
    assert made(SELL).decide(wish(-1.0)) == ()


@pytest.mark.parametrize(
    ("position", "held", "change"),
    [(0.25, 0, 500), (0.5, 1000, 999), (1.0, 1500, 499), (-0.25, 1500, -500), (-1.0, 300, -300)],
)
def test_of_the_eight_buying_and_selling_change_the_position(position, held, change):
    (one,) = made(HOLD).decide(wish(position, EIGHT, held=held))
    assert one.side * one.qty_lot == pytest.approx(change, abs=1)


def test_hold_small_changes_and_a_pause_do_nothing():
    one = made(BUY, cooldown_s=5.0)
    assert one.decide(view(signal(HOLD, position=math.nan), EIGHT)) == ()
    held_back = signal(HOLD, position=0.9, reason=HoldReason.BELOW_THRESHOLD)
    assert one.decide(view(held_back, ACTION)) == ()
    assert one.decide(wish(0.55, held=1000)) == ()
    assert one.decide(wish(0.7, held=1000))
    assert one.decide(wish(0.0, held=1000, now=4 * SECOND)) == ()
    assert one.decide(wish(0.0, held=1000, now=5 * SECOND))


@given(
    st.floats(-1, 1), st.sampled_from([ACTION, EIGHT]), st.integers(-2500, 2500),
    st.sampled_from([BUY, HOLD, SELL, None]), st.booleans(),
)  # fmt: skip
def test_no_order_goes_beyond_the_largest_position_or_through_zero(
    position, form, held, said, short
):
    for one in made(said, allow_short=short).decide(wish(position, form, held=held)):
        after = held + one.side * one.qty_lot
        if one.purpose == Purpose.EXIT:
            assert after * held >= 0 and abs(after) < abs(held)
        else:
            assert abs(held) < abs(after) <= LARGEST
            assert said in (HOLD, BUY if one.side > 0 else SELL)
            assert one.side > 0 or short
