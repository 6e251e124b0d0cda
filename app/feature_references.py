"""Features that a kernel gave beside their independent versions, which read the same market.

The independent versions (references/) are stated on whole columns of one stretch without a gap;
this file lays out the columns from the market that was seen, and calls them stretch by stretch.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from app.feature_paths import Seen
from engine.market import MARKET
from features.registry import Resolved
from references.levels import Book
from references.registry import on_bars, on_levels, on_ticks

SMALL = 1e-9  # of the largest value: what differences of nearly equal numbers may lose
ULPS = 4.0


class Compared(NamedTuple):
    """One feature beside its independent version.

    Attributes:
        at: places in `seen`, int64[n].
        ours, theirs: float32[n] of the kernel, float64[n] of the independent version.
        differs: bool[n].
        silent: place from which on the independent version cannot say, -1 where it always can.
    """

    at: np.ndarray
    ours: np.ndarray
    theirs: np.ndarray
    differs: np.ndarray
    silent: int


def has_reference(entry: Resolved) -> bool:
    """Tell whether an independent version of a feature is there: of the base bars alone.

    The market record that they read shows no others.
    """
    return not entry.bar and any(
        entry.feature.name in table for table in (on_bars(), on_ticks(), on_levels())
    )


def compare(seen: Seen, column: int, entry: Resolved) -> Compared:
    """Hold one feature against its independent version, wherever that has a value to say.

    Differences count beyond 4 units in the last place of float32, and beyond a billionth of the
    feature's largest value.
    """
    parts = [part for part in _stretches(seen.market) if len(part) > 1]
    results = [_one(seen.market, part, entry) for part in parts]
    at = np.concatenate([np.zeros(0, np.int64), *(at for at, _ in results)])
    theirs = np.concatenate([np.zeros(0), *(x for _, x in results)])
    asked = seen.market["stale"][at] == 0  # no model is, between a gap and the next good quote
    at, theirs = at[asked], theirs[asked]
    ours = seen.x[at, column]
    silent = np.flatnonzero(np.isinf(theirs))
    first = int(at[silent[0]]) if len(silent) else -1
    return Compared(at, ours, theirs, differing(ours, theirs), first)


def differing(ours: np.ndarray, theirs: np.ndarray) -> np.ndarray:
    """Tell where float32 values are not those of float64; infinite ones say nothing.

    >>> differing(np.float32([1.0, np.nan, 0.3]), np.array([1.0, 2.0, 0.3000001])).tolist()
    [False, True, False]
    """
    known = np.abs(theirs[np.isfinite(theirs)])
    largest = float(known.max()) if len(known) else 0.0
    with np.errstate(all="ignore"):
        room = ULPS * np.spacing(np.abs(theirs).astype(np.float32)).astype(float) + SMALL * largest
        near = np.abs(ours.astype(float) - theirs) <= room
    return ~(near | (np.isnan(ours) & np.isnan(theirs)) | np.isinf(theirs))


def _stretches(market: np.ndarray) -> Iterator[np.ndarray]:
    """Yield the places of each stretch between gaps, from its first trusted quote on."""
    gaps = market["gap_count"]
    bounds = [0, *(np.flatnonzero(np.diff(gaps)) + 1).tolist(), len(gaps)]
    for begin, end in zip(bounds[:-1], bounds[1:], strict=True):
        yield np.arange(begin, end)


def _one(market: np.ndarray, part: np.ndarray, entry: Resolved) -> tuple[np.ndarray, np.ndarray]:
    """Return where the independent version speaks within a stretch, and what it says."""
    name, params = entry.feature.name, words(entry)
    m = market[part]
    before = market[part[0] - 1] if part[0] else np.zeros(1, MARKET)[0]
    if name in on_bars():
        least = entry.warmup.n if entry.warmup.of == "bars" else 0
        version = (on_bars()[name], params, "peer_bars" in entry.inputs, least)
        return _on_bars(m, before, part, version)
    if name in on_ticks():
        return part, on_ticks()[name](tick_columns(m, before), params)
    moved = changed(m, before, "depth_count")
    if not moved.any():
        return part[:0], np.zeros(0)
    with np.errstate(all="ignore"):
        theirs = on_levels()[name](book_of(m[moved]), params)
    whole = m["levels"][moved] > 0
    return part[moved][whole], theirs[whole]


def words(entry: Resolved) -> dict[str, Any]:
    """Return a feature's parameters with words as words."""
    kinds = entry.feature.choices
    return {k: kinds[k][int(v)] if k in kinds else v for k, v in entry.params.items()}


def changed(m: np.ndarray, before: np.void, count: str) -> np.ndarray:
    """Tell at which moments a count of the market went up."""
    return np.diff(m[count], prepend=before[count]) > 0


def _on_bars(
    m: np.ndarray,
    before: np.void,
    part: np.ndarray,
    version: tuple[Callable[[Any, dict[str, Any]], Any], dict[str, Any], bool, int],
) -> tuple[np.ndarray, np.ndarray]:
    formula, params, paired, least = version
    closed = np.flatnonzero(changed(m, before, "bar_count"))
    if paired:
        closed = closed[m["peer_bar_ts"][closed] == m["bar_ts"][closed]]
    if len(closed) < max(least, 2):  # too short a stretch for any value
        return part[closed], np.full(len(closed), np.nan)
    with np.errstate(all="ignore"):
        return part[closed], np.asarray(formula(bar_columns(m[closed]), params), float)


def bar_columns(m: np.ndarray) -> dict[str, np.ndarray]:
    """Return the columns of closed bars, as references/bars.py names them."""
    names = ("open", "high", "low", "close", "volume")
    return {
        "ts_event": m["bar_ts"],
        "interval_ns": m["bar_interval_ns"],
        **{name: m[f"bar_{name}"] for name in names},
        "buy": m["bar_buy_volume"],
        "sell": m["bar_sell_volume"],
        "peer": m["peer_bar_close"],
    }


def tick_columns(m: np.ndarray, before: np.void) -> Mapping[str, np.ndarray]:
    """Return the columns of a stretch of ticks, as references/ticks.py names them."""
    touched = np.cumsum(changed(m, before, "quote_count")) > 0
    touch = {
        name: np.where(touched, m[name], np.nan)
        for name in ("bid", "ask", "bid_size", "ask_size", "mid")
    }
    return {
        "ts": m["ts"],
        "quote": changed(m, before, "quote_count"),
        "trade": changed(m, before, "trade_count"),
        "price": m["trade_price"],
        "size": m["trade_size"],
        "side": m["trade_side"],
        **touch,
    }


def book_of(m: np.ndarray) -> Book:
    """Return the levels behind packets of depth."""
    sides = {
        "bids": m["bid_prices"], "bid_sizes": m["bid_sizes"],
        "asks": m["ask_prices"], "ask_sizes": m["ask_sizes"],
    }  # fmt: skip
    return Book(m["ts"], sides, m["depth_count"] == 1)
