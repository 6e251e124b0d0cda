"""Files that follow one another are read one at a time, and give what a merge of all gives."""

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from engine.rows import ROW, Kind
from store.chain import one_after_other
from store.feeds import Learnt
from store.merge import merge
from tests.store.files import MINUTE, START, parquet

ROOT = Path(__file__).resolve().parents[2]


@dataclass
class File:
    """Rows of one file, as a feed has them."""

    rows: np.ndarray
    learnt: Learnt = field(default_factory=Learnt)

    def __post_init__(self) -> None:
        self.learnt.add(self.rows)

    def batches(self) -> Iterator[np.ndarray]:
        for start in range(0, len(self.rows), 3):
            yield self.rows[start : start + 3]


def file(number: int, stamps: list[int]) -> File:
    rows = np.zeros(len(stamps), ROW)
    rows["kind"] = Kind.TRADE
    rows["ts_recv"] = np.sort(np.array(stamps, np.int64)) + 1
    rows["i2"] = number * 1000 + np.arange(len(stamps))
    return File(rows)


@given(st.lists(st.lists(st.integers(0, 60), max_size=8), min_size=1, max_size=8))
def test_the_rows_are_those_of_a_merge(stamps: list[list[int]]) -> None:
    files = [file(number, one) for number, one in enumerate(stamps)]
    files.sort(key=lambda one: one.learnt.first_key)
    opened: list[File] = []

    def rows_of(one: File) -> Iterator[np.ndarray]:
        opened.append(one)
        return one.batches()

    merged = b"".join(rows.tobytes() for rows in merge([one.batches() for one in files]))
    assert b"".join(rows.tobytes() for rows in one_after_other(files, rows_of)) == merged
    assert opened == [one for one in files if one.learnt.rows]


CONVERT = """
import resource, sys
from pathlib import Path
from tests.store.files import tape_of
resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
tape = tape_of(Path(sys.argv[1]), Path(sys.argv[1]) / "data")
print(tape.info.rows, tape.info.dropped, sorted(tape.instruments[0].has))
"""


def test_more_parts_than_files_may_be_open_are_converted(tmp_path: Path) -> None:
    for part in range(120):
        stamps = [START + (part * 10 + step) * MINUTE for step in range(10)]
        values = {"open": 1.5, "high": 2.0, "low": 1.0, "close": 1.5, "volume": 3.0}
        bars = {name: [value] * 10 for name, value in values.items()}
        folder = tmp_path / "data" / "x" / "AUSD"
        parquet(folder / "bars" / f"part-{part:03d}.parquet", ts_event=stamps, **bars)
        ids = list(range(part * 10, part * 10 + 10))
        trades = {"price": [1.5] * 10, "size": [1.0] * 10, "side": [1] * 10, "trade_id": ids}
        parquet(folder / "trades" / f"part-{part:03d}.parquet", ts_event=stamps, **trades)
    command = [sys.executable, "-c", CONVERT, str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "4800 {} ['bars', 'trade_sides', 'trades']\n"
