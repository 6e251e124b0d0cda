"""Features that a kernel gave beside their independent versions, which read the same market.

The independent versions (references/) are stated on whole columns of one stretch without a gap;
this file lays out the columns from the market that was seen, and calls them stretch by stretch.
"""

from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from app.feature_paths import Seen
from engine.market import MARKET
from engine.rows import NS_PER_S
from features.registry import Resolved
from references.levels import Book
from references.registry import on_bars, on_levels, on_ticks

SMALL = 1e-9  # of the largest value: what differences of nearly equal numbers may lose
ULPS = 4.0
PRICES = frozenset({"open", "high", "low", "close"})
LARGEST = 1e100  # larger numbers, and what is not finite, no feature uses
EVENTS = ("quote", "trade", "depth", "bar")
SOME_DAY = 1_600_000_020 * NS_PER_S


class Compared(NamedTuple):
    """One feature beside its independent version.

    Attributes:
        at: places in `seen`, int64[n].
        ours, theirs: float32[n] of the kernel, float64[n] of the independent version.
        differs: bool[n].
    """

    at: np.ndarray
    ours: np.ndarray
    theirs: np.ndarray
    differs: np.ndarray


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
    results = []
    for part in parts:
        places, values = _one(seen, part, entry)
        judged = judging(seen.market[part], entry)[places - part[0]]
        results.append((places[judged], values[judged]))
    at = np.concatenate([np.zeros(0, np.int64), *(at for at, _ in results)])
    theirs = np.concatenate([np.zeros(0), *(x for _, x in results)])
    ours = seen.x[at, column]
    return Compared(at, ours, theirs, differing(ours, theirs))


def differing(ours: np.ndarray, theirs: np.ndarray) -> np.ndarray:
    """Tell where float32 values are not those of float64.

    >>> differing(np.float32([1.0, np.nan, 0.3]), np.array([1.0, 2.0, 0.3000001])).tolist()
    [False, True, False]
    """
    known = np.abs(theirs[np.isfinite(theirs)])
    largest = float(known.max()) if len(known) else 0.0
    with np.errstate(all="ignore"):
        room = ULPS * np.spacing(np.abs(theirs).astype(np.float32)).astype(float) + SMALL * largest
        near = np.abs(ours.astype(float) - theirs) <= room
    return ~(near | (np.isnan(ours) & np.isnan(theirs)))


def _stretches(market: np.ndarray) -> Iterator[np.ndarray]:
    """Yield the places of each stretch between gaps, from the first that features saw on."""
    gaps = market["gap_count"]
    bounds = [0, *(np.flatnonzero(np.diff(gaps)) + 1).tolist(), len(gaps)]
    for begin, end in zip(bounds[:-1], bounds[1:], strict=True):
        before = market[begin - 1] if begin else np.zeros(1, MARKET)[0]
        moved = [changed(market[begin:end], before, f"{one}_count") for one in EVENTS]
        first = np.flatnonzero(np.any(moved, axis=0))
        if len(first):
            yield np.arange(begin + first[0], end)


def judging(m: np.ndarray, entry: Resolved) -> np.ndarray:
    """Tell at which moments of a stretch a feature is held against what it should be.

    Only where a model would be asked: not before the first good quote, nor after a gap until the
    next. Features on sizes no longer once a size was absent or out of all bounds: they have no
    value or begin their window anew there, each in its own way.
    """
    asked = (m["stale"] == 0) & ((m["quote_count"] > 0) | (m["depth_count"] > 0))
    if "quote_sizes" in entry.inputs:
        sizes = np.stack([m["bid_size"], m["ask_size"]])
        odd = (m["quote_count"] > 0) & ~((sizes >= 0.0) & (sizes <= LARGEST)).all(axis=0)
        asked &= np.cumsum(odd) == 0
    return asked


