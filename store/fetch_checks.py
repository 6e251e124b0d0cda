"""What a fetched series holds when it is all there: rows, what was dropped, and where holes are."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from engine.rows import NS_PER_S
from store.fetched import cover_of

MAX_NAMED = 10
CONSECUTIVE = 0.99  # share of steps of 1 from which on ids are held for consecutive


@dataclass
class Series:
    """What was found."""

    rows: int = 0
    holes: int = 0
    missing: int = 0  # rows that the holes lack
    named: list[str] = field(default_factory=list)  # the first of them
    dropped: Counter[str] = field(default_factory=Counter)
    first_ns: int = 0
    last_ns: int = 0


def checked_series(folder: Path, interval_ns: int) -> Series:
    """Read the times of all parts of a kind, or the ids of its trades.

    Args:
        folder: of the kind.
        interval_ns: of its candles; 0 for trades, whose holes are steps between consecutive ids.
    """
    found = Series()
    single = steps = 0
    last_time, last_key = 0, -1
    for path in sorted(folder.glob("*.parquet"), key=lambda one: one.name.lstrip(".")):
        found.dropped.update(cover_of(path).dropped)
        for times, keys in _columns(path, interval_ns):
            found.first_ns = found.first_ns or int(times[0])
            found.last_ns = int(times[-1])
            found.rows += len(times)
            if keys is None:
                continue
            before = np.r_[last_key if last_key >= 0 else keys[0] - 1, keys[:-1]]
            began = np.r_[last_time or times[0], times[:-1]]
            skipped = keys - before - 1
            steps += len(keys)
            single += int(np.count_nonzero(skipped == 0))
            for at in np.flatnonzero(skipped > 0).tolist():
                found.holes += 1
                found.missing += int(skipped[at])
                if len(found.named) < MAX_NAMED:
                    span = f"{when(int(began[at]))} to {when(int(times[at]))}"
                    found.named.append(f"{span} ({int(skipped[at]):,} missing)")
            last_time, last_key = int(times[-1]), int(keys[-1])
    if not interval_ns and single < steps * CONSECUTIVE:
        found.holes, found.missing, found.named = 0, 0, []  # these ids do not count trades
    return found


def _columns(path: Path, interval_ns: int) -> Iterator[tuple[np.ndarray, np.ndarray | None]]:
    """Yield (times, numbers that should follow one another) in batches that hold rows."""
    with pq.ParquetFile(path) as file:
        ids = "trade_id" in file.schema_arrow.names
        columns = ["ts_event", *(["trade_id"] if ids else [])]
        for batch in file.iter_batches(columns=columns, use_threads=False):
            times = batch.column("ts_event").to_numpy()
            if len(times) == 0:
                continue
            if interval_ns:
                yield times, times // interval_ns
            else:
                yield times, batch.column("trade_id").to_numpy() if ids else None


def when(stamp_ns: int) -> str:
    """Write a time to the second, UTC.

    >>> when(1_700_000_040_000_000_000)
    '2023-11-14 22:14:00'
    """
    return datetime.fromtimestamp(stamp_ns // NS_PER_S, UTC).strftime("%Y-%m-%d %H:%M:%S")
