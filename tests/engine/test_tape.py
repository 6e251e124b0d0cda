"""The tape: what is written is read; torn tails are cut, damage in the middle is refused."""

import errno
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine import tape_open
from engine.errors import DataError, RunError
from engine.instruments import Instrument
from engine.rows import LAST, ROW, ROW_BYTES, Kind
from engine.tape import Tape, TapeWriter
from engine.tape_info import BLOCK_ROWS, HEADER_BYTES, read_info

BTC = Instrument(
    venue="binance_spot", symbol="BTCUSDT", base="BTC", quote="USDT", tick="0.01", lot="0.001"
)


def packets(lengths: list[int], seed: int = 0) -> np.ndarray:
    """Return ROW[sum(lengths)]: depth packets with payloads that differ everywhere."""
    draw = np.random.default_rng(seed)
    rows = np.zeros(sum(lengths), ROW)
    rows["kind"] = Kind.DEPTH
    for name in ("i0", "i1", "i2", "i3", "i4", "ts_recv"):
        rows[name] = draw.integers(1, 1 << 62, len(rows))
    rows["flags"][np.cumsum(np.array(lengths, dtype=int)) - 1] = LAST
    return rows


def write(folder: Path, rows: np.ndarray, **options: int) -> None:
    """Write a closed tape."""
    with TapeWriter(folder, [BTC], **options) as writer:
        writer.append(rows)
        writer.close(dropped={"crossed": 2})


def read(tape: Tape) -> np.ndarray:
    """Return all rows with `check` cleared, as they were given to the writer."""
    rows = np.frombuffer(bytearray(b"".join(one.rows.tobytes() for one in tape.segments)), ROW)
    rows["check"] = 0
    return rows


@given(
    lengths=st.lists(st.integers(1, 6), max_size=40),
    calls=st.integers(1, 5),
    segment_rows=st.integers(6, 50),
)
@settings(max_examples=60, deadline=None)
def test_rows_come_back_in_whole_packets(lengths: list[int], calls: int, segment_rows: int) -> None:
    rows = packets(lengths)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "t"
        with TapeWriter(path, [BTC], segment_rows=segment_rows) as writer:
            ends = [0, *np.cumsum(np.array(lengths, dtype=int))]
            for k in range(calls):
                lo, hi = len(lengths) * k // calls, len(lengths) * (k + 1) // calls
                writer.append(rows[ends[lo] : ends[hi]])
            info = writer.close()
        tape = Tape.open(path)
        tape.verify()
        assert info.rows == len(rows) == tape.info.rows
        assert read(tape).tobytes() == rows.tobytes()
        for segment in tape.segments:
            assert len(segment.rows) == 0 or segment.rows["flags"][-1] & LAST
            assert segment.address % 64 == 0


