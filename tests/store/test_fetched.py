"""Fetched parts: the same bytes however the pages were cut; what is insane, doubled or missing."""

import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.errors import DataError
from store.fetch_checks import checked_series
from store.fetched import HOUR_NS, PartWriter, checked, missing_parts

START = 1_700_002_800_000_000_000  # a full hour
MINUTE = 60_000_000_000
PRINT = np.dtype(
    [("ts_event", "i8"), ("price", "f8"), ("size", "f8"), ("side", "i1"), ("trade_id", "i8")]
)
NAMES = ("open", "high", "low", "close", "volume")
CANDLE = np.dtype([("ts_event", "i8"), *((name, "f8") for name in NAMES)])


def prints(count: int, seed: int) -> np.ndarray:
    draw = np.random.default_rng(seed)
    rows = np.zeros(count, PRINT)
    rows["ts_event"] = START + np.sort(draw.integers(0, 4 * HOUR_NS, count))
    rows["price"], rows["size"], rows["side"] = draw.uniform(1, 2, count), 1.0, 1
    rows["trade_id"] = np.arange(count)
    return rows


def candles(minutes: list[int]) -> np.ndarray:
    rows = np.zeros(len(minutes), CANDLE)
    rows["ts_event"] = START + np.array(minutes) * MINUTE
    for name in NAMES:
        rows[name] = 1.5
    return rows


def written(folder: Path, rows: np.ndarray, cuts: list[int], stop_after: int) -> None:
    """Hand rows over in pages; after some pages start again as after a crash."""
    since, until = START + 7, START + 4 * HOUR_NS - 5
    rows = rows[(rows["ts_event"] >= since) & (rows["ts_event"] < until)]
    for pages in (stop_after, 1 << 30):
        parts = missing_parts(folder, HOUR_NS, since, until)
        if not parts:
            return
        left = rows[rows["ts_event"] >= parts[0].since_ns]
        ends = sorted({min(cut, len(left)) for cut in cuts} | {len(left)})
        writer, start = PartWriter(folder, parts), 0
        for number, end in enumerate(ends):
            if number == pages:
                break
            last = end == len(left)
            reached = until if last else int(left["ts_event"][end - 1]) if end else since
            writer.take(left[start:end], reached)
            start = end


@given(
    seed=st.integers(0, 1000),
    cuts=st.lists(st.integers(0, 200), max_size=12),
    stop_after=st.integers(0, 8),
)
@settings(max_examples=25)
def test_pages_and_crashes_do_not_change_a_byte(
    seed: int, cuts: list[int], stop_after: int
) -> None:
    rows = prints(200, seed)
    with tempfile.TemporaryDirectory() as name:
        one, other = Path(name) / "one", Path(name) / "other"
        written(one, rows, cuts, stop_after)
        written(other, rows, [], 1 << 30)
        assert {path.name: path.read_bytes() for path in one.iterdir()} == {
            path.name: path.read_bytes() for path in other.iterdir()
        }
        found = checked_series(one, 0)
        inside = (rows["ts_event"] >= START + 7) & (rows["ts_event"] < START + 4 * HOUR_NS - 5)
        assert (found.rows, found.holes) == (np.count_nonzero(inside), 0)


def test_insane_and_doubled_rows_are_dropped_and_counted() -> None:
    rows = candles([3, 1, 2, 2, 5, 6, 7])
    rows["close"][4], rows["low"][5], rows["volume"][6] = np.nan, 1.6, -1
    kept, dropped = checked(rows)
    assert ((kept["ts_event"] - START) // MINUTE).tolist() == [1, 2, 3]
    assert dropped == {"insane": 3, "doubled": 1}
    trades = prints(6, 1)
    trades["trade_id"] = [4, 4, -1, -1, 5, 6]
    trades["price"][5] = 0.0
    kept, dropped = checked(trades)
    assert sorted(kept["trade_id"].tolist()) == [-1, -1, 4, 5]
    assert dropped == {"insane": 1, "doubled": 1}


def test_holes_are_counted_and_named(tmp_path: Path) -> None:
    until = START + 120 * MINUTE
    parts = missing_parts(tmp_path, HOUR_NS, START, until)
    minutes = [one for one in range(120) if one not in (7, 8, 60)]
    PartWriter(tmp_path, parts).take(candles(minutes), until)
    found = checked_series(tmp_path, MINUTE)
    assert (found.rows, found.holes, found.missing) == (117, 2, 3)
    assert found.named == [
        "2023-11-14 23:06:00 to 2023-11-14 23:09:00 (2 missing)",
        "2023-11-14 23:59:00 to 2023-11-15 00:01:00 (1 missing)",
    ]


def test_an_hour_without_rows_is_remembered_and_foreign_files_are_refused(tmp_path: Path) -> None:
    until = START + 3 * HOUR_NS
    parts = missing_parts(tmp_path, HOUR_NS, START, until)
    PartWriter(tmp_path, parts).take(candles([1, 130]), until)
    assert sorted(one.name[:1] for one in tmp_path.iterdir()) == [".", "p", "p"]
    assert missing_parts(tmp_path, HOUR_NS, START, until) == []
    more = missing_parts(tmp_path, HOUR_NS, START - 5 * MINUTE, until + 5 * MINUTE)
    assert [(one.since_ns - START) // MINUTE for one in more] == [-5, 180]
    (tmp_path / f"{parts[0].name}.parquet").write_bytes(b"mine")
    with pytest.raises(DataError, match="was not written by `data fetch`"):
        missing_parts(tmp_path, HOUR_NS, START, until)
