"""The size of an entry grows with confidence; exits take what is held."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import ConfigError
from engine.events import Purpose
from strategies.registry import build_strategy
from tests.strategies.small_view import BUY, HOLD, SECOND, SELL, signal, view


def made(**params):
    return build_strategy("tfa", params)


@pytest.mark.parametrize(("confidence", "lots"), [(0.59, None), (0.6, 249), (0.8, 624), (1.0, 999)])
def test_the_size_grows_from_its_least_share_to_the_whole(confidence, lots):
    found = made().decide(view(signal(BUY, confidence)))
    assert ([one.qty_lot for one in found] or [None]) == [lots]
    if found:
        assert found[0].purpose == Purpose.ENTRY
        assert found[0].stop_loss_tick < 10_001 < found[0].take_profit_tick


def test_advice_against_what_is_held_closes_what_no_order_closes_already():
    (one,) = made().decide(view(signal(SELL), held=700, closing=200))
    assert (one.side, one.qty_lot, one.purpose) == (-1, 500, Purpose.EXIT)
    assert made().decide(view(signal(SELL), held=700, closing=700)) == ()


def test_shorts_need_leave():
    assert made().decide(view(signal(SELL))) == ()
    (one,) = made(allow_short=True).decide(view(signal(SELL)))
    assert (one.side, one.purpose) == (-1, Purpose.ENTRY)
    assert one.take_profit_tick < 9_999 < one.stop_loss_tick


def test_a_pause_follows_an_order_and_holds_do_nothing():
    tfa = made(cooldown_s=10.0)
    assert tfa.decide(view(signal(HOLD))) == ()
    assert tfa.decide(view(signal(BUY)))
    assert tfa.decide(view(signal(BUY), now=9 * SECOND)) == ()
    assert tfa.decide(view(signal(BUY), now=10 * SECOND))


@given(st.floats(0, 1), st.floats(0, 0.99), st.floats(0, 1))
def test_no_size_leaves_its_bounds(confidence, threshold, least):
    tfa = made(threshold=threshold, least_share=least)
    assert least - 1e-12 <= tfa.share(confidence) <= 1.0 + 1e-12


@pytest.mark.parametrize("key", ["threshold", "least_share", "size_quote"])
def test_parameters_out_of_range_are_refused_by_name(key):
    with pytest.raises(ConfigError, match=rf"tfa\.params\.{key}: -1\.0 must be"):
        made(**{key: -1.0})
