"""The checks that every feature set must pass; `lab.py features check` runs them on any data.

Each check computes the same values in another way or from other rows, and names the feature, the
row and both values where they differ. Nothing is allowed for but the last places of float32 against
the independent versions, which are computed in float64.
"""

from dataclasses import dataclass, field
from functools import partial
from typing import NamedTuple

import numpy as np

from app.feature_bias import Difference, Table, differences, look_ahead
from app.feature_paths import Rows, Seen, Stretch, online, trained, wants_bars, with_reconnects
from app.feature_references import (
    PRICES,
    Compared,
    bar_columns,
    changed,
    compare,
    has_reference,
    judging,
    pairs,
    usable_bars,
    words,
)
from app.kernel import KernelModule, load_kernel
from engine.market import MARKET
from engine.rows import LAST, Kind
from engine.session_table import NS_PER_MINUTE, sessions
from features.feed_module import load_feed
from features.registry import Resolved, absent_features, resolve
from features.spec import FeatureSpec

CHECKS = ("parity", "reconnect", "truncation", "warm-up", "mask", "allocation", "reference")
RECONNECTS = 3
CUTS = 4
UNITS_NS = {"seconds": 1_000_000_000, "milliseconds": 1_000_000}
ALL_OF_BAR = PRICES | {"volume"}
SINGLE = 2_000  # rows that are handed over one by one


class Kernels(NamedTuple):
    """A set and the two kernels that compute it."""

    spec: FeatureSpec
    trading: KernelModule
    feed: object


@dataclass
class Report:
    """What the checks found for one set on one instrument.

    Attributes:
        rows: feature rows that were compared; warm: those that were whole.
        absent: features whose inputs the data lacks; not compared with independent versions.
        unread: features that never became warm here.
        compared: features that had values beside an independent version; without: that have none.
        findings: check -> differences; a check that did not run has no entry.
    """

    rows: int = 0
    warm: int = 0
    features: int = 0
    absent: tuple[str, ...] = ()
    unread: tuple[str, ...] = ()
    compared: int = 0
    without: tuple[str, ...] = ()
    findings: dict[str, list[Difference]] = field(default_factory=dict)

    @property
    def clean(self) -> bool:
        """Whether nothing differed."""
        return not any(self.findings.values())


def load(spec: FeatureSpec) -> Kernels:
    """Compile, or load from disk, both kernels of a set."""
    return Kernels(spec, load_kernel([spec]), load_feed(spec))


def check(kernels: Kernels, stretch: Stretch, has: set[str], draw: np.random.Generator) -> Report:
    """Run every check of one set over one stretch of rows.

    Args:
        kernels: of the set.
        stretch: the rows; they begin where the touch is known.
        has: what the data holds, as `absent_features` asks for it.
        draw: chooses groups, cuts and the places of reconnects.
    """
    spec = kernels.spec
    report = Report(features=len(spec), absent=tuple(absent_features(spec, has)))
    first = trained(stretch, spec, kernels.trading)
    seen = online(stretch, spec, kernels.feed)  # type: ignore[arg-type]
    report.rows, report.warm = len(first.ts), int(first.valid.sum())
    report.unread = _unread(seen, spec, report.absent)
    broken = _reconnected(stretch, draw)
    after = online(broken, spec, kernels.feed)  # type: ignore[arg-type]
    found = report.findings
    found["parity"] = _parity(kernels, stretch, (first, seen), draw)
    found["reconnect"] = _parity(
        kernels, broken, (trained(broken, spec, kernels.trading), after), draw
    )
    compute = partial(compute_table, kernels.trading, spec, stretch)
    found["truncation"] = look_ahead(compute, stretch.rows, cuts=CUTS, draw=draw)
    entries = [e for e in resolve(spec) if e.name not in report.absent]
    found["warm-up"] = [
        one for part in (seen, after) for e in entries for one in _warm_up(part, spec, e)
    ]
    found["mask"] = [one for part in (seen, after) for one in _mask(part, spec)]
    found["allocation"] = _allocation(kernels, stretch)
    _references(report, (seen, after), spec, entries)
    return report


def compute_table(
    kernel: KernelModule, spec: FeatureSpec, stretch: Stretch, rows: np.ndarray
) -> Table:
    """Compute the features of some rows of a stretch by the kernel that trades."""
    found = trained(stretch.with_rows(rows), spec, kernel)
    return Table(found.ts, found.row, found.x, spec.names)


