"""Read one source file as batches of tape rows, again and again, and learn what it holds."""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from engine.errors import DataError
from engine.instruments import split_symbol
from engine.row_arrays import join_rows, take_rows
from engine.rows import OFF_MARKET, ROW, Kind
from store import bars as bar_rows
from store.clock import Latencies
from store.columns import checked_match, kind_of
from store.depth import rule_of, whole_packets
from store.encode import Encoder, depth_rows, gap_rows, quote_rows, trade_rows
from store.grid import Grid
from store.tables import Table

MAX_SORTED_ROWS = 20_000_000  # a file out of order is sorted in memory up to this size
LATE_NS = 60_000_000_000  # no recorder writes a row this late
_ENCODERS: dict[str, Encoder] = {
    "trades": trade_rows,
    "quotes": quote_rows,
    "depth": depth_rows,
    "gaps": gap_rows,
}


@dataclass(frozen=True)
class Source:
    """A file and what is known of it before it is read."""

    path: Path
    venue: str
    symbol: str  # canonical, or "" where the rows say it
    kind: str  # trades, quotes, depth, bars, gaps, wire; "" where the columns say it
    folder: Path | None = None  # the folder of its instrument, if it lies in a data folder


class Registry:
    """Numbers for (venue, symbol), in order of discovery; symbols not asked for get none."""

    def __init__(self, wanted: frozenset[str] = frozenset()) -> None:
        """Take the canonical symbols that are wanted; empty means all."""
        self.wanted = wanted
        self.names: list[tuple[str, str]] = []
        self.grids: list[Grid] = []
        self.has: list[set[str]] = []
        self.intervals: list[int] = []
        self.passed_over: set[str] = set()  # symbols that are there and not wanted
        self._index: dict[tuple[str, str], int] = {}

    def index(self, venue: str, symbol: str) -> int:
        """Return the number of an instrument, -1 if it is not wanted."""
        if self.wanted and symbol not in self.wanted:
            self.passed_over.add(symbol)
            return -1
        key = (venue, symbol)
        if key not in self._index:
            if len(self.names) >= 1 << 16:
                raise DataError("more than 65,536 instruments")
            self._index[key] = len(self.names)
            self.names.append(key)
            self.grids.append(Grid())
            self.has.append(set())
            self.intervals.append(0)
        return self._index[key]