def test_content_identity_is_of_the_rows_not_of_their_grouping(tmp_path: Path) -> None:
    rows = packets([3] * 50_000)
    write(tmp_path / "a", rows)
    write(tmp_path / "b", rows, segment_rows=70_001)
    a, b = read_info(tmp_path / "a"), read_info(tmp_path / "b")
    assert a.sha256 == b.sha256
    assert len(a.block_sha256) == -(-len(rows) // BLOCK_ROWS)
    rows["i4"][100_000] += 1
    write(tmp_path / "c", rows)
    c = read_info(tmp_path / "c")
    differ = [x != y for x, y in zip(a.block_sha256, c.block_sha256, strict=True)]
    assert differ == [False, True, False]
    assert c.sha256 != a.sha256


def test_files_are_private_and_rows_are_read_only(tmp_path: Path) -> None:
    write(tmp_path / "t", packets([2, 2]))
    for path in (tmp_path / "t").iterdir():
        assert path.stat().st_mode & 0o777 == 0o600
    rows = Tape.open(tmp_path / "t").segments[0].rows
    with pytest.raises(ValueError, match="read-only"):
        rows["side"][0] = 1


@given(cut=st.integers(0, 40 * ROW_BYTES), zeros=st.booleans(), closed=st.booleans())
@settings(max_examples=120, deadline=None)
def test_a_torn_tail_is_cut_to_whole_packets(cut: int, zeros: bool, closed: bool) -> None:
    """Lose everything from a random byte on, as a missing or as a zeroed tail of the file."""
    lengths = [1, 4, 2, 5, 3, 1, 1, 7, 2, 4, 6, 4]
    rows = packets(lengths)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "t"
        with TapeWriter(path, [BTC], segment_rows=64) as writer:
            writer.append(rows)
            if closed:
                writer.close()
        first = path / "000000.tape"
        content = first.read_bytes()[: HEADER_BYTES + len(rows) * ROW_BYTES]
        kept = content[: HEADER_BYTES + cut]
        first.write_bytes(kept + bytes(len(content) - len(kept)) if zeros else kept)
        ends = np.cumsum(lengths)
        whole = int(max(ends[ends * ROW_BYTES <= cut], default=0))
        if closed and cut == len(content) - HEADER_BYTES:
            assert Tape.open(path, repair=True).repaired == ""
            return
        with pytest.raises(DataError, match=r"torn|never closed"):
            Tape.open(path)
        tape = Tape.open(path, repair=True)
        assert f"{whole} rows are whole" in tape.repaired
        tape.verify()
        assert read(tape).tobytes() == rows[:whole].tobytes()
        again = Tape.open(path)
        assert again.repaired == ""
        assert again.info.notes == (tape.repaired,)


@given(bit=st.integers(0, 200 * ROW_BYTES * 8 - 1), closed=st.booleans())
@settings(max_examples=80, deadline=None)
def test_a_flipped_bit_in_the_middle_is_refused_by_its_row(bit: int, closed: bool) -> None:
    rows = packets([4] * 60)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "t"
        with TapeWriter(path, [BTC], segment_rows=1000) as writer:
            writer.append(rows)
            if closed:
                writer.close()
        content = bytearray((path / "000000.tape").read_bytes())
        content[HEADER_BYTES + bit // 8] ^= 1 << (bit % 8)
        (path / "000000.tape").write_bytes(content)
        with pytest.raises(DataError, match=f"row {bit // 8 // ROW_BYTES} is damaged"):
            Tape.open(path, repair=True).verify()


def test_a_row_moved_to_another_place_is_seen(tmp_path: Path) -> None:
    write(tmp_path / "t", packets([1] * 3000))
    path = tmp_path / "t" / "000000.tape"
    content = bytearray(path.read_bytes())
    a, b = (slice(HEADER_BYTES + k * 64, HEADER_BYTES + k * 64 + 64) for k in (7, 8))
    content[a], content[b] = content[b], content[a]
    path.write_bytes(content)
    with pytest.raises(DataError, match="row 7 is damaged"):
        Tape.open(tmp_path / "t").verify()


def test_a_missing_last_segment_is_a_torn_tail_and_a_missing_middle_is_not(tmp_path: Path) -> None:
    rows = packets([2] * 300)
    for name in ("tail", "middle"):
        write(tmp_path / name, rows, segment_rows=200)
    (tmp_path / "tail" / "000002.tape").unlink()
    with pytest.raises(DataError, match="400 of 600 rows"):
        Tape.open(tmp_path / "tail")
    tape = Tape.open(tmp_path / "tail", repair=True)
    assert "200 torn rows" in tape.repaired
    assert read(tape).tobytes() == rows[:400].tobytes()
    (tmp_path / "middle" / "000001.tape").unlink()
    with pytest.raises(DataError, match=r"000001.tape is missing"):
        Tape.open(tmp_path / "middle", repair=True)


WRITER = """
import sys
from pathlib import Path
from engine.tape import TapeWriter
from tests.engine.test_tape import BTC, packets
writer = TapeWriter(Path(sys.argv[1]), [BTC], segment_rows=5000)
rows = packets([3, 5, 1, 7] * 40)
print("go", flush=True)
while True:
    writer.append(rows)
"""


@pytest.mark.parametrize("delay_ms", [1, 15, 60])
def test_kill_9_of_the_writer_leaves_a_tape_that_repairs(tmp_path: Path, delay_ms: int) -> None:
    path = tmp_path / "t"
    command = [sys.executable, "-c", WRITER, str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout is not None
        try:
            assert writer.stdout.readline() == "go\n"
            with pytest.raises(DataError, match="being written by another process"):
                Tape.open(path, repair=True)
            signal.sigtimedwait([], delay_ms / 1000)
        finally:
            os.kill(writer.pid, signal.SIGKILL)
    tape = Tape.open(path, repair=True)
    tape.verify()
    expected = packets([3, 5, 1, 7] * 40).tobytes()
    found = read(tape).tobytes()
    assert found == (expected * (len(found) // len(expected) + 1))[: len(found)]


def test_no_space_is_said_when_the_segment_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(descriptor: int, offset: int, size: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with TapeWriter(tmp_path / "t", [BTC], segment_rows=100) as writer:
        writer.append(packets([1] * 80))
        monkeypatch.setattr(tape_open.os, "posix_fallocate", full)
        with pytest.raises(RunError, match="no space left"):
            writer.append(packets([1] * 30))
    assert not (tmp_path / "t" / "000001.tape").exists()
    tape = Tape.open(tmp_path / "t", repair=True)
    assert tape.info.rows == 100


def anonymous_and_file_kib() -> tuple[int, int]:
    """Return this process's resident anonymous and file pages in KiB."""
    text = Path("/proc/self/status").read_text()
    fields = dict(line.split(":", 1) for line in text.splitlines() if line.startswith("Rss"))
    return int(fields["RssAnon"].split()[0]), int(fields["RssFile"].split()[0])


def test_release_gives_the_pages_back(tmp_path: Path) -> None:
    rows = packets([1] * (1 << 19))  # 32 MiB
    write(tmp_path / "t", rows)
    tape = Tape.open(tmp_path / "t")
    segment = tape.segments[0]
    before = anonymous_and_file_kib()[1]
    total = int(segment.rows["i0"].astype(np.float64).sum() > 0)
    held = anonymous_and_file_kib()[1]
    assert held - before > 24_000 * total
    tape.release(1 << 19)
    assert anonymous_and_file_kib()[1] - before < 2_000
    assert read(tape).tobytes() == rows.tobytes()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"version": 2}, "tape version 2, this program reads version 1"),
        ({"wakes": "sometimes"}, "wakes is 'sometimes', allowed: implied, recorded"),
        ({"colour": 1}, "unknown field `colour`"),
        ({"rows": "many"}, "Expected `int`"),
    ],
)
def test_a_wrong_description_is_refused(tmp_path: Path, change: dict, message: str) -> None:
    write(tmp_path / "t", packets([1]))
    path = tmp_path / "t" / "tape.json"
    path.write_bytes(msgspec.json.encode(msgspec.json.decode(path.read_bytes()) | change))
    with pytest.raises(DataError, match=message):
        Tape.open(tmp_path / "t")


def test_changed_instruments_are_seen(tmp_path: Path) -> None:
    write(tmp_path / "t", packets([1]))
    path = tmp_path / "t" / "tape.json"
    path.write_text(path.read_text().replace("0.01", "0.02"))
    with pytest.raises(DataError, match=r"tape.json was changed"):
        Tape.open(tmp_path / "t").verify()


def test_foreign_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="not a tape"):
        Tape.open(tmp_path)
    write(tmp_path / "t", packets([1]))
    (tmp_path / "t" / "000000.tape").write_bytes(b"x" * 5000)
    with pytest.raises(DataError, match="not a tape segment"):
        Tape.open(tmp_path / "t", repair=True)
    (tmp_path / "t" / "000000.tape").write_bytes(b"")
    with pytest.raises(DataError, match="cut off inside its header"):
        Tape.open(tmp_path / "t")
