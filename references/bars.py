"""Independent versions of the features on bars: NumPy and SciPy on whole columns.

`Bars` are the columns of one stretch of bars without a gap: ts_event (open time, ns), open, high,
low, close, volume, buy, sell (aggressors' volumes, NaN where not known), peer (close of the paired
instrument), interval_ns (length of a bar; a minute where it is not given).
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from scipy.signal import lfilter
from scipy.stats import norm

Bars = dict[str, np.ndarray]
Reference = Callable[[Bars, dict], np.ndarray]
MINUTE = np.int64(60_000_000_000)


def shifted(x: np.ndarray, n: int) -> np.ndarray:
    """Return x moved n places later."""
    return np.concatenate([np.full(n, np.nan), x])[: len(x)]


def smoothed(x: np.ndarray, span: int, alpha: float) -> np.ndarray:
    """Return the exponential mean seeded with a plain mean, skipping leading NaN."""
    lead = int(np.argmax(~np.isnan(x)))
    if np.isnan(x[lead:]).any() or len(x) < lead + span:
        return np.full(len(x), np.nan)
    mean = x[lead] + (x[lead : lead + span] - x[lead]).mean()  # of a flat market exactly flat
    found = [mean]
    for value in x[lead + span :].tolist():
        mean += alpha * (value - mean)
        found.append(mean)
    return np.concatenate([np.full(lead + span - 1, np.nan), found])


def ema(x: np.ndarray, span: int) -> np.ndarray:
    return smoothed(x, span, 2.0 / (span + 1.0))


def wilder(x: np.ndarray, span: int) -> np.ndarray:
    return smoothed(x, span, 1.0 / span)


def rolling(x: np.ndarray, span: int, f: Callable[..., Any]) -> np.ndarray:
    """Apply f over windows; NaN before the first."""
    if len(x) < span:
        return np.full(len(x), np.nan)
    windows = np.lib.stride_tricks.sliding_window_view(x, span)
    return np.concatenate([np.full(span - 1, np.nan), f(windows, axis=1)])


def divided(a: np.ndarray, b: np.ndarray, otherwise: float) -> np.ndarray:
    with np.errstate(all="ignore"):
        return np.where(np.isnan(a) | np.isnan(b), np.nan, np.where(b == 0.0, otherwise, a / b))


def true_range(b: Bars) -> np.ndarray:
    before = shifted(b["close"], 1)
    return (
        np.nanmax(
            [b["high"] - b["low"], np.abs(b["high"] - before), np.abs(b["low"] - before)], axis=0
        )
        + 0.0 * before
    )


def wilder_sum(x: np.ndarray, span: int) -> np.ndarray:
    """Sum by Wilder's recursion; x[0] is NaN, the first span - 1 values are summed plainly."""
    rest = lfilter([1.0], [1.0, -(1.0 - 1.0 / span)], np.concatenate([[x[1:span].sum()], x[span:]]))
    return np.concatenate([np.full(span - 1, np.nan), rest])


