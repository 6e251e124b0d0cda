"""Labels against a plain reference, and proof that nothing later than the horizon moves them."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ml.training.labels import ATR_BARS, average_true_range, future_move, triple_barrier

BUY, HOLD, SELL = 2, 1, 0


def market(seed: int, n: int = 120) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return high, low and close of a random walk on a coarse grid, so that ties happen."""
    rng = np.random.default_rng(seed)
    close = 100 + np.cumsum(rng.integers(-2, 3, n)).astype(float)
    high = close + rng.integers(0, 3, n)
    low = close - rng.integers(0, 3, n)
    return np.maximum(high, np.r_[close[0], close[:-1]]), low, close


def reference(high, low, close, horizon, take, stop):
    """Label by following both trades bar by bar, in plain Python."""
    ranges = [0.0] + [
        max(high[t], close[t - 1]) - min(low[t], close[t - 1]) for t in range(1, len(close))
    ]
    labels = []
    atr = None
    for t in range(len(close)):
        if t == ATR_BARS:
            atr = sum(ranges[1 : t + 1]) / ATR_BARS
        elif t > ATR_BARS:
            atr = atr + (ranges[t] - atr) / ATR_BARS
        if atr is None or atr <= 0 or t + horizon >= len(close):
            labels.append(-1)
            continue
        won = {}
        for name, sign in (("long", 1), ("short", -1)):
            target, floor = close[t] + sign * take * atr, close[t] - sign * stop * atr
            for k in range(t + 1, t + horizon + 1):
                stopped = low[k] <= floor if sign > 0 else high[k] >= floor
                taken = high[k] >= target if sign > 0 else low[k] <= target
                if stopped or taken:
                    if not stopped:
                        won[name] = k
                    break
        if won.get("long", 10**9) < won.get("short", 10**9):
            labels.append(BUY)
        elif won.get("short", 10**9) < won.get("long", 10**9):
            labels.append(SELL)
        else:
            labels.append(HOLD)
    return labels


@given(
    st.integers(0, 10_000),
    st.integers(1, 12),
    st.floats(0.3, 3.0),
    st.floats(0.3, 3.0),
)
@settings(max_examples=60, deadline=None)
def test_labels_are_those_of_a_plain_reference(seed, horizon, take, stop):
    high, low, close = market(seed)
    found = triple_barrier(
        high, low, close, horizon=horizon, take_profit_atr=take, stop_loss_atr=stop
    )
    assert found.label.tolist() == reference(high, low, close, horizon, take, stop)


@given(st.integers(0, 10_000), st.integers(1, 10), st.integers(40, 119))
@settings(max_examples=60, deadline=None)
def test_bars_beyond_the_horizon_move_no_label(seed, horizon, cut):
    high, low, close = market(seed)
    options = {"horizon": horizon, "take_profit_atr": 1.0, "stop_loss_atr": 1.5}
    whole = triple_barrier(high, low, close, **options)
    part = triple_barrier(high[:cut], low[:cut], close[:cut], **options)
    known = slice(0, cut - horizon)
    for a, b in zip(whole, part, strict=True):
        assert np.array_equal(a[:cut][known], b[known], equal_nan=True)
    assert (part.label[cut - horizon :] == -1).all()


def test_a_bar_that_touches_both_barriers_is_the_stop_loss():
    n = ATR_BARS + 4
    close = np.full(n, 100.0)
    high, low = close + 1.0, close - 1.0  # true range 2
    high[ATR_BARS + 1], low[ATR_BARS + 1] = 110.0, 90.0
    found = triple_barrier(high, low, close, horizon=2, take_profit_atr=2, stop_loss_atr=2)
    assert found.label[ATR_BARS] == HOLD
    assert found.long_return[ATR_BARS] == pytest.approx(-0.04)
    assert found.short_return[ATR_BARS] == pytest.approx(-0.04)
    assert found.end[ATR_BARS] == ATR_BARS + 1


def test_returns_are_those_of_the_barrier_that_was_touched():
    n = ATR_BARS + 4
    close = np.full(n, 100.0)
    high, low = close + 1.0, close - 1.0
    close[ATR_BARS + 1 :], high[ATR_BARS + 1 :] = 105.0, 106.0
    low[ATR_BARS + 1 :] = 100.0
    found = triple_barrier(high, low, close, horizon=2, take_profit_atr=2, stop_loss_atr=2)
    assert found.label[ATR_BARS] == BUY
    assert found.long_return[ATR_BARS] == pytest.approx(0.04)
    assert found.short_return[ATR_BARS] == pytest.approx(-0.04)


def test_a_mirrored_market_gives_mirrored_labels():
    high, low, close = market(3)
    options = {"horizon": 6, "take_profit_atr": 1.0, "stop_loss_atr": 1.0}
    plain = triple_barrier(high, low, close, **options).label
    mirrored = triple_barrier(400 - low, 400 - high, 400 - close, **options).label
    assert (plain == BUY).sum() > 5
    assert np.array_equal(np.where(plain >= 0, 2 - plain, -1), mirrored)


def test_average_true_range_is_the_one_of_talib():
    talib = pytest.importorskip("talib", reason="TA-Lib is the oracle here")
    high, low, close = market(11)
    ours = average_true_range(high, low, close, ATR_BARS)
    theirs = talib.ATR(high, low, close, ATR_BARS)
    assert np.allclose(ours, theirs, rtol=1e-12, equal_nan=True)


def test_future_moves_need_a_row_soon_after_the_horizon():
    ts = np.array([0, 100, 1000, 1100])
    bid, ask = np.array([9.0, 8.0, 9.0, 9.0]), np.array([10.0, 8.5, 10.0, 10.0])
    found = future_move(ts, bid, ask, horizon_ns=100)
    assert found.label.tolist() == [SELL, -1, HOLD, -1]
    assert found.long_return[0] == pytest.approx(8.25 / 10 - 1)
    assert found.short_return[0] == pytest.approx(1 - 8.25 / 9)


@given(st.integers(0, 1000), st.integers(1, 30))
@settings(max_examples=40, deadline=None)
def test_future_moves_ignore_what_comes_after_their_end(seed, horizon):
    rng = np.random.default_rng(seed)
    ts = np.cumsum(rng.integers(1, 5, 200))
    bid = 100 + np.cumsum(rng.normal(size=200))
    found = future_move(ts, bid, bid + 0.5, horizon_ns=horizon)
    part = future_move(ts[:100], bid[:100], bid[:100] + 0.5, horizon_ns=horizon)
    known = found.end[:100] < 100
    assert np.array_equal(found.label[:100][known], part.label[known])
