"""`lab.py data record`: a tape, growing or closed, becomes a data folder that replays the same."""

import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.errors import DataError
from engine.instruments import Instrument
from engine.live_tape import LiveTape
from engine.rows import HISTORY, LAST, OFF_MARKET, ROW, SNAPSHOT, SNAPSHOT_START, Kind
from engine.tape import Tape
from engine.tape_follow import TapeFollower
from store.record import Recording, claimed
from tests.store.files import rows_of, tape_of

ROOT = Path(__file__).resolve().parents[2]
T0 = 1_700_000_040_000_000_000
HAS = ("depth", "quotes", "quote_sizes", "trade_sides", "trades")
INSTRUMENTS = [
    Instrument(
        venue="binance_spot", symbol=f"{base}USDT", base=base, quote="USDT", tick="0.01",
        lot="0.001", has=HAS,
    )
    for base in ("BTC", "ETH")
]  # fmt: skip


def market(count: int, seed: int = 1) -> list[np.ndarray]:
    """Return packets as a live feed writes them: two instruments, all kinds, wakes between."""
    draw = np.random.default_rng(seed)
    packets, now, last_id = [], T0, [100, 100]
    for number in range(count):
        now += int(draw.integers(1, 50)) * 1_000_000
        which = int(draw.integers(0, 2))
        kind = (Kind.QUOTE, Kind.TRADE, Kind.DEPTH, Kind.WAKE)[int(draw.integers(0, 4))]
        rows = np.zeros(int(draw.integers(1, 5)) if kind == Kind.DEPTH else 1, ROW)
        rows["kind"], rows["instrument"] = kind, which
        rows["ts_recv"], rows["ts_event"] = now, now - 2_000_000
        price = np.round(100 + draw.integers(0, 50, len(rows)) / 100, 2)
        if kind == Kind.QUOTE:
            rows["f0"], rows["f1"], rows["f2"], rows["f3"] = price, price + 0.01, 1.5, 2.0
            rows["i4"] = number + 1
        elif kind == Kind.TRADE:
            rows["f0"], rows["f1"], rows["i2"] = price, 0.25, number + 1
            rows["side"] = 1 - 2 * (number % 2)
            rows["flags"] = (0, 0, HISTORY, OFF_MARKET)[number % 4]
        elif kind == Kind.DEPTH:
            first = last_id[which] == 100
            rows["flags"] = SNAPSHOT if first else 0
            rows["flags"][0] |= SNAPSHOT_START if first else 0
            rows["side"] = 1 - 2 * (np.arange(len(rows)) % 2)
            rows["f0"], rows["f1"] = price, 0.5
            rows["i2"] = np.rint(price * 100)
            rows["i4"], rows["i3"] = last_id[which] + 1, last_id[which] + 3
            last_id[which] += 3
        rows["flags"][-1] |= LAST
        if kind == Kind.WAKE:
            rows["instrument"] = 0
        packets.append(rows)
    return packets


def live(folder: Path, packets: list[np.ndarray]) -> LiveTape:
    tape = LiveTape(folder, INSTRUMENTS, segment_rows=512)
    for one in packets:
        assert tape.append(one)
        tape.cursor = tape.rows
    return tape


def recorded(tape: Path, out: Path, stop_row: int = 1 << 40, part_rows: int = 300) -> Recording:
    """Record up to a row, as a process does that then ends."""
    follower = TapeFollower(tape)
    with claimed(out):
        recording = Recording(out, tuple(INSTRUMENTS), part_rows)
        start = recording.next_row
        while follower.cursor < stop_row:
            at = follower.cursor
            rows = follower.read(min(97 if at >= start else start - at, stop_row - at))
            if len(rows) == 0:
                break
            if at == 0:
                recording.check_first(rows[:1])
            if at >= start:
                recording.add(rows)
        recording.flush(closed=False)
    return recording


def parts(out: Path) -> dict[str, bytes]:
    """Return the files of a recording."""
    found = [path for path in out.rglob("*.parquet") if not path.name.startswith(".")]
    return {str(path.relative_to(out)): path.read_bytes() for path in found}


FIELDS = ("ts_event", "ts_recv", "instrument", "side", "f0", "f1")
OF_KIND = {
    Kind.QUOTE: (*FIELDS, "f2", "f3", "i4"),
    Kind.TRADE: (*FIELDS, "i2"),
    Kind.DEPTH: (*FIELDS, "i2", "i3", "i4"),
}


def same_market(original: np.ndarray, again: np.ndarray) -> None:
    """Compare top of book, trades and depth row by row; history is left out."""
    original = original[original["flags"] & HISTORY == 0]
    for kind, names in OF_KIND.items():
        one, other = original[original["kind"] == kind], again[again["kind"] == kind]
        assert len(one) == len(other) > 0
        for name in names:
            assert one[name].tolist() == other[name].tolist(), (kind, name)
    trades = [rows[rows["kind"] == Kind.TRADE] for rows in (original, again)]
    assert (trades[0]["flags"] & OFF_MARKET).tolist() == (trades[1]["flags"] & OFF_MARKET).tolist()


