"""Labels: what a decision should have been, from what came after it and nothing else.

Triple barrier: Lopez de Prado, Advances in Financial Machine Learning (2018), chapter 3. A long
trade is entered at the close of bar t. Its upper barrier lies `take_profit_atr` average true ranges
above, its lower one `stop_loss_atr` below, the vertical one `horizon` bars later. Only bars t+1 to
t+horizon are looked at. The barrier touched first decides; a bar that touches both counts as the
stop-loss, since its path is unknown. A short trade is the mirror image. BUY: the long trade takes
its profit; SELL: the short one does; where both would (possible only when the stops are wider than
the targets) the earlier one decides, in the same bar neither. HOLD: neither takes its profit.

ATR is Wilder's (New Concepts in Technical Trading Systems, 1978) over ATR_BARS bars up to t.
"""

from typing import NamedTuple

import numba
import numpy as np

ATR_BARS = 14
SELL, HOLD, BUY = 0, 1, 2


class Barriers(NamedTuple):
    """Result of triple_barrier, arrays of length n."""

    label: np.ndarray  # int64, 0 SELL, 1 HOLD, 2 BUY, -1 where no label can be given
    end: np.ndarray  # int64, index of the bar at which both trades are over
    long_return: np.ndarray  # float64, fraction gained by the long trade before costs
    short_return: np.ndarray


@numba.njit(cache=True)
def average_true_range(
    high: np.ndarray, low: np.ndarray, close: np.ndarray, bars: int
) -> np.ndarray:
    """Return Wilder's average true range; NaN for the first `bars` bars.

    Args:
        high, low, close: float64[n].
        bars: smoothing length; the first value is the plain mean.
    Returns:
        float64[n], in the unit of the prices.
    Example:
        >>> h, l = np.array([2.0, 3.0, 5.0]), np.array([1.0, 1.0, 3.0])
        >>> average_true_range(h, l, (h + l) / 2, 2).tolist()
        [nan, nan, 2.5]
    """
    out = np.full(len(close), np.nan)
    total = 0.0
    for t in range(1, len(close)):
        span = max(high[t], close[t - 1]) - min(low[t], close[t - 1])
        if t <= bars:
            total += span
            if t == bars:
                out[t] = total / bars
        else:
            out[t] = out[t - 1] + (span - out[t - 1]) / bars
    return out


@numba.njit(cache=True)
def _trade(
    high: np.ndarray,
    low: np.ndarray,
    close: np.ndarray,
    at: tuple[int, int],
    levels: tuple[float, float],
) -> tuple[int, int, float]:
    """Follow a long trade; return (1 profit, -1 stop, 0 neither), the bar it ends at, the price."""
    start, last = at
    target, stop = levels
    for t in range(start + 1, last + 1):
        if low[t] <= stop:
            return -1, t, stop
        if high[t] >= target:
            return 1, t, target
    return 0, last, close[last]


@numba.njit(cache=True)
def _barriers(
    high: np.ndarray,
    low: np.ndarray,
    close: np.ndarray,
    atr: np.ndarray,
    horizon: int,
    take_profit: float,
    stop_loss: float,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    n = len(close)
    label = np.full(n, -1, np.int64)
    end = np.zeros(n, np.int64)
    long_return = np.full(n, np.nan)
    short_return = np.full(n, np.nan)
    mirrored_high, mirrored_low, mirrored_close = -low, -high, -close
    for t in range(n - horizon):
        if not (atr[t] > 0.0 and close[t] > 0.0):
            continue
        up, down = take_profit * atr[t], stop_loss * atr[t]
        span = (t, t + horizon)
        won, end_long, exit_long = _trade(high, low, close, span, (close[t] + up, close[t] - down))
        sold, end_short, exit_short = _trade(
            mirrored_high, mirrored_low, mirrored_close, span, (-close[t] + up, -close[t] - down)
        )
        label[t] = HOLD
        if won == 1 and (sold != 1 or end_long < end_short):
            label[t] = BUY
        elif sold == 1 and (won != 1 or end_short < end_long):
            label[t] = SELL
        end[t] = max(end_long, end_short)
        long_return[t] = exit_long / close[t] - 1.0
        short_return[t] = 1.0 + exit_short / close[t]
    return label, end, long_return, short_return


def triple_barrier(
    high: np.ndarray,
    low: np.ndarray,
    close: np.ndarray,
    *,
    horizon: int,
    take_profit_atr: float,
    stop_loss_atr: float,
) -> Barriers:
    """Label every bar of one instrument; see the module for the rule.

    Args:
        high, low, close: float64[n], bars in order of time.
        horizon: bars until the vertical barrier, >= 1.
        take_profit_atr: distance of the target in ATR, > 0.
        stop_loss_atr: distance of the stop in ATR, > 0.
    Returns:
        Barriers; the last `horizon` bars and those before the ATR is warm have label -1.
    Example:
        >>> close = np.r_[np.full(15, 100.0), 100.0, 103.0, 103.0]
        >>> found = triple_barrier(close + 0.5, close - 0.5, close,
        ...                        horizon=2, take_profit_atr=2, stop_loss_atr=2)
        >>> found.label[13:].tolist()
        [-1, 2, 2, -1, -1]
    """
    assert horizon >= 1
    assert take_profit_atr > 0 and stop_loss_atr > 0
    assert len(high) == len(low) == len(close)
    columns = [np.ascontiguousarray(values, np.float64) for values in (high, low, close)]
    atr = average_true_range(*columns, ATR_BARS)
    parts = _barriers(*columns, atr, horizon, float(take_profit_atr), float(stop_loss_atr))
    return Barriers(*parts)


def future_move(ts: np.ndarray, bid: np.ndarray, ask: np.ndarray, *, horizon_ns: int) -> Barriers:
    """Label quotes by the middle `horizon_ns` later: above the ask is BUY, below the bid SELL.

    The later middle is that of the first row at or after ts + horizon; where that row is more than
    two horizons away there is no label.

    Args:
        ts: int64[n] ns, non-decreasing; rows of one instrument.
        bid, ask: float64[n], the touch in force at ts.
        horizon_ns: > 0.
    Returns:
        Barriers; returns are those of entering at the touch and leaving at the later middle.
    Example:
        >>> found = future_move(np.array([0, 10, 20]), np.array([9.0, 9.0, 12.0]),
        ...                     np.array([10.0, 10.0, 13.0]), horizon_ns=10)
        >>> found.label.tolist(), found.end.tolist()
        ([1, 2, -1], [1, 2, 0])
    """
    assert horizon_ns > 0
    n = len(ts)
    later = np.searchsorted(ts, ts + horizon_ns, side="left")
    known = later < n
    end = np.where(known, later, 0)
    known &= ts[end] - ts <= 2 * horizon_ns
    known &= (bid > 0) & (ask >= bid) & (bid[end] > 0)
    middle = (bid[end] + ask[end]) / 2
    label = np.where(middle > ask, BUY, np.where(middle < bid, SELL, HOLD))
    with np.errstate(invalid="ignore", divide="ignore"):
        long_return = np.where(known, middle / ask - 1.0, np.nan)
        short_return = np.where(known, 1.0 - middle / bid, np.nan)
    return Barriers(np.where(known, label, -1), end, long_return, short_return)
