"""The live tape: written in place, read by others meanwhile, whole however its writer ends."""

import errno
import os
import signal
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine import tape_open
from engine.errors import DataError, RunError
from engine.live_tape import LiveTape
from engine.row_words import float_word, row_head
from engine.rows import LAST, ROW, ROW_BYTES, Kind
from engine.tape import Tape
from engine.tape_follow import TapeFollower
from engine.tape_hash import tape_hash
from engine.tape_info import BLOCK_ROWS
from engine.tape_segment import whole_rows
from tests.engine.test_tape import BTC, packets, read, write


def write_in_place(tape: LiveTape, rows: np.ndarray) -> bool:
    """Do what a decoder does: store into the open segment, then commit."""
    if not tape.reserve(len(rows)):
        return False
    memory = np.frombuffer(tape.memory, np.uint8)
    memory[tape.at * ROW_BYTES : (tape.at + len(rows)) * ROW_BYTES] = rows.view(np.uint8)
    return tape.commit(len(rows))


def cut(rows: np.ndarray, lengths: list[int]) -> list[np.ndarray]:
    """Return the packets of rows."""
    ends = [0, *np.cumsum(lengths)]
    return [rows[a:b] for a, b in zip(ends[:-1], ends[1:], strict=True)]


@given(lengths=st.lists(st.integers(1, 12), min_size=1, max_size=60), capacity=st.integers(16, 90))
@settings(max_examples=40)
def test_packets_stay_whole_over_rollovers_and_the_tape_equals_the_writers(
    lengths: list[int], capacity: int
) -> None:
    rows = packets(lengths)
    with tempfile.TemporaryDirectory() as folder:
        tape = LiveTape(Path(folder) / "t", [BTC], segment_rows=capacity)
        for number, one in enumerate(cut(rows, lengths)):
            assert write_in_place(tape, one) if number % 2 else tape.append(one)
        assert tape.rows == len(rows)
        info = tape.close()
        opened = Tape.open(Path(folder) / "t")
        opened.verify()
        assert read(opened).tobytes() == rows.tobytes()
        for segment in opened.segments:
            assert len(segment.rows) == 0 or segment.rows["flags"][-1] & LAST
        write(Path(folder) / "same", rows, wakes="recorded")
        same = Tape.open(Path(folder) / "same").info
        assert (info.sha256, info.block_sha256) == (same.sha256, same.block_sha256)


def test_single_rows_hold_what_was_given(tmp_path: Path) -> None:
    with_place = row_head(Kind.TRADE, 7, -1)
    tape = LiveTape(tmp_path / "t", [BTC] * 8)
    tape.push(with_place, 11, 22, (float_word(1.25), float_word(3.0), -5, 1 << 62, 9))
    tape.wake(33)
    tape.close()
    opened = Tape.open(tmp_path / "t")
    opened.verify()
    trade, wake = opened.segments[0].rows
    assert [int(trade[n]) for n in ("kind", "instrument", "side", "flags")] == [2, 7, -1, LAST]
    assert [float(trade["f0"]), float(trade["f1"])] == [1.25, 3.0]
    assert [int(trade[n]) for n in ("ts_event", "ts_recv", "i2", "i3", "i4")] == [
        11, 22, -5, 1 << 62, 9,
    ]  # fmt: skip
    assert (wake["kind"], wake["ts_recv"], wake["flags"]) == (Kind.WAKE, 33, LAST)


def test_windows_hold_every_row_once_and_forgotten_segments_go(tmp_path: Path) -> None:
    tape = LiveTape(tmp_path / "t", [BTC], segment_rows=64)
    rows = packets([3] * 60)
    seen, cursor, most = b"", 0, 0
    for number, one in enumerate(cut(rows, [3] * 60)):
        tape.append(one)
        if number % 25 == 24 or number == 59:
            windows = list(tape.windows(cursor))
            most = max(most, len(windows))
            for address, first_row, stop_row in windows:
                count = stop_row - max(cursor, first_row)
                start = address + (max(cursor, first_row) - first_row) * ROW_BYTES
                buffer = (np.ctypeslib.ctypes.c_char * (count * ROW_BYTES)).from_address(start)
                seen += bytes(buffer)
                cursor = stop_row
            assert cursor == tape.rows
            assert list(tape.windows(cursor)) == []
            tape.cursor = cursor
    assert most > 1
    found = np.frombuffer(bytearray(seen), ROW)
    assert whole_rows(found, 0).all()
    found["check"] = 0
    assert found.tobytes() == rows.tobytes()
    tape.close()


