"""Independent versions over a market: pairs, bars that do not count, where a stretch begins."""

import numpy as np
import pytest

from app.feature_checks import _warm_bounds
from app.feature_paths import PEER_BAR, Seen
from app.feature_references import compare, pairs
from engine.market import MARKET
from features.registry import Resolved, resolve_one

MINUTE = 60_000_000_000
NONE = np.zeros(0, PEER_BAR)


def closing(n: int) -> np.ndarray:
    """Return the market at `n` moments, at each of which a bar closed."""
    m = np.zeros(n, MARKET)
    m["bar_count"] = 1 + np.arange(n)
    m["quote_count"] = 1
    m["bar_ts"], m["bar_interval_ns"] = np.arange(n) * MINUTE, MINUTE
    draw = np.random.default_rng(1)
    for name in ("open", "high", "low", "close", "volume"):
        m[f"bar_{name}"] = draw.uniform(1.0, 2.0, n)
    return m


def seen_of(m: np.ndarray, x: np.ndarray, peers: np.ndarray = NONE) -> Seen:
    n = len(m)
    column = np.asarray(x, np.float32).reshape(n, 1)
    return Seen(m["now"], np.arange(n), column, np.isfinite(column[:, 0]), m, peers)


def bounds(m: np.ndarray, entry: Resolved, peers: np.ndarray = NONE) -> tuple[np.ndarray, ...]:
    return _warm_bounds(m, (np.zeros(1, MARKET)[0], 0, peers), entry)


@pytest.mark.parametrize("later", [0, 1], ids=["peer first", "peer after"])
def test_bars_make_pairs_whichever_instrument_came_first(later: int) -> None:
    m, n, entry = closing(12), 12, resolve_one("pair_correlation_5", {})
    peers = np.zeros(n, PEER_BAR)
    peers["moment"], peers["ts"] = np.arange(n) + later, m["bar_ts"]
    peers["close"] = np.random.default_rng(2).uniform(1.0, 2.0, n)
    own, known, close = pairs(m, np.arange(n), 0, peers)
    assert own.tolist() == list(range(n))
    assert known.tolist() == [at + later for at in range(n)]
    assert np.array_equal(close, peers["close"])

    moves = np.diff(np.log([m["bar_close"], close]), axis=1)
    wanted = np.full(n, np.nan)
    for at in range(5 + later, n):  # the value of the last pair that is known there
        wanted[at] = np.corrcoef(moves[:, at - later - 5 : at - later])[0, 1]
    found = compare(seen_of(m, wanted, peers), 0, entry)
    assert np.isfinite(found.theirs).sum() == 7 - later
    assert not found.differs.any()
    assert compare(seen_of(m, -wanted, peers), 0, entry).differs.sum() == 7 - later
    early, late = bounds(m, entry, peers)
    assert early.tolist() == [at < 5 + later for at in range(n)]
    assert np.array_equal(late, ~early)


def test_bars_that_one_of_two_lacks_or_that_came_before_a_gap_make_no_pair() -> None:
    m = closing(4)
    peers = np.zeros(3, PEER_BAR)
    peers["ts"], peers["close"] = [0, 2 * MINUTE, 3 * MINUTE], 1.0
    peers["moment"], peers["gap_count"] = [0, 2, 3], [0, 0, 1]
    assert pairs(m, np.arange(4), 0, peers)[0].tolist() == [0, 2]


@pytest.mark.parametrize("odd", [np.nan, np.inf, -1.0, 1e200])
def test_a_bar_whose_volume_cannot_be_used_is_as_if_it_had_not_come(odd: float) -> None:
    m, entry = closing(40), resolve_one("volume_ratio", {})
    m["bar_volume"][25] = odd
    span, wanted = int(entry.params["span"]), np.full(40, np.nan)
    volumes = [at for at in range(40) if at != 25]
    for at in range(span - 1, 40):
        last = [one for one in volumes if one <= at][-span:]
        wanted[at] = m["bar_volume"][last[-1]] / np.mean(m["bar_volume"][last])
    found = compare(seen_of(m, wanted), 0, entry)
    assert np.isfinite(found.theirs).sum() == 41 - span
    assert not found.differs.any()
    assert bounds(m, entry)[1].tolist() == [at >= span - 1 for at in range(40)]
    m["bar_volume"][:] = odd  # none counts: no value is called late
    assert not bounds(m, entry)[1].any()
    assert not compare(seen_of(m, np.full(40, np.nan)), 0, entry).differs.any()


def test_prices_go_on_where_a_volume_is_missing() -> None:
    m, entry = closing(6), resolve_one("returns_1", {})
    m["bar_volume"][3] = np.nan
    close = m["bar_close"]
    wanted = np.concatenate([[np.nan], close[1:] / close[:-1] - 1.0])
    found = compare(seen_of(m, wanted), 0, entry)
    assert np.isfinite(found.theirs).sum() == 5
    assert not found.differs.any()


def test_windows_of_time_open_with_the_first_quote_that_features_see() -> None:
    """Quotes that the engine does not believe, at the start, open nothing."""
    m, entry = np.zeros(30, MARKET), resolve_one("quote_rate_1s", {})
    m["ts"] = m["now"] = np.arange(30) * 100_000_000
    m["quote_count"] = np.maximum(np.arange(30) - 4, 0)  # the first five are crossed
    wanted = np.full(30, np.nan)
    wanted[15:] = np.log1p(10.0)
    found = compare(seen_of(m, wanted), 0, entry)
    assert np.isfinite(found.theirs).sum() == 15
    assert not found.differs.any()


def test_beyond_the_table_of_sessions_nothing_is_asked() -> None:
    m, entry = closing(3), resolve_one("minutes_to_open", {})
    days = [f"{day}T15:00" for day in ("1999-12-30", "2024-03-11", "2030-12-31")]
    m["bar_ts"] = np.array(days, "datetime64[ns]").astype(np.int64)
    assert bounds(m, entry)[1].tolist() == [False, True, False]
    found = compare(seen_of(m, np.array([np.nan, 0.0, np.nan])), 0, entry)
    assert np.isfinite(found.theirs).tolist() == [False, True, False]
    assert not found.differs.any()