def _unread(seen: Seen, spec: FeatureSpec, absent: tuple[str, ...]) -> tuple[str, ...]:
    ever = np.isfinite(seen.x).any(axis=0)
    return tuple(n for k, n in enumerate(spec.names) if not ever[k] and n not in absent)


def _reconnected(stretch: Stretch, draw: np.random.Generator) -> Stretch:
    """Lose the connection a few times, each time before a packet of the instrument itself."""
    rows = stretch.rows
    leads = (rows["kind"] == Kind.QUOTE) | (rows["kind"] == Kind.DEPTH)
    own = np.flatnonzero(leads & (rows["instrument"] == 0))
    own = own[(own > 0) & (rows["flags"][own - 1] & LAST != 0)]
    count = min(RECONNECTS, len(own))
    places = sorted(draw.choice(own, count, replace=False).tolist()) if count else []
    return stretch.with_rows(with_reconnects(rows, places))


def _parity(
    kernels: Kernels, stretch: Stretch, paths: tuple[Rows, Seen], draw: np.random.Generator
) -> list[Difference]:
    """Compare one call over all rows, calls over groups of any size, and the rows one by one."""
    whole, seen = paths
    names = kernels.spec.names
    count = len(stretch.rows)
    groups = np.sort(draw.integers(0, count + 1, max(1, count // 300))).tolist()
    heads = [*range(1, min(SINGLE, count)), *(head for head in groups if head >= SINGLE)]
    parts = trained(stretch, kernels.spec, kernels.trading, heads)
    a = Table(whole.ts, whole.row, whole.x, names)
    b = Table(parts.ts, parts.row, parts.x, names)
    longer, shorter = (a, b) if len(a.ts) >= len(b.ts) else (b, a)
    found = differences(longer, shorter, len(longer.ts), "in other groups")
    at = _places(whole, seen, stretch.bars)
    there = at >= 0
    a = Table(whole.ts[there], whole.row[there], whole.x[there], names)
    b = Table(seen.ts[at[there]], seen.row[at[there]], seen.x[at[there]], names)
    found += differences(a, b, len(a.ts), "row by row")
    lost = np.flatnonzero(~there)
    if len(lost):
        k = int(lost[0])
        ts, value = int(whole.ts[k]), float(whole.x[k, 0])
        found.append(
            Difference(feature=names[0], check="row by row", row=k, ts=ts, whole=value, other=None)
        )
    return found


def _places(whole: Rows, seen: Seen, bars: bool) -> np.ndarray:
    """Return where each row of `whole` stands in `seen`, -1 where it does not.

    Bars are known by the time of their close; of several at one time none is looked for. Packets
    are known by their last row, whose own moment stands before those of bars that close after it.
    """
    key, wanted = (seen.ts, whole.ts) if bars else (seen.row, whole.row)
    values, first, counts = np.unique(key, return_index=True, return_counts=True)
    at = np.searchsorted(values, wanted)
    at[at == len(values)] = 0
    if not len(values):
        return np.full(len(wanted), -1)
    found = np.where(values[at] == wanted, first[at], -1)
    return found[counts[at] == 1] if bars and (counts > 1).any() else found


def _warm_up(seen: Seen, spec: FeatureSpec, entry: Resolved) -> list[Difference]:
    """Check that a feature says nothing before its warm-up, and always something after it."""
    column = spec.names.index(entry.name)
    m, values = seen.market, seen.x[:, column]
    gaps = m["gap_count"]
    bounds = [0, *(np.flatnonzero(np.diff(gaps)) + 1).tolist(), len(gaps)]
    found = []
    for begin, end in zip(bounds[:-1], bounds[1:], strict=True):
        before = m[begin - 1] if begin else np.zeros(1, MARKET)[0]
        early, late = _warm_bounds(m[begin:end], (before, begin, seen.peers), entry)
        part = np.isfinite(values[begin:end])
        asked = judging(m[begin:end], entry)
        early &= asked
        late &= asked
        late &= (m["levels"][begin:end] > 0) if "levels" in entry.inputs else True
        for wrong, text in ((part & early, "is not warm yet"), (~part & late, "is warm by now")):
            if wrong.any():
                k = begin + int(np.argmax(wrong))
                value = float(values[k])
                found.append(
                    Difference(
                        feature=entry.name,
                        check=f"where it {text}",
                        row=k,
                        ts=int(seen.ts[k]),
                        whole=value,
                        other=None,
                    )
                )
                break
    return found


def _warm_bounds(
    m: np.ndarray, around: tuple[np.void, int, np.ndarray], entry: Resolved
) -> tuple[np.ndarray, np.ndarray]:
    """Return where a feature must be silent and where it must speak, bool[n] each.

    Bars of which a number cannot be used count for the first alone: a feature may not read it.
    `around`: the market before the stretch, its first moment, and the peer's bars.
    """
    n, of = entry.warmup
    before, begin, peers = around
    counts = {"bars": "bar_count", "quotes": "quote_count", "trades": "trade_count"}
    counts["depth"] = "depth_count"
    if of in counts:
        events = np.flatnonzero(changed(m, before, counts[of]))
        known = pairs(m, events, begin, peers)[1] if "peer_bars" in entry.inputs else events
        good = usable_bars(bar_columns(m), ALL_OF_BAR) if of == "bars" else np.ones(len(m), bool)
        sure = events[good[events]]
        if "peer_bars" in entry.inputs:
            sure = pairs(m, sure, begin, peers)[1]
        at = np.arange(len(m))
        late = np.searchsorted(sure, at, "right") >= n
        if "exchange" in entry.params:  # beyond the years of the table nothing is known
            opens = sessions(words(entry)["exchange"])[[0, -1], 0] * NS_PER_MINUTE
            late &= (m["bar_ts"] >= opens[0]) & (m["bar_ts"] < opens[1])
        return np.searchsorted(known, at, "right") < n, late
    if of not in UNITS_NS:  # what the market record does not count is left to the reference
        return np.zeros(len(m), bool), np.zeros(len(m), bool)
    length = n * UNITS_NS[of]
    quotes, trades = (
        np.cumsum(changed(m, before, name)) > 0 for name in ("quote_count", "trade_count")
    )
    books = np.cumsum(changed(m, before, "depth_count")) > 0
    some, every = quotes | trades | books, quotes
    every = every & trades if "trades" in entry.inputs else every
    every = every & books if "levels" in entry.inputs else every
    opened, ready = (_first_ts(m, known) for known in (some, every))
    return m["ts"] - opened < length, every & (m["ts"] - ready >= length)


def _first_ts(m: np.ndarray, known: np.ndarray) -> int:
    return int(m["ts"][int(np.argmax(known))]) if known.any() else int(m["ts"][-1]) + 1


def _mask(seen: Seen, spec: FeatureSpec) -> list[Difference]:
    """Check that a row is called whole exactly when every value of it is finite."""
    finite = np.isfinite(seen.x)
    wrong = np.flatnonzero(seen.valid != finite.all(axis=1))
    if not len(wrong):
        return []
    k = int(wrong[0])
    column = int(np.argmin(finite[k]))
    return [
        Difference(
            feature=spec.names[column],
            check="while the mask says otherwise",
            row=k,
            ts=int(seen.ts[k]),
            whole=float(seen.x[k, column]),
            other=None,
        )
    ]


def _allocation(kernels: Kernels, stretch: Stretch) -> list[Difference]:
    """Check that the kernel takes no memory while it runs."""
    from numba.core.runtime import _nrt_python, rtsys

    _nrt_python.memsys_enable_stats()
    before = rtsys.get_allocation_stats()
    trained(stretch, kernels.spec, kernels.trading)
    after = rtsys.get_allocation_stats()
    if after == before:
        return []
    taken = float(after.alloc - before.alloc)
    names = kernels.spec.names
    return [
        Difference(
            feature=", ".join(names)[:60],
            check="allocations are allowed",
            row=0,
            ts=0,
            whole=taken,
            other=0.0,
        )
    ]


def _references(
    report: Report, parts: tuple[Seen, ...], spec: FeatureSpec, entries: list[Resolved]
) -> None:
    found = report.findings["reference"] = []
    known = [entry for entry in entries if has_reference(entry)]
    report.without = tuple(entry.name for entry in entries if entry not in known)
    for entry in known:
        results = [compare(seen, spec.names.index(entry.name), entry) for seen in parts]
        report.compared += any(np.isfinite(result.theirs).any() for result in results)
        for seen, result in zip(parts, results, strict=True):
            wrong = np.flatnonzero(result.differs)
            if len(wrong):
                found.append(_by_reference(seen, result, entry.name, int(wrong[0])))
                break


def _by_reference(seen: Seen, result: Compared, name: str, k: int) -> Difference:
    at = int(result.at[k])
    return Difference(
        feature=name,
        check="by its independent version",
        row=at,
        ts=int(seen.ts[at]),
        whole=float(result.ours[k]),
        other=float(result.theirs[k]),
    )


__all__ = ["CHECKS", "Kernels", "Report", "check", "compute_table", "load", "wants_bars"]
