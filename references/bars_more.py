"""Independent versions of more features on bars: averages, volatilities, volumes, pairs."""

from collections.abc import Callable
from functools import partial

import numpy as np

from engine.session_table import sessions
from references.bars import (
    MINUTE,
    Bars,
    Reference,
    change,
    divided,
    ema,
    rolling,
    shifted,
    signed_share,
    true_range,
    wilder,
)


def centred(w: np.ndarray) -> np.ndarray:
    """Return windows less their means; flat ones are exactly 0."""
    w = w - w[:, :1]
    return w - w.mean(axis=1, keepdims=True)


def mean(x: np.ndarray, span: int) -> np.ndarray:
    """Return the rolling mean; NaN while a window has a NaN."""
    return rolling(x, span, np.mean)


def log_move(x: np.ndarray, span: int = 1) -> np.ndarray:
    return np.log(x) - np.log(shifted(x, span))


def log_returns(b: Bars) -> np.ndarray:
    """Return logarithmic returns; of nearly equal prices by the series, which loses no digits."""
    return np.log1p((b["close"] - shifted(b["close"], 1)) / shifted(b["close"], 1))


def log_over(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.log1p((x - y) / y)


def typical(b: Bars) -> np.ndarray:
    return (b["high"] + b["low"] + b["close"]) / 3.0


def weighted(b: Bars, span: int) -> np.ndarray:
    weights = np.arange(1.0, span + 1.0)
    average = np.convolve(b["close"], weights[::-1] / weights.sum(), mode="valid")
    return b["close"] / np.concatenate([np.full(span - 1, np.nan), average]) - 1.0


def kama(b: Bars, span: int) -> np.ndarray:
    close = b["close"]
    path = rolling(np.abs(np.diff(close, prepend=np.nan)), span, np.sum)
    moved = np.abs(close - shifted(close, span))
    c = (divided(moved, path, 1.0) * (2 / 3 - 2 / 31) + 2 / 31) ** 2
    found, level = np.full(len(close), np.nan), close[span - 1]
    for t in range(span, len(close)):
        level += c[t] * (close[t] - level)
        found[t] = level
    return close / found - 1.0


def slope(b: Bars, span: int) -> np.ndarray:
    """Fit all windows at once, each less its first close."""

    def fit(w: np.ndarray, axis: int) -> np.ndarray:
        return np.polynomial.polynomial.polyfit(np.arange(span), (w - w[:, :1]).T, 1)[1]

    return 100.0 * rolling(b["close"], span, fit) / b["close"]


def r2(b: Bars, span: int) -> np.ndarray:
    """Compare the residuals of the fitted lines with the deviations from the mean."""
    x = np.arange(span)

    def share(w: np.ndarray, axis: int) -> np.ndarray:
        y = centred(w).T
        left = (
            y
            - np.polynomial.polynomial.polyval(
                x, np.polynomial.polynomial.polyfit(x, y, 1), tensor=True
            ).T
        )
        return 1.0 - divided((left**2).sum(axis=0), (y**2).sum(axis=0), 1.0)

    return rolling(b["close"], span, share)


def donchian(b: Bars, span: int) -> np.ndarray:
    high = shifted(rolling(b["high"], span, np.max), 1)
    low = shifted(rolling(b["low"], span, np.min), 1)
    return divided(b["close"] - low, high - low, 0.5)


def williams(b: Bars, span: int) -> np.ndarray:
    high, low = rolling(b["high"], span, np.max), rolling(b["low"], span, np.min)
    return -100.0 * divided(high - b["close"], high - low, 0.5)


def cci(b: Bars, span: int) -> np.ndarray:
    price = typical(b)
    deviation = rolling(price, span, lambda w, axis: np.abs(centred(w)).mean(axis=1))
    flat = rolling(price, span, np.ptp) == 0.0
    found = divided(price - mean(price, span), 0.015 * deviation, 0.0)
    return np.where(flat & ~np.isnan(found), 0.0, found)


def mfi(b: Bars, span: int) -> np.ndarray:
    price = typical(b)
    flow, moved = price * b["volume"], np.diff(price, prepend=np.nan)
    nothing = np.where(np.isnan(moved), np.nan, 0.0)
    up = rolling(np.where(moved > 0.0, flow, nothing), span, np.sum)
    down = rolling(np.where(moved < 0.0, flow, nothing), span, np.sum)
    return 100.0 * divided(up, up + down, 0.5)


def keltner(b: Bars, p: dict) -> np.ndarray:
    middle, half = ema(b["close"], p["span"]), p["width"] * wilder(true_range(b), p["atr_span"])
    place = divided(b["close"] - (middle - half), 2.0 * half, 0.5)
    return np.where(half <= 1e-8 * np.abs(middle), 0.5, place)  # no wider than rounding


def realised(b: Bars, span: int) -> np.ndarray:
    return rolling((100.0 * log_returns(b)) ** 2, span, np.sum)


def bipower(b: Bars, span: int) -> np.ndarray:
    size = np.abs(100.0 * log_returns(b))
    pairs = rolling(size[1:] * size[:-1], span - 1, np.sum)
    return np.pi / 2.0 * span / (span - 1) * np.concatenate([[np.nan], pairs])


def jumps(b: Bars, span: int) -> np.ndarray:
    return np.maximum(0.0, 1.0 - divided(bipower(b, span), realised(b, span), 1.0))


def garman_klass(b: Bars, span: int) -> np.ndarray:
    reach, move = log_over(b["high"], b["low"]), log_over(b["close"], b["open"])
    term = 0.5 * reach**2 - (2.0 * np.log(2.0) - 1.0) * move**2
    return 100.0 * np.sqrt(np.maximum(mean(term, span), 0.0))


def satchell(b: Bars) -> np.ndarray:
    high, low, close, opened = (b[name] for name in ("high", "low", "close", "open"))
    up = log_over(high, close) * log_over(high, opened)
    return up + log_over(low, close) * log_over(low, opened)


def yang_zhang(b: Bars, span: int) -> np.ndarray:
    between = log_over(b["open"], shifted(b["close"], 1))
    within = log_over(b["close"], b["open"])
    k = 0.34 / (1.34 + (span + 1) / (span - 1))
    jumped = rolling(between, span, partial(np.var, ddof=1))
    moved = rolling(within, span, partial(np.var, ddof=1))
    total = jumped + k * moved + (1.0 - k) * mean(satchell(b), span)
    return 100.0 * np.sqrt(np.maximum(total, 0.0))


def regime(b: Bars, p: dict) -> np.ndarray:
    squares = log_returns(b) ** 2
    near, far = mean(squares, p["fast"]), mean(squares, p["slow"])
    return np.sqrt(divided(near, far, 1.0))


def obv(b: Bars, span: int) -> np.ndarray:
    sign = np.sign(np.diff(b["close"], prepend=np.nan))
    signed = rolling(sign * b["volume"], span, np.sum)
    return divided(signed, rolling(b["volume"] + 0.0 * sign, span, np.sum), 0.0)


def vwap(b: Bars, span: int) -> np.ndarray:
    """Weigh what prices differ from the window's first, so that a flat window is exactly flat."""
    if len(b["close"]) < span:
        return np.full(len(b["close"]), np.nan)
    prices, volumes = (
        np.lib.stride_tricks.sliding_window_view(x.astype(np.longdouble), span)
        for x in (typical(b), b["volume"])
    )
    volume = volumes.sum(axis=1)
    apart = divided(((prices - prices[:, :1]) * volumes).sum(axis=1), volume, 0.0)
    close = b["close"][span - 1 :]
    price = np.where(volume == 0.0, close, prices[:, 0] + apart)
    found = divided(close - price, np.abs(price), 0.0).astype(float)
    return np.concatenate([np.full(span - 1, np.nan), found])


def signed_last(b: Bars, p: dict) -> np.ndarray:
    signed = signed_share(b, p["mode"], p["sigma_span"]) * b["volume"]
    usual = mean(b["volume"] + 0.0 * signed, p["span"])
    return divided(signed, usual, 0.0)


def amihud(b: Bars, span: int) -> np.ndarray:
    money = np.abs(b["close"]) * b["volume"] / 1e6
    moved = 100.0 * np.abs(log_returns(b))
    some = np.where(np.isnan(moved), np.nan, money > 1e-206)  # less is flushed to zero
    term = np.where(some == 1.0, divided(moved, money, 0.0), 0.0 * moved)
    return divided(rolling(term, span, np.sum), rolling(some, span, np.sum), 0.0)


def roll(b: Bars, span: int) -> np.ndarray:
    move = np.diff(b["close"], prepend=np.nan)
    both = np.stack([move, shifted(move, 1)])
    view = np.lib.stride_tricks.sliding_window_view(both, span, axis=1)
    off = view - view.mean(axis=2, keepdims=True)
    covariance = np.concatenate([np.full(span - 1, np.nan), (off[0] * off[1]).mean(axis=1)])
    return 2e4 * np.sqrt(np.maximum(-covariance, 0.0)) / b["close"]


def pair(b: Bars, span: int, f: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> np.ndarray:
    """Apply f to the windows of both returns."""
    returns = [log_returns({"close": b[name]})[1:] for name in ("close", "peer")]
    own, peer = (np.lib.stride_tricks.sliding_window_view(x, span) for x in returns)
    return np.concatenate([np.full(span, np.nan), f(own, peer)])


def correlation(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    x, y = centred(x), centred(y)
    scale = np.linalg.norm(x, axis=1) * np.linalg.norm(y, axis=1)
    return divided(np.einsum("ij,ij->i", x, y), scale, 0.0)


def beta(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    x, y = centred(x), centred(y)
    return divided(np.einsum("ij,ij->i", x, y), np.einsum("ij,ij->i", y, y), 0.0)


def zscore(b: Bars, span: int) -> np.ndarray:
    spread = np.log(b["close"] / b["peer"])
    spread[0] = np.nan  # the first pair only says where the returns begin
    return divided(spread - mean(spread, span), rolling(spread, span, np.std), 0.0)


SESSION = (
    "regular_hours",
    "minutes_from_open",
    "minutes_to_close",
    "minutes_from_close",
    "minutes_to_open",
)


def session(b: Bars, p: dict, name: str) -> np.ndarray:
    """Look the bars up in the table of sessions, in seconds."""
    opens, closes = (60 * sessions(p["exchange"])).T
    begin = b["ts_event"] // 1_000_000_000
    end = begin + b.get("interval_ns", MINUTE) // 1_000_000_000
    at = np.searchsorted(opens, begin, side="right") - 1
    inside = end <= closes[at]
    known = (at >= 0) & (at + 1 < len(opens))
    ahead = opens[np.minimum(at + 1, len(opens) - 1)]
    found = {
        "regular_hours": inside * 1.0,
        "minutes_from_open": np.where(inside, (end - opens[at]) / 60.0, 0.0),
        "minutes_to_close": np.where(inside, (closes[at] - end) / 60.0, 0.0),
        "minutes_from_close": np.where(inside, 0.0, np.maximum(end - closes[at], 0) / 60.0),
        "minutes_to_open": np.where(inside, 0.0, np.maximum(ahead - end, 0) / 60.0),
    }[name]
    return np.where(known, found, np.nan)


ON_BARS: dict[str, Reference] = {
    "log_returns_{span}": lambda b, p: log_over(b["close"], shifted(b["close"], p["span"])),
    "price_vs_sma_{span}": lambda b, p: b["close"] / mean(b["close"], p["span"]) - 1.0,
    "price_vs_wma_{span}": lambda b, p: weighted(b, p["span"]),
    "price_vs_kama_{span}": lambda b, p: kama(b, p["span"]),
    "regression_slope_{span}": lambda b, p: slope(b, p["span"]),
    "regression_r2_{span}": lambda b, p: r2(b, p["span"]),
    "donchian_position_{span}": lambda b, p: donchian(b, p["span"]),
    "williams_r_{span}": lambda b, p: williams(b, p["span"]),
    "roc_{span}": lambda b, p: 100.0 * change(b, p["span"]),
    "cci_{span}": lambda b, p: cci(b, p["span"]),
    "mfi_{span}": lambda b, p: mfi(b, p["span"]),
    "keltner_position": keltner,
    "realised_variance_{span}": lambda b, p: realised(b, p["span"]),
    "bipower_variation_{span}": lambda b, p: bipower(b, p["span"]),
    "jump_share_{span}": lambda b, p: jumps(b, p["span"]),
    "parkinson_{span}": lambda b, p: 100.0 * np.sqrt(
        mean(log_over(b["high"], b["low"]) ** 2, p["span"]) / np.log(16.0)),
    "garman_klass_{span}": lambda b, p: garman_klass(b, p["span"]),
    "rogers_satchell_{span}": lambda b, p: 100.0 * np.sqrt(
        np.maximum(mean(satchell(b), p["span"]), 0.0)),
    "yang_zhang_{span}": lambda b, p: yang_zhang(b, p["span"]),
    "ewma_volatility_{span}": lambda b, p: 100.0 * np.sqrt(ema(log_returns(b) ** 2, p["span"])),
    "volatility_{span}": lambda b, p: 100.0 * rolling(log_returns(b), p["span"], np.std),
    "volatility_regime": regime,
    "obv_{span}": lambda b, p: obv(b, p["span"]),
    "vwap_distance_{span}": lambda b, p: vwap(b, p["span"]),
    "signed_volume": signed_last,
    "amihud_{span}": lambda b, p: amihud(b, p["span"]),
    "roll_spread_{span}": lambda b, p: roll(b, p["span"]),
    "pair_correlation_{span}": lambda b, p: pair(b, p["span"], correlation),
    "pair_beta_{span}": lambda b, p: pair(b, p["span"], beta),
    "lead_return_{span}": lambda b, p: pair(b, p["span"], lambda x, y: 100.0 * y.sum(axis=1)),
    "relative_strength_{span}": lambda b, p: pair(
        b, p["span"], lambda x, y: 100.0 * (x.sum(axis=1) - y.sum(axis=1))),
    "pair_zscore_{span}": lambda b, p: zscore(b, p["span"]),
    **{name: partial(session, name=name) for name in SESSION},
}  # fmt: skip
