"""Convert source files into one tape: learn from all of them, then merge them by time."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from config.settings import AssumedMarket
from engine.errors import DataError
from engine.instruments import Instrument, split_symbol
from engine.row_arrays import take_rows
from engine.rows import ASSUMED, Kind
from engine.tape_info import SourceFile, TapeInfo
from engine.tape_writer import TapeWriter
from store.bars import lay_spread
from store.captures import CaptureFeed, first_stamp
from store.chain import one_after_other
from store.clock import Latencies, offsets
from store.depth import synced
from store.feeds import BarFeed, Registry, Source, TableFeed, open_feed
from store.merge import merge
from store.repeats import without_repeats

Progress = Callable[[str, int, int], None]  # what is done, how much of it, out of how much
SEGMENT_ROWS = 1 << 20


@dataclass(frozen=True)
class Options:
    """What a person can say about a conversion."""

    assumed: AssumedMarket
    symbols: tuple[str, ...] = ()  # canonical; empty means all
    tick: str | None = None  # of every instrument; None infers it
    lot: str | None = None
    min_notional: str | None = None
    clock_offset: str = "auto"  # auto, none, or milliseconds


@dataclass
class Conversion:
    """The work on one set of files."""

    sources: Sequence[Source]
    options: Options
    known: dict[tuple[str, str], Instrument]  # instruments described in a data folder
    scratch: Path
    progress: Progress
    registry: Registry = field(init=False)
    dropped: Counter[str] = field(default_factory=Counter)
    notes: list[str] = field(default_factory=list)
    feeds: list[TableFeed | BarFeed | CaptureFeed] = field(default_factory=list)
    _received_everywhere: bool = False

    def __post_init__(self) -> None:
        """Start with no instrument known."""
        self.registry = Registry(frozenset(self.options.symbols))

    def run(self, folder: Path, hashes: Sequence[SourceFile]) -> TapeInfo:
        """Write the tape.

        Raises:
            DataError: a file cannot be used, or nothing is left.
        """
        self._learn()
        order = sorted(range(len(self.registry.names)), key=self.registry.names.__getitem__)
        by_receive = self._received_everywhere = self._by_receive()
        shifts = self._offsets()
        instruments = [self._instrument(number, shifts) for number in order]
        made = [
            one.symbol
            for one in instruments
            if "bars" in one.has and not {"quotes", "bar_quotes"} & set(one.has)
        ]
        if made:
            self.notes.append(
                f"quotes of {', '.join(made)} are made from bars: spread "
                f"{self.options.assumed.bar_spread_bps:g} bps, size "
                f"{self.options.assumed.quote_size_notional:g} in quote currency"
            )
        finish = _Finish(instruments, self.options.assumed)
        places = np.zeros(len(order), np.uint16)
        places[order] = np.arange(len(order))
        streams = self._streams(_Timing(shifts, by_receive, places))
        total = sum(feed.learnt.rows for feed in self.feeds)
        with TapeWriter(folder, instruments, segment_rows=SEGMENT_ROWS) as writer:
            for rows in merge(streams):
                writer.append(finish(rows))
                self.progress("writing the tape", min(writer.rows, total), total)
            if writer.rows == 0:
                self._refuse([])
            return writer.close(sources=hashes, dropped=self.dropped, notes=self.notes)

    def _learn(self) -> None:
        """Open and read every file once."""
        self.feeds = [open_feed(one) for one in self.sources if one.kind != "wire"]
        self.feeds += self._captures()
        total = sum(one.path.stat().st_size for one in self.sources)
        done = 0
        for feed in self.feeds:
            known = self.known.get((feed.source.venue, feed.source.symbol))
            if isinstance(feed, BarFeed) and known is not None:
                feed.interval_ns = known.bar_interval_ns
            size = sum(path.stat().st_size for path in feed.paths)
            feed.on_share = partial(self._read, done, size, total)
            feed.learn(self.registry, self.dropped)
            done += size
            self.progress("reading", min(done, total), total)
            if feed.learnt.rows == 0 and not isinstance(feed, CaptureFeed):
                self.notes.append(f"{feed.source.path.name}: no row of it is used")
            elif feed.learnt.backward:
                how = "sorted" if feed.learnt.disordered else "kept in the order of the file"
                self.notes.append(
                    f"{feed.source.path.name}: {_rows(feed.learnt.backward)} back in time, {how}"
                )
        found = {symbol for _, symbol in self.registry.names}
        missing = [symbol for symbol in self.options.symbols if symbol not in found]
        if missing or not found:
            self._refuse(missing)

    def _read(self, done: int, size: int, total: int, share: float) -> None:
        """Report the reading of one file."""
        self.progress("reading", min(done + int(size * share), total), total)

    def _refuse(self, missing: Sequence[str]) -> NoReturn:
        """Say which instruments were not found, and which there are."""
        if missing:
            there = {symbol for _, symbol in self.registry.names} | self.registry.passed_over
            known = f"; there is {', '.join(sorted(there)[:20])}" if there else ""
            more = f" and {len(self.sources) - 1} more" if len(self.sources) > 1 else ""
            where = f"{self.sources[0].path}{more}"
            raise DataError(f"{where}: no data of {', '.join(missing)}{known}")
        reasons = ", ".join(f"{count} {reason}" for reason, count in self.dropped.items())
        raise DataError(f"{self.sources[0].path}: no usable row ({reasons or 'it is empty'})")

    def _captures(self) -> list[CaptureFeed]:
        """Chain the captures of one venue and symbol in order of time."""
        groups: dict[tuple[str, str], list[Source]] = {}
        for one in self.sources:
            if one.kind == "wire":
                groups.setdefault((one.venue, one.symbol), []).append(one)
        return [CaptureFeed(_in_order(group), self.scratch) for _, group in sorted(groups.items())]

    def _by_receive(self) -> bool:
        """Decide whether rows are merged by receive time: only if all market data has it."""
        market = [feed for feed in self.feeds if not isinstance(feed, BarFeed) and feed.learnt.rows]
        with_recv = [feed for feed in market if feed.learnt.received == feed.learnt.rows]
        if len(with_recv) == len(market):
            return True
        if any(feed.learnt.received for feed in market):
            self.notes.append("some rows have no receive time: all are merged by event time")
        return False

    def _offsets(self) -> dict[str, int]:
        """Find the clock offset of each venue."""
        by_venue: dict[str, Latencies] = {}
        for feed in self.feeds:
            if not isinstance(feed, BarFeed):
                by_venue.setdefault(feed.source.venue, Latencies()).merge(feed.learnt.latencies)
        found = offsets(by_venue, self.options.clock_offset)
        for venue, shift in sorted(found.items()):
            if shift:
                self.notes.append(
                    f"{venue}: receive times corrected by {shift / 1e6:+.0f} ms (clock offset)"
                )
        return found

    def _instrument(self, number: int, shifts: dict[str, int]) -> Instrument:
        """Describe an instrument: as its folder says, as the user says, or as inferred."""
        venue, symbol = self.registry.names[number]
        grid, has = self.registry.grids[number], self.registry.has[number]
        known = self.known.get((venue, symbol))
        lot, sized = grid.lot()
        found = {"tick": grid.tick(), "lot": lot, "min_notional": grid.min_notional()}
        inferred = list(found)
        for name in found:
            given = getattr(self.options, name)
            if given is not None:
                found[name] = given
                inferred.remove(name)
            elif known is not None:
                found[name] = getattr(known, name)
                if name not in known.inferred:
                    inferred.remove(name)
        if not sized and "lot" in inferred:
            self.notes.append(f"{venue}:{symbol}: no sizes in the data, lot {found['lot']} assumed")
        _, base, quote = split_symbol(symbol)
        shift = shifts.get(venue, 0) or (known.clock_offset_ns if known else 0)
        return Instrument(
            venue=venue,
            symbol=symbol,
            base=known.base if known else base,
            quote=known.quote if known else quote,
            has=tuple(sorted(has)),
            bar_interval_ns=self.registry.intervals[number],
            inferred=tuple(inferred),
            clock_offset_ns=shift,
            **found,
        )

    def _streams(self, timing: "_Timing") -> list[Iterator[np.ndarray]]:
        """Return the streams to merge: per instrument and kind, repeats removed, books in sync."""
        streams: list[Iterator[np.ndarray]] = []
        lanes: dict[tuple[str, str, str], list[TableFeed]] = {}
        bars: list[BarFeed] = []
        for feed in sorted(self.feeds, key=lambda one: one.learnt.first_key):
            if isinstance(feed, BarFeed):
                bars.append(feed)
            elif isinstance(feed, CaptureFeed):
                streams.append(timing.apply(feed.batches(), feed.source.venue))
            else:
                key = (feed.source.venue, feed.source.symbol, feed.kind)
                lanes.setdefault(key, []).append(feed)
        for (venue, symbol, kind), feeds in sorted(lanes.items()):
            opened = partial(_rows_in_time, timing, venue)
            known = self._received_everywhere or not any(one.learnt.received for one in feeds)
            merged = _merged(feeds, opened, apart=not symbol or not known)
            rule = feeds[0].rule
            if kind == "depth" and rule is not None:
                merged = synced(merged, rule, self.dropped)
            elif kind == "trades" and len(feeds) > 1:
                merged = without_repeats(merged, self.dropped)
            streams.append(merged)
        if bars:
            quoted = {k for k, has in enumerate(self.registry.has) if "quotes" in has}
            quoted = {int(timing.places[k]) for k in quoted}
            series: dict[tuple[str, str], list[BarFeed]] = {}
            for feed in bars:
                series.setdefault((feed.source.venue, feed.source.symbol), []).append(feed)
            both = []
            for at in (BarFeed.closes, BarFeed.opens):
                opened = partial(_bars_in_place, timing, at)
                both.append(
                    [
                        _merged(feeds, opened, apart=not symbol)
                        for (_, symbol), feeds in series.items()
                    ]
                )
            closes = without_repeats(merge(both[0]), self.dropped)
            opens = without_repeats(merge(both[1]), Counter())
            streams += [_without_assumed(closes, quoted), _without_assumed(opens, quoted)]
        return streams


class _Finish:
    """The last step of every row: price ticks, assumed spreads."""

    def __init__(self, instruments: list[Instrument], assumed: AssumedMarket) -> None:
        self._ticks = np.array([one.tick_size for one in instruments])
        self._lots = np.array([one.lot_size for one in instruments])
        self._half_spread = assumed.bar_spread_bps / 2e4
        self._size_notional = assumed.quote_size_notional

    def __call__(self, rows: np.ndarray) -> np.ndarray:
        places = rows["instrument"]
        depth = rows["kind"] == Kind.DEPTH
        if depth.any():
            ticks = np.rint(rows["f0"] / self._ticks[places]).astype(np.int64)
            rows["i2"] = np.where(depth, ticks, rows["i2"])
        lay_spread(
            rows,
            tick=self._ticks[places],
            lot=self._lots[places],
            half_spread=self._half_spread,
            size_notional=self._size_notional,
        )
        return rows


def _rows(count: int) -> str:
    """Write a number of rows that go."""
    return f"{count:,} rows go" if count != 1 else "one row goes"


def _in_order(captures: list[Source]) -> list[Source]:
    """Order captures by their first line."""
    if len(captures) == 1:
        return captures
    return sorted(captures, key=lambda one: first_stamp(one.path))


@dataclass
class _Timing:
    """What is done to the rows of every file before they are merged."""

    shifts: dict[str, int]  # venue -> ns added to its receive times
    by_receive: bool
    places: np.ndarray  # number in the registry -> index on the tape

    def place(self, batches: Iterator[np.ndarray]) -> Iterator[np.ndarray]:
        """Give rows their instrument's index on the tape."""
        for rows in batches:
            rows["instrument"] = self.places[rows["instrument"]]
            yield rows

    def apply(self, batches: Iterator[np.ndarray], venue: str) -> Iterator[np.ndarray]:
        """Place rows and correct their receive times; merged by event time, they go without."""
        shift = self.shifts.get(venue, 0)
        for rows in self.place(batches):
            recv = rows["ts_recv"]
            recv = np.where(recv > 0, recv + shift, 0)
            rows["ts_recv"] = recv if self.by_receive else np.where(rows["ts_event"] > 0, 0, recv)
            yield rows


