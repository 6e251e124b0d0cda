"""Converting and reading take the same memory however long the data is."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.store.files import START

MEASURE = """
import sys, threading, time
from pathlib import Path
from engine.tape import Tape
from store.source import open_tape
from tests.store.files import ASSUMED

peak = 0
def watch():
    global peak
    while True:
        for line in open("/proc/self/status"):
            if line.startswith("RssAnon"):
                peak = max(peak, int(line.split()[1]))
        time.sleep(0.02)
threading.Thread(target=watch, daemon=True).start()
paths = [Path(one) for one in sys.argv[2:]]
tape = Tape.open(open_tape(paths, assumed=ASSUMED, cache_dir=Path(sys.argv[1])))
tape.verify()
time.sleep(0.05)
print(tape.info.rows, peak)
"""


def recorded(path: Path, groups: int) -> Path:
    """Write trades in row groups of 200,000."""
    rows = 200_000
    path.parent.mkdir(parents=True, exist_ok=True)
    writer = None
    for group in range(groups):
        stamps = START + (np.arange(rows) + group * rows) * 1_000_000
        table = pa.table(
            {
                "recv_ns": stamps + 5_000_000,
                "event_ns": stamps,
                "trade_id": np.arange(rows) + group * rows,
                "price": np.round(100.0 + np.sin(np.arange(rows)), 2),
                "size": np.full(rows, 0.5),
            }
        )
        writer = writer or pq.ParquetWriter(path, table.schema)
        writer.write_table(table)
    assert writer is not None
    writer.close()
    return path


@pytest.mark.slow
def test_anonymous_memory_does_not_grow_with_the_rows(tmp_path: Path) -> None:
    peaks = []
    for groups in (2, 25):
        folder = tmp_path / str(groups)
        files = [recorded(folder / "trades" / f"x_{name}USD.parquet", groups) for name in "AB"]
        done = subprocess.run(
            [sys.executable, "-c", MEASURE, str(folder / "cache"), *map(str, files)],
            capture_output=True, text=True, check=True, env={**os.environ, "OMP_NUM_THREADS": "1"},
        )  # fmt: skip
        rows, peak = map(int, done.stdout.split())
        assert rows == 2 * groups * 200_000
        peaks.append(peak)
    assert peaks[1] < peaks[0] + 40_000, f"{peaks} KiB"