@dataclass
class Learnt:
    """What the first pass over a file found."""

    rows: int = 0
    first_key: int = 0
    received: int = 0  # rows with a receive time
    backward: int = 0  # rows whose time is before the row before
    latencies: Latencies = field(default_factory=Latencies)
    latest: int = 0
    highest: int = 0
    deepest: int = 0  # the furthest that a row lies before one that precedes it, ns

    def add(self, rows: np.ndarray) -> None:
        """Take in a batch."""
        if len(rows) == 0:
            return
        recv, event = rows["ts_recv"], rows["ts_event"]
        keys = np.where(recv > 0, recv, event)
        if self.rows == 0:
            self.first_key = int(keys[0])
        self.first_key = min(self.first_key, int(keys.min()))
        self.backward += int(np.count_nonzero(np.diff(keys) < 0)) + int(keys[0] < self.latest)
        self.latest = int(keys[-1])
        before = np.maximum(np.maximum.accumulate(keys), self.highest)
        self.highest = int(before[-1])
        self.deepest = max(self.deepest, int((before - keys).max()))
        self.rows += len(rows)
        self.received += int(np.count_nonzero(recv > 0))
        self.latencies.add(recv, event)

    @property
    def disordered(self) -> bool:
        """Say whether the file is not in order of time, beyond what a recorder does."""
        return self.deepest > LATE_NS or self.backward > max(10, self.rows // 1000)


class Feed(Protocol):
    """A source that gives tape rows."""

    source: Source
    learnt: Learnt
    on_share: Callable[[float], None]

    def learn(self, registry: Registry, dropped: Counter[str]) -> None:
        """Read the file once: instruments, grids, times. Counts what is insane."""

    def batches(self) -> Iterator[np.ndarray]:
        """Yield its rows; `instrument` is the number in the registry."""


class TableFeed:
    """Trades, quotes, depth or gaps of one Parquet or CSV file."""

    def __init__(self, source: Source, table: Table, kind: str) -> None:
        """Match the columns.

        Raises:
            DataError: columns are missing.
        """
        self.source = source
        self.kind = kind
        self.learnt = Learnt()
        self.fields = checked_match(kind, table.names, source.path)
        if source.symbol:
            self.fields.pop("symbol", None)
        self.rule = rule_of(self.fields)
        self.on_share: Callable[[float], None] = (
            _unseen  # told how much of the file the first pass has read
        )
        self._table = table
        self._registry: Registry | None = None

    @property
    def paths(self) -> list[Path]:
        """Return the file it reads."""
        return [self.source.path]

    def learn(self, registry: Registry, dropped: Counter[str]) -> None:
        """Read the file once."""
        self._registry = registry
        for rows in self._encoded(dropped):
            self.learnt.add(rows)
            learn_market(rows, registry)
            self.on_share(self._table.share)

    def batches(self) -> Iterator[np.ndarray]:
        """Yield its rows, in order of time, depth as whole packets."""
        rows = self._encoded(Counter())
        if self.learnt.disordered:
            rows = iter([_sorted(rows, self.learnt.rows, self.source.path)])
        if self.kind == "depth":
            rows = whole_packets(rows, marked="flags" in self.fields)
        return rows

    def _encoded(self, dropped: Counter[str]) -> Iterator[np.ndarray]:
        """Yield rows as the file has them."""
        encode = _ENCODERS[self.kind]
        registry = self._registry
        assert registry is not None
        path = self.source.path
        for columns in self._table.batches(self.fields):
            columns, numbers = with_numbers(columns, self.source, registry)
            if len(numbers):
                with one_line(path):
                    rows = encode(columns, path, dropped)
                rows["instrument"] = numbers[rows["check"]]
                rows["check"] = 0
                yield rows


class BarFeed:
    """Bars of one file: the rows at their closes, or those at their opens."""

    def __init__(self, source: Source, table: Table) -> None:
        """Match the columns.

        Raises:
            DataError: columns are missing.
        """
        self.source = source
        self.learnt = Learnt()
        self.fields = checked_match("bars", table.names, source.path)
        if source.symbol:
            self.fields.pop("symbol", None)
        self.interval_ns = 0
        self.on_share: Callable[[float], None] = (
            _unseen  # told how much of the file the first pass has read
        )
        self._table = table
        self._registry: Registry | None = None

    @property
    def paths(self) -> list[Path]:
        """Return the file it reads."""
        return [self.source.path]

    def learn(self, registry: Registry, dropped: Counter[str]) -> None:
        """Read the file once; find the interval."""
        self._registry = registry
        steps: Counter[int] = Counter()
        quoted = set(bar_rows.QUOTE_FIELDS) <= self.fields.keys()
        for bars in self._bars(dropped):
            steps += bar_rows.steps_of(bars)
            self.on_share(self._table.share)
            rows = np.zeros(len(bars), ROW)
            rows["ts_recv"] = bars["ts"]
            self.learnt.add(rows)
            for number in np.unique(bars["symbol"]).tolist():
                some = bars[bars["symbol"] == number]
                grid = registry.grids[number]
                for name in bar_rows.QUOTE_FIELDS if quoted else ("open", "high", "low", "close"):
                    grid.price.add(np.nan_to_num(some[name]))
                grid.volume.add(np.nan_to_num(some["volume"]))
                registry.has[number] |= {"bars"} | ({"bar_quotes"} if quoted else set())
        if not self.interval_ns:
            self.interval_ns = _interval(steps, self.source.path)
        for number in set(self._numbers):
            registry.intervals[number] = registry.intervals[number] or self.interval_ns

    def closes(self) -> Iterator[np.ndarray]:
        """Yield a quote and a bar at each close."""
        for bars in self._ordered():
            yield bar_rows.close_rows(bars, self.interval_ns, bars["symbol"].astype(np.uint16))

    def opens(self) -> Iterator[np.ndarray]:
        """Yield a quote at each open."""
        for bars in self._ordered():
            yield bar_rows.open_rows(bars, bars["symbol"].astype(np.uint16))

    def batches(self) -> Iterator[np.ndarray]:
        """Yield the rows at the closes."""
        return self.closes()

    @property
    def _numbers(self) -> list[int]:
        """Instruments of this file."""
        assert self._registry is not None
        if self.source.symbol:
            return [self._registry.index(self.source.venue, self.source.symbol)]
        return [
            k for k, (venue, _) in enumerate(self._registry.names) if venue == self.source.venue
        ]

    def _ordered(self) -> Iterator[np.ndarray]:
        """Yield BAR batches in order of time."""
        batches = self._bars(Counter())
        if not self.learnt.disordered:
            return batches
        _check_sortable(self.learnt.rows, self.source.path)
        bars = np.concatenate(list(batches))
        return iter([bars[np.argsort(bars["ts"], kind="stable")]])

    def _bars(self, dropped: Counter[str]) -> Iterator[np.ndarray]:
        """Yield BAR batches as the file has them."""
        registry = self._registry
        assert registry is not None
        for columns in self._table.batches(self.fields):
            columns, numbers = with_numbers(columns, self.source, registry)
            if len(numbers):
                with one_line(self.source.path):
                    bars = bar_rows.read_bars(columns, numbers, self.source.path, dropped)
                # Files that list one symbol after the other are in order within a batch only so.
                yield bars if self.source.symbol else bars[np.argsort(bars["ts"], kind="stable")]


def open_feed(source: Source) -> TableFeed | BarFeed:
    """Open a table of any kind.

    Raises:
        DataError: unreadable, columns missing, or of another kind than its folder says.
    """
    table = Table(source.path)
    kind = source.kind or kind_of(table.names)
    if kind is None:
        raise DataError(
            f"{source.path}: neither trades (price, size), quotes (bid, ask), depth (side, price, "
            f"size, flags or ids) nor bars (open, high, low, close); found {', '.join(table.names)}"
        )
    return BarFeed(source, table) if kind == "bars" else TableFeed(source, table, kind)


def _unseen(share: float) -> None:
    """Report nothing."""


@contextmanager
def one_line(path: Path) -> Iterator[None]:
    """Turn what a column of an impossible type raises into one line."""
    try:
        yield
    except (pa.ArrowException, OverflowError, TypeError, ValueError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise DataError(f"{path}: a column cannot be read ({reason})") from None


def learn_market(rows: np.ndarray, registry: Registry) -> None:
    """Take the grid and the kinds of data from market rows."""
    numbers = np.unique(rows["instrument"]).tolist() if len(rows) else []
    for number in numbers:
        some = rows if len(numbers) == 1 else take_rows(rows, rows["instrument"] == number)
        grid, has = registry.grids[number], registry.has[number]
        kinds = np.unique(some["kind"]).tolist()
        for kind in kinds:
            part = some if len(kinds) == 1 else take_rows(some, some["kind"] == kind)
            if kind == Kind.TRADE:
                has |= {"trades"} | ({"trade_sides"} if (part["side"] != 0).any() else set())
                grid.price.add(part["f0"])
                grid.size.add(part["f1"])
                market = part[part["flags"] & OFF_MARKET == 0]
                grid.add_trades(market["f0"], market["f1"])
            elif kind == Kind.QUOTE:
                sized = bool((~np.isnan(part["f2"])).any())
                has |= {"quotes"} | ({"quote_sizes"} if sized else set())
                for name in ("f0", "f1"):
                    grid.price.add(part[name])
                for name in ("f2", "f3") if sized else ():
                    grid.size.add(np.nan_to_num(part[name]))
            elif kind == Kind.DEPTH:
                has |= {"depth"}
                grid.price.add(part["f0"])
                grid.level.add(part["f1"])


def with_numbers(
    columns: dict[str, pa.Array], source: Source, registry: Registry
) -> tuple[dict[str, pa.Array], np.ndarray]:
    """Return (columns, int64[n] instruments), without the rows of symbols that are not wanted."""
    column = columns.pop("symbol", None)
    if column is None:
        length = len(next(iter(columns.values())))
        number = registry.index(source.venue, source.symbol)
        return columns, np.full(length if number >= 0 else 0, number, np.int64)
    coded = pc.dictionary_encode(pc.fill_null(column.cast(pa.string()), ""))
    known = [
        registry.index(source.venue, split_symbol(text)[0]) if text else -1
        for text in coded.dictionary.to_pylist()
    ]
    numbers = np.array([*known, -1], dtype=np.int64)[coded.indices.to_numpy()]
    keep = numbers >= 0
    if not keep.all():
        mask = pa.array(keep)
        columns = {name: one.filter(mask) for name, one in columns.items()}
    return columns, numbers[keep]


def _sorted(batches: Iterator[np.ndarray], count: int, path: Path) -> np.ndarray:
    """Return all rows of a file in order of time, stably."""
    _check_sortable(count, path)
    rows = join_rows(list(batches))
    keys = np.where(rows["ts_recv"] > 0, rows["ts_recv"], rows["ts_event"])
    return take_rows(rows, np.argsort(keys, kind="stable"))


def _check_sortable(count: int, path: Path) -> None:
    """Refuse to sort a file that is too large for memory."""
    if count > MAX_SORTED_ROWS:
        raise DataError(
            f"{path}: {count} rows out of order of time; files above {MAX_SORTED_ROWS} rows must "
            "be in order"
        )


def _interval(steps: Counter[int], path: Path) -> int:
    """Return the interval of a file's bars."""
    if steps:
        return bar_rows.checked_interval(bar_rows.interval_of(steps), path)
    named = {"1s": 1, "1m": 60, "5m": 300, "15m": 900, "1h": 3600, "4h": 14400, "1d": 86400}
    for word in path.name.replace("-", "_").replace(".", "_").split("_"):
        if word in named:
            return named[word] * 1_000_000_000
    raise DataError(f"{path}: the interval of a single bar is not known; name it, as in _1m_")