def _merged(
    feeds: Sequence[Any], opened: Callable[[Any], Iterator[np.ndarray]], *, apart: bool
) -> Iterator[np.ndarray]:
    """Merge the files of one kind.

    Those that may hold several instruments, or whose times are not those learnt, stay `apart`.
    """
    if not apart:
        return one_after_other(feeds, opened)
    parts = [opened(one) for one in feeds]
    return merge(parts) if len(parts) > 1 else parts[0]


def _rows_in_time(timing: _Timing, venue: str, feed: TableFeed) -> Iterator[np.ndarray]:
    return timing.apply(feed.batches(), venue)


def _bars_in_place(
    timing: _Timing, at: Callable[[BarFeed], Iterator[np.ndarray]], feed: BarFeed
) -> Iterator[np.ndarray]:
    return timing.place(at(feed))


def _without_assumed(batches: Iterator[np.ndarray], quoted: set[int]) -> Iterator[np.ndarray]:
    """Leave out the quotes made from bars of instruments that have quotes of their own."""
    members = np.array(sorted(quoted), dtype=np.int64)
    for rows in batches:
        if len(members):
            assumed = (rows["kind"] == Kind.QUOTE) & (rows["flags"] & ASSUMED != 0)
            rows = take_rows(rows, ~(assumed & np.isin(rows["instrument"], members)))
        if len(rows):
            yield rows