def _one(seen: Seen, part: np.ndarray, entry: Resolved) -> tuple[np.ndarray, np.ndarray]:
    """Return where the independent version speaks within a stretch, and what it says."""
    name, params = entry.feature.name, words(entry)
    m = seen.market[part]
    before = seen.market[part[0] - 1] if part[0] else np.zeros(1, MARKET)[0]
    if name in on_bars():
        closed = np.flatnonzero(changed(m, before, "bar_count"))
        least = max(entry.warmup.n if entry.warmup.of == "bars" else 0, 2)
        known, columns = closed, bar_columns(m[closed])
        if "peer_bars" in entry.inputs:
            own, known, peer = pairs(m, closed, part[0], seen.peers)
            columns = bar_columns(m[own]) | {"peer": peer}
        used, theirs = _of_bars(on_bars()[name], params, columns, least)
        last = np.searchsorted(known[used], closed, side="right")  # bars that count by then
        return part[closed], np.concatenate([[np.nan], theirs])[last]
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


def pairs(
    m: np.ndarray, closed: np.ndarray, begin: int, peers: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Find the bars of a stretch that both instruments have, whichever came first.

    Args:
        m: MARKET at each moment of the stretch; closed: the moments at which a bar did.
        begin: moment of `seen` with which the stretch begins; peers: PEER_BAR.
    Returns:
        The moment of the own bar and the one from which both are known, int64[n] in the stretch,
        and the peer's close, float64[n].
    """
    mine = peers[peers["gap_count"] == m["gap_count"][0]]
    _, own, other = np.intersect1d(m["bar_ts"][closed], mine["ts"], return_indices=True)
    own, other = closed[own], mine[other]
    return own, np.maximum(own, other["moment"] - begin), other["close"]


def _of_bars(
    formula: Callable[[Any, dict[str, Any]], Any],
    params: dict[str, Any],
    columns: dict[str, np.ndarray],
    least: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Compute an independent version on the bars that count for it; of fewer than `least` none.

    Returns:
        Which bars count, those of which it can use what it reads, bool[n]; a value for each.
    """
    with np.errstate(all="ignore"):
        used = usable_bars(columns, _reads(formula, params, least))
        if used.sum() < least:
            return used, np.full(int(used.sum()), np.nan)
        chosen = {name: column[used] for name, column in columns.items()}
        return used, np.asarray(formula(chosen, params), float)


def usable_bars(columns: Mapping[str, np.ndarray], read: Collection[str]) -> np.ndarray:
    """Tell of which bars some columns can be used; one price counts for all four.

    >>> usable_bars({"volume": np.array([0.0, -1.0, np.nan, 1e101])}, {"volume"}).tolist()
    [True, False, False, False]
    """
    asked = {*read, *PRICES} if PRICES & set(read) else set(read)
    good = np.ones(len(next(iter(columns.values()))), bool)
    for name in asked & {*PRICES, "peer", "volume", "buy", "sell"}:
        least = -LARGEST if name in PRICES | {"peer"} else 0.0
        good &= (columns[name] >= least) & (columns[name] <= LARGEST)
    return good


class _Noted(dict[str, np.ndarray]):
    """Columns that note which of them are read."""

    def __init__(self, columns: Mapping[str, np.ndarray]) -> None:
        super().__init__(columns)
        self.read: set[str] = set()

    def __getitem__(self, name: str) -> np.ndarray:
        self.read.add(name)
        return super().__getitem__(name)


def _reads(
    formula: Callable[[Any, dict[str, Any]], Any], params: dict[str, Any], count: int
) -> set[str]:
    """Return the columns that an independent version on bars reads, seen on made-up bars."""
    made = bar_columns(np.ones(count, MARKET)) | {"peer": np.ones(count)}
    made["interval_ns"] = np.full(count, 60 * NS_PER_S)
    made["ts_event"] = SOME_DAY + np.arange(count) * 60 * NS_PER_S
    noted = _Noted(made)
    formula(noted, params)
    return noted.read


def bar_columns(m: np.ndarray) -> dict[str, np.ndarray]:
    """Return the columns of closed bars, as references/bars.py names them."""
    names = ("open", "high", "low", "close", "volume")
    return {
        "ts_event": m["bar_ts"],
        "interval_ns": m["bar_interval_ns"],
        **{name: m[f"bar_{name}"] for name in names},
        "buy": m["bar_buy_volume"],
        "sell": m["bar_sell_volume"],
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
