"""A forecast is traded where it is worth more than it costs; what it is against is closed."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import ConfigError
from engine.events import HoldReason, Purpose
from strategies.registry import build_strategy
from tests.strategies.small_view import (
    BUY,
    HOLD,
    QUANTILES,
    RETURN,
    SECOND,
    SELL,
    signal,
    view,
)

COSTS = 2 * 2e-4 + 2e-4  # fees both ways, and the spread of two ticks in ten thousand


def made(**params):
    return build_strategy("transformer", params)


def forecast(value: float, **more):
    action = BUY if value > 0 else SELL if value < 0 else HOLD
    return view(signal(action, value=value), RETURN, **more)


@pytest.mark.parametrize(("bps", "trades"), [(6.9, False), (7.1, True), (60, True)])
def test_an_entry_must_be_worth_its_costs_and_more(bps, trades):
    found = made(min_profit_bps=1.0).decide(forecast(bps / 1e4))
    assert bool(found) == trades
    if found:
        assert (found[0].side, found[0].purpose, found[0].qty_lot) == (1, Purpose.ENTRY, 499)


@given(
    st.floats(-0.01, 0.01), st.floats(0, 0.001), st.integers(1, 100), st.floats(0, 50),
    st.booleans(),
)  # fmt: skip
def test_it_never_enters_at_an_expected_loss(value, fee, spread, least, short):
    seen = forecast(value, fee=fee, bid=10_000, ask=10_000 + spread)
    found = made(min_profit_bps=least, allow_short=short).decide(seen)
    costs = 2 * fee + spread / (10_000 + spread / 2)
    for one in found:
        assert one.side * value - costs > least / 1e4
        assert one.side > 0 or short


def test_outside_the_session_it_closes_and_enters_nothing():
    shut = signal(HOLD, value=0.01, reason=HoldReason.SESSION_CLOSED)
    assert made().decide(view(shut, RETURN)) == ()
    (one,) = made().decide(view(shut, RETURN, held=-300))
    assert (one.side, one.purpose) == (1, Purpose.EXIT)
    assert made().decide(forecast(0.01)), "the same forecast inside the session"


def test_what_the_forecast_is_against_is_closed_whatever_it_costs():
    (one,) = made().decide(forecast(-1e-6, held=300))
    assert (one.side, one.qty_lot, one.purpose) == (-1, 300, Purpose.EXIT)
    assert made(exit_bps=5.0).decide(forecast(-4e-4, held=300)) == ()
    assert made().decide(forecast(-1e-3, held=300, closing=300)) == ()
    assert made().decide(forecast(5e-3, held=300)) == ()


def test_quantiles_are_asked_for_their_level_and_its_mirror():
    output = (0, 0, 0, 0.0010, 0.0030, 0.0060)
    seen = view(signal(BUY, value=0.003), QUANTILES, output=output)
    assert made(level=0.25, min_profit_bps=3.9).decide(seen)
    assert made(level=0.25, min_profit_bps=4.1).decide(seen) == ()
    assert made(level=0.5, min_profit_bps=20.0).decide(seen)
    assert made(horizon="10s").decide(seen) == ()
    down = view(signal(SELL, value=-0.003), QUANTILES, output=(0, 0, 0, -0.006, -0.003, -0.001))
    words = {"allow_short": True, "level": 0.25}
    assert made(min_profit_bps=3.9, **words).decide(down)[0].side == -1
    assert made(min_profit_bps=4.1, **words).decide(down) == ()


def test_no_number_is_no_forecast_and_a_pause_follows_an_order():
    one = made(cooldown_s=10.0)
    assert one.decide(view(signal(HOLD, value=math.nan), RETURN)) == ()
    assert one.decide(forecast(0.01))
    assert one.decide(forecast(0.01, now=9 * SECOND)) == ()
    assert one.decide(forecast(0.01, now=10 * SECOND))


@pytest.mark.parametrize("params", [{"level": 0.1}, {"horizon": "5m"}])
def test_a_model_without_the_level_or_horizon_is_refused(params):
    with pytest.raises(ConfigError, match=r"Forecast has no level 0\.[15] at horizon"):
        made(**params).check_form("Forecast", QUANTILES)
    made().check_form("Forecast", QUANTILES)
    made(**params).check_form("Forecast", RETURN)


def test_crossing_quantiles_are_put_in_order():
    seen = view(signal(BUY, value=0.003), QUANTILES, output=(0, 0, 0, 0.006, 0.001, 0.003))
    assert made(level=0.5).forecast(seen, 1) == pytest.approx(0.003)
    assert made(level=0.25).forecast(seen, 1) == pytest.approx(0.001)
    assert made(level=0.25).forecast(seen, -1) == pytest.approx(0.006)