def test_hashes_before_a_row_are_those_of_the_closed_tape(tmp_path: Path) -> None:
    tape = LiveTape(tmp_path / "t", [BTC], segment_rows=50_000)
    rows = packets([5] * 40_000)
    found = {}
    for number, one in enumerate(cut(rows, [1000] * 200)):
        one["flags"][-1] |= LAST
        assert tape.append(one)
        tape.cursor = tape.rows
        if number % 30 == 0:
            found[tape.rows] = tape.tape_hash_at(tape.rows)
    info = tape.close()
    for row, value in found.items():
        assert value == tape_hash(info.block_sha256[: row // BLOCK_ROWS])
    Tape.open(tmp_path / "t").verify()


def full(descriptor: int, offset: int, size: int) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_full_disk_stops_market_data_only_and_room_brings_it_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        allocate = os.posix_fallocate
        made = []

        def one_only(descriptor: int, offset: int, size: int) -> None:
            made.append(size)
            if len(made) > 1:
                full(descriptor, offset, size)
            allocate(descriptor, offset, size)

        patch.setattr(tape_open.os, "posix_fallocate", one_only)
        said: list[str] = []
        tape = LiveTape(tmp_path / "t", [BTC], segment_rows=100, on_exhausted=said.append)
        taken = sum(write_in_place(tape, packets([2])) for _ in range(80))
        assert taken * 2 <= 75
        assert tape.exhausted
        assert len(said) == 1
        assert "no space left" in said[0]
        while tape.wake(1):
            assert tape.at <= 100
        assert tape.at == 88  # half of the reserved quarter is left for what must not be lost
        for _ in range(12):
            tape.push(row_head(Kind.ACK), 0, 1)
        with pytest.raises(RunError, match="tape is full"):
            tape.push(row_head(Kind.ACK), 0, 1)
    for _ in range(500):  # the helper asks again each second
        if not tape.exhausted:
            break
        signal.sigtimedwait([], 0.01)
    assert write_in_place(tape, packets([2]))
    assert not tape.exhausted
    tape.close()
    opened = Tape.open(tmp_path / "t")
    opened.verify()
    assert opened.info.rows == 102


def test_no_space_at_the_start_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tape_open.os, "posix_fallocate", full)
    with pytest.raises(RunError, match=r"cannot allocate .* MB for the tape \(no space left\)"):
        LiveTape(tmp_path / "t", [BTC])
    assert not (tmp_path / "t" / "000000.tape").exists()


def test_a_helper_that_dies_is_seen_as_no_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(self: tape_open.OpenSegment) -> None:
        raise OSError(errno.EIO, "Input/output error")

    said: list[str] = []
    tape = LiveTape(tmp_path / "t", [BTC], segment_rows=100, on_exhausted=said.append)
    assert tape._ready.wait(5)
    monkeypatch.setattr(tape_open.OpenSegment, "touch", broken)
    while not said and tape.rows < 1000:
        write_in_place(tape, packets([2]))
    assert "helper ended" in said[0]
    tape.close()
    Tape.open(tmp_path / "t").verify()


def test_close_leaves_no_thread_and_no_unused_segment(tmp_path: Path) -> None:
    tape = LiveTape(tmp_path / "t", [BTC], segment_rows=64)
    tape.wake(1)
    tape.close()
    assert [one.name for one in threading.enumerate()].count("tape-keeper") == 0
    assert sorted(path.name for path in (tmp_path / "t").iterdir()) == ["000000.tape", "tape.json"]
    for path in (tmp_path / "t").iterdir():
        assert path.stat().st_mode & 0o777 == 0o600


WRITER = """
import sys
from pathlib import Path
from engine.live_tape import LiveTape
from tests.engine.test_live_tape import BTC, cut, packets, write_in_place
tape = LiveTape(Path(sys.argv[1]), [BTC], segment_rows=3000)
parts = cut(packets([3, 5, 1, 7] * 40), [3, 5, 1, 7] * 40)
rounds = int(sys.argv[2])
print("go", flush=True)
for number in range(rounds * len(parts)):
    write_in_place(tape, parts[number % len(parts)])
    tape.cursor = tape.rows
tape.close()
"""
ROUND = packets([3, 5, 1, 7] * 40)


def start_writer(path: Path, rounds: int) -> subprocess.Popen:
    command = [sys.executable, "-c", WRITER, str(path), str(rounds)]
    writer = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert writer.stdout is not None
    assert writer.stdout.readline() == "go\n"
    return writer


@pytest.mark.parametrize("delay_ms", [1, 20, 70])
def test_kill_9_leaves_a_tape_that_repairs_to_whole_packets(tmp_path: Path, delay_ms: int) -> None:
    path = tmp_path / "t"
    with start_writer(path, 1 << 30) as writer:
        try:
            with pytest.raises(DataError, match="being written by another process"):
                Tape.open(path, repair=True)
            signal.sigtimedwait([], delay_ms / 1000)
        finally:
            os.kill(writer.pid, signal.SIGKILL)
    tape = Tape.open(path, repair=True)
    tape.verify()
    found = read(tape)
    expected = ROUND.tobytes()
    assert found.tobytes() == (expected * (len(found) // len(ROUND) + 1))[: found.nbytes]
    assert len(found) == 0 or found["flags"][-1] & LAST


def test_a_reader_in_another_process_sees_whole_rows_in_order(tmp_path: Path) -> None:
    rounds = 100
    with start_writer(tmp_path / "t", rounds) as writer:
        try:
            follower = TapeFollower(tmp_path / "t")
            total, idle = 0, 0
            while total < rounds * len(ROUND) and idle < 20_000:
                rows = follower.read(777)
                if len(rows) == 0:
                    idle += writer.poll() is not None
                    signal.sigtimedwait([], 0.001)
                    continue
                assert whole_rows(rows, total).all()
                assert rows["i0"][0] == ROUND["i0"][total % len(ROUND)]
                total += len(rows)
            assert total == rounds * len(ROUND) == follower.cursor
        finally:
            writer.wait(20)
    Tape.open(tmp_path / "t").verify()