@given(stops=st.lists(st.integers(1, 1500), max_size=4))
@settings(max_examples=12)
def test_a_recording_that_was_stopped_goes_on_to_the_same_bytes(stops: list[int]) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        live(folder / "tape", market(900)).close()
        for stop in stops:
            recorded(folder / "tape", folder / "cut", stop)
        recorded(folder / "tape", folder / "cut")
        whole = recorded(folder / "tape", folder / "whole")
        assert parts(folder / "cut") == parts(folder / "whole")
        assert len(whole.state.stops) > 2
        tape = Tape.open(folder / "tape")
        assert whole.state.rows == tape.info.rows
        same_market(rows_of(tape), rows_of(tape_of(folder, folder / "cut")))


def test_another_tape_or_foreign_data_is_refused(tmp_path: Path) -> None:
    live(tmp_path / "one", market(50)).close()
    live(tmp_path / "two", market(50, seed=2)).close()
    recorded(tmp_path / "one", tmp_path / "out")
    before = parts(tmp_path / "out")
    with pytest.raises(DataError, match="holds the recording of another tape"):
        recorded(tmp_path / "two", tmp_path / "out")
    assert parts(tmp_path / "out") == before
    (tmp_path / "mine" / "binance_spot" / "BTCUSDT").mkdir(parents=True)
    with pytest.raises(DataError, match="is there already"):
        recorded(tmp_path / "two", tmp_path / "mine")


def test_a_damaged_row_ends_the_recording_before_it(tmp_path: Path) -> None:
    live(tmp_path / "tape", market(50)).close()
    path = tmp_path / "tape" / "000000.tape"
    octets = bytearray(path.read_bytes())
    octets[4096 + 64 * 20 + 30] ^= 1
    path.write_bytes(octets)
    with pytest.raises(DataError, match="row 20 of the tape is damaged"):
        recorded(tmp_path / "tape", tmp_path / "out")


def command(*words: object) -> list[str]:
    return [sys.executable, "lab.py", "data", "record", *map(str, words)]


def lab(*words: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command(*words), cwd=ROOT, capture_output=True, text=True, timeout=120)


def test_a_growing_tape_is_followed_by_another_process_until_it_is_closed(tmp_path: Path) -> None:
    packets = market(1200)
    run, out = tmp_path / "run", tmp_path / "out"
    run.mkdir()
    tape = live(run / "tape", packets[:300])
    first = lab(run, "--out", out, "--duration", "0.1s")
    assert (first.returncode, first.stderr) == (0, "")
    assert "stopped by --duration" in first.stdout
    assert parts(out)
    line = command(run, "--out", out)
    with subprocess.Popen(line, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        try:
            for number, one in enumerate(packets[300:]):
                assert tape.append(one)
                if number % 100 == 0:
                    signal.sigtimedwait([], 0.1)
        finally:
            tape.close()
        said = process.communicate(timeout=60)[0]
    assert process.returncode == 0
    assert "the tape is closed and complete here" in said
    whole = Tape.open(run / "tape")
    assert f"{whole.info.rows:,} rows" in said
    same_market(rows_of(whole), rows_of(tape_of(tmp_path, out)))
    before = parts(out)
    assert lab(run, "--out", out).returncode == 0
    assert parts(out) == before


def test_ctrl_c_keeps_what_was_read_and_a_dead_writer_ends_the_following(tmp_path: Path) -> None:
    out = tmp_path / "out"
    tape = live(tmp_path / "tape", market(200))
    line = command(tmp_path / "tape", "--out", out)
    with subprocess.Popen(line, cwd=ROOT, stderr=subprocess.PIPE, text=True) as process:
        for _ in range(200):
            if (out / ".record.json").exists():
                break
            signal.sigtimedwait([], 0.05)
        signal.sigtimedwait([], 0.3)
        process.send_signal(signal.SIGINT)
        assert process.communicate(timeout=20)[1] == "lab.py: interrupted\n"
    assert process.returncode == 130
    assert parts(out)
    tape.abandon()
    done = lab(tmp_path / "tape", "--out", out)
    assert done.returncode == 0
    assert "its writer ended without closing the tape" in done.stdout


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((".", "--out", "x"), "neither a tape nor a run with one"),
        (("TAPE", "--out", "x", "--duration", "soon"), "--duration soon: write a number and"),
    ],
)
def test_wrong_use_is_one_line(tmp_path: Path, words: tuple[str, ...], message: str) -> None:
    live(tmp_path / "TAPE", market(5)).close()
    given = [str(tmp_path / word) if word in ("TAPE", "x") else word for word in words]
    done = lab(*given)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert message in done.stderr
    assert not (tmp_path / "x").exists()