def movement(b: Bars, span: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rise = np.diff(b["high"], prepend=np.nan)
    fall = -np.diff(b["low"], prepend=np.nan)
    plus = np.where((rise > fall) & (rise > 0.0), rise, 0.0)
    minus = np.where((fall > rise) & (fall > 0.0), fall, 0.0)
    return tuple(wilder_sum(x, span) for x in (plus, minus, true_range(b)))  # type: ignore[return-value]


def directional(b: Bars, span: int, which: int) -> np.ndarray:
    parts = movement(b, span)
    found = 100.0 * divided(parts[which], parts[2], 0.0)
    found[:span] = np.nan
    return found


def adx(b: Bars, span: int) -> np.ndarray:
    plus, minus, _ = movement(b, span)
    dx = 100.0 * divided(np.abs(plus - minus), plus + minus, 0.0)
    dx[:span] = np.nan
    return wilder(dx, span)


def signed_share(b: Bars, mode: str, sigma_span: int) -> np.ndarray:
    """Return bought minus sold as a share of each bar's volume; NaN where not known yet."""
    if mode == "trades":
        return divided(b["buy"] - b["sell"], b["buy"] + b["sell"], 0.0)
    change = np.diff(b["close"], prepend=np.nan)
    sigma = np.concatenate([[np.nan], rolling(change[1:], sigma_span, np.std)])
    return 2.0 * norm.cdf(divided(change, sigma, 0.0)) - 1.0


def interpolated(at: list, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Interpolate in extended precision: the differences of long sums would lose eight digits."""
    k = np.clip(np.searchsorted(x, at, side="left"), 1, len(x) - 1)
    return y[k - 1] + (np.array(at) - x[k - 1]) / (x[k] - x[k - 1]) * (y[k] - y[k - 1])


def vpin(b: Bars, p: dict) -> np.ndarray:
    """Cut the cumulative volume at bucket bounds and interpolate the signed flow there."""
    share, volume = signed_share(b, p["mode"], p["sigma_span"]), b["volume"].astype(np.longdouble)
    mean = rolling(b["volume"], p["span"], np.mean).astype(np.longdouble)
    known = ~np.isnan(share) & ~np.isnan(mean)
    needed = 1 + math.ceil(p["buckets"] * p["bucket_bars"])
    filled = np.cumsum(np.where(known, volume, 0.0))
    bounds, counts, size = [np.longdouble(0.0)], [], np.longdouble(0.0)
    for t in range(len(volume)):
        if known[t] and volume[t] > 0.0:
            size = p["bucket_bars"] * mean[t] if size == 0.0 else size
            while filled[t] >= bounds[-1] + size * (1 - 1e-9):  # full but for a billionth
                bounds.append(bounds[-1] + size)
                size = p["bucket_bars"] * mean[t]
        counts.append(len(bounds) - 1)
    grows = np.flatnonzero(known & (volume > 0.0))
    x = np.concatenate([[0.0], filled[grows]])
    y = np.concatenate([[0.0], np.cumsum((volume * share)[grows])])
    sums = np.concatenate([[0.0], np.cumsum(np.abs(np.diff(interpolated(bounds, x, y))))])
    last = np.array(counts)
    first = np.maximum(last - p["buckets"], 0)
    found = divided(sums[last] - sums[first], np.array(bounds)[last] - np.array(bounds)[first], 0.0)
    return np.where(np.cumsum(known) >= needed, found, np.nan).astype(float)


def imbalance(b: Bars, p: dict) -> np.ndarray:
    share = signed_share(b, p["mode"], p["sigma_span"])
    signed = rolling(share * b["volume"], p["span"], np.sum)
    volume = rolling(b["volume"] + 0.0 * share, p["span"], np.sum)
    return divided(signed, volume, 0.0)


def above(b: Bars, span: int) -> np.ndarray:
    mean = ema(b["close"], span)
    at = np.arange(len(mean))
    run = at - np.maximum.accumulate(np.where(b["close"] > mean, -1, at))
    return np.where(np.isnan(mean), np.nan, run)


def alignment(b: Bars, p: dict) -> np.ndarray:
    fast, middle, slow = (ema(b["close"], p[k]) for k in ("fast", "middle", "slow"))
    up, down = (fast > middle) & (middle > slow), (fast < middle) & (middle < slow)
    return np.where(np.isnan(fast + middle + slow), np.nan, up * 1.0 - down)


def macd(b: Bars, p: dict) -> np.ndarray:
    late = b["close"].copy()
    late[: p["slow"] - p["fast"]] = np.nan
    line = ema(late, p["fast"]) - ema(b["close"], p["slow"])
    histogram = line - ema(line, p["signal"])
    return histogram if p["scale"] == "price" else 100.0 * histogram / np.abs(b["close"])


def stochastic(b: Bars, span: int) -> np.ndarray:
    low, high = rolling(b["low"], span, np.min), rolling(b["high"], span, np.max)
    return 100.0 * divided(b["close"] - low, high - low, 0.5)


def deviation(w: np.ndarray, axis: int) -> np.ndarray:
    """Return the deviation of windows, each less its first value: of a flat one exactly 0."""
    return np.std(w - w[:, :1], axis=axis)


def band_half(b: Bars, p: dict) -> np.ndarray:
    return p["width"] * rolling(b["close"], p["span"], deviation)


def change(b: Bars, span: int) -> np.ndarray:
    before = shifted(b["close"], span)
    return (b["close"] - before) / np.abs(before)


def rsi(b: Bars, p: dict) -> np.ndarray:
    moved = np.diff(b["close"], prepend=np.nan)
    up = wilder(np.where(np.isnan(moved), np.nan, np.maximum(moved, 0.0)), p["span"])
    down = wilder(np.where(np.isnan(moved), np.nan, np.maximum(-moved, 0.0)), p["span"])
    return 100.0 * divided(up, up + down, 0.5)


def closing_times(b: Bars) -> np.ndarray:
    """Return when each bar closed, datetime64[ns]."""
    return np.asarray(b["ts_event"] + b.get("interval_ns", MINUTE)).astype("datetime64[ns]")


def day(b: Bars) -> np.ndarray:
    """Return the day's share that has passed at the close of each bar."""
    closed = closing_times(b)
    return (closed - closed.astype("datetime64[D]")) / np.timedelta64(1, "D")


def week(b: Bars) -> np.ndarray:
    """Return the share of the week's days that has passed: 1970-01-01 was a Thursday."""
    days = closing_times(b).astype("datetime64[D]").astype(np.int64)
    return (days + 3) % 7 / 7.0


def score(b: Bars, p: dict) -> np.ndarray:
    v, n = b["volume"], p["span"]
    return divided(v - rolling(v, n, np.mean), rolling(v, n, deviation), 0.0)


TAU = 2.0 * np.pi
ON_BARS: dict[str, Reference] = {
    "price_vs_ema_{span}": lambda b, p: b["close"] / ema(b["close"], p["span"]) - 1.0,
    "ema_alignment": alignment,
    "consecutive_above_ema": lambda b, p: above(b, p["span"]),
    "returns_{span}": lambda b, p: change(b, p["span"]),
    "rsi_{span}": rsi,
    "macd_histogram": macd,
    "stoch_k": lambda b, p: stochastic(b, p["span"]),
    "stoch_d": lambda b, p: rolling(stochastic(b, p["span"]), p["smooth"], np.mean),
    "momentum_{span}": lambda b, p: 100.0 * change(b, p["span"])
    if p["scale"] == "close" else b["close"] - shifted(b["close"], p["span"]),
    "atr_pct": lambda b, p: 100.0 * wilder(true_range(b), p["span"]) / b["close"],
    "bb_position": lambda b, p: divided(
        b["close"] - rolling(b["close"], p["span"], np.mean) + band_half(b, p),
        2.0 * band_half(b, p), 0.5),
    "bb_width": lambda b, p: 2.0 * band_half(b, p) / rolling(b["close"], p["span"], np.mean),
    "adx_{span}": lambda b, p: adx(b, p["span"]),
    "di_plus": lambda b, p: directional(b, p["span"], 0),
    "di_minus": lambda b, p: directional(b, p["span"], 1),
    "volume_ratio": lambda b, p: divided(
        b["volume"], rolling(b["volume"], p["span"], np.mean), 1.0),
    "volume_zscore": score,
    "trade_imbalance": imbalance,
    "vpin": vpin,
    "hour_sin": lambda b, p: np.sin(TAU * day(b)),
    "hour_cos": lambda b, p: np.cos(TAU * day(b)),
    "dow_sin": lambda b, p: np.sin(TAU * week(b)),
    "dow_cos": lambda b, p: np.cos(TAU * week(b)),
}  # fmt: skip
