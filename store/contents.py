"""Count what a tape holds, by instrument and kind."""

import datetime
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from engine.instruments import Instrument
from engine.rows import ASSUMED, Kind
from engine.tape import Tape
from store.merge import time_key

ASSUMED_QUOTES = "quotes from bars"


@dataclass
class KindCount:
    """Rows of one kind and their span."""

    name: str
    rows: int = 0
    first_ns: int = 0
    last_ns: int = 0

    @property
    def first(self) -> str:
        """Time of the first row, UTC."""
        return _utc(self.first_ns)

    @property
    def last(self) -> str:
        """Time of the last row, UTC."""
        return _utc(self.last_ns)


@dataclass
class InstrumentContents:
    """What the tape holds of one instrument."""

    instrument: Instrument
    kinds: list[KindCount] = field(default_factory=list)


def contents(tape: Tape) -> list[InstrumentContents]:
    """Count a tape's rows, reading it once."""
    found = [InstrumentContents(one) for one in tape.instruments]
    counts: list[dict[str, KindCount]] = [{} for _ in found]
    for segment in tape.segments:
        for _, rows in segment.strides():
            for number, name, keys in _parts(rows):
                count = counts[number].setdefault(name, KindCount(name, first_ns=int(keys[0])))
                count.rows += len(keys)
                count.last_ns = int(keys[-1])
    for one, kinds in zip(found, counts, strict=True):
        one.kinds = sorted(kinds.values(), key=lambda count: count.name)
    return found


def _parts(rows: np.ndarray) -> Iterator[tuple[int, str, np.ndarray]]:
    """Yield (instrument, name of the kind, times) of the rows of a stride."""
    keys = time_key(rows)
    made = (rows["kind"] == Kind.QUOTE) & (rows["flags"] & ASSUMED != 0)
    code = (rows["instrument"].astype(np.int64) << 16) | (rows["kind"].astype(np.int64) << 1) | made
    for value in np.unique(code).tolist():
        name = Kind((value >> 1) & 0xFF).name.lower()
        yield value >> 16, ASSUMED_QUOTES if value & 1 else name, keys[code == value]


def _utc(ns: int) -> str:
    """Write ns since the epoch to the second."""
    return datetime.datetime.fromtimestamp(ns // 10**9, datetime.UTC).strftime("%Y-%m-%d %H:%M:%S")
