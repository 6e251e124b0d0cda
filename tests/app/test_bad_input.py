"""Bad input to run_live.py: one clear line, exit code 2, no traceback, nothing half-written."""

import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

import run_live
from app.command_line import run
from engine.instruments import Instrument
from engine.rows import LAST, ROW, Kind
from engine.tape import TapeWriter

ROOT = Path(__file__).resolve().parents[2]
SAMPLE = "data/sample"
GOOD = (ROOT / "config" / "default.yaml").read_text()


def a_tape(folder: Path, rows: int = 100) -> Path:
    """Write a small tape of quotes."""
    made = np.zeros(rows, ROW)
    made["ts_recv"] = made["ts_event"] = 1_700_000_000_000_000_000 + np.arange(rows) * 10**9
    made["kind"], made["flags"] = Kind.QUOTE, LAST
    made["f0"], made["f1"], made["f2"], made["f3"] = 99.0, 101.0, 1.0, 1.0
    instrument = Instrument(
        venue="test", symbol="AUSDT", base="A", quote="USDT", tick="0.01", lot="0.01"
    )
    writer = TapeWriter(folder, (instrument,))
    writer.append(made)
    writer.close()
    return folder


def cut(tape: Path, keep: int) -> Path:
    """Cut bytes off the tape's segment."""
    segment = tape / "000000.tape"
    segment.write_bytes(segment.read_bytes()[:keep])
    return tape


def damaged(tape: Path) -> Path:
    """Change one byte in the middle of the tape."""
    segment = tape / "000000.tape"
    data = bytearray(segment.read_bytes())
    data[4096 + 50 * 64 + 24] ^= 1
    segment.write_bytes(data)
    return tape


def file(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def replay(path: object, *more: object) -> list[str]:
    return ["--replay", str(path), *map(str, more)]


CASES: dict[str, tuple[Callable[[Path], Sequence[str]], str]] = {
    "missing path": (lambda p: replay(p / "absent"), "absent"),
    "empty folder": (lambda p: replay(p), "no data"),
    "empty csv": (lambda p: replay(file(p / "trades.csv", "")), "trades.csv"),
    "empty parquet": (lambda p: replay(file(p / "x.parquet", "")), "x.parquet"),
    "no parquet": (lambda p: replay(file(p / "x.parquet", "PAR1 no")), "x.parquet"),
    "wrong columns": (lambda p: replay(file(p / "x.csv", "a,b\n1,2\n")), "price"),
    "a text file": (lambda p: replay(file(p / "x.txt", "hello")), "x.txt"),
    "unknown symbol": (lambda p: replay(SAMPLE, "--symbols", "BTC/UDST"), "BTCUSDT"),
    "unknown key": (
        lambda p: replay(SAMPLE, "--config", file(p / "c.yaml", GOOD + "riks: 1\n")),
        "did you mean risk?",
    ),
    "negative limit": (
        lambda p: replay(
            SAMPLE,
            "--config",
            file(p / "c.yaml", GOOD.replace("max_daily_loss: ", "max_daily_loss: -")),
        ),
        "risk.max_daily_loss",
    ),
    "no config": (lambda p: replay(SAMPLE, "--config", p / "c.yaml"), "c.yaml: cannot be read"),
    "no model": (lambda p: replay(SAMPLE, "--model", "Nobody:1"), "Nobody"),
    "half a model": (lambda p: replay(SAMPLE, "--model", "Nobody"), "ID:VERSION"),
    "what if": (
        lambda p: replay(SAMPLE, "--what-if", file(p / "w.yaml", "risk: {max_gros_exposure: 1}")),
        "max_gross_exposure?",
    ),
    "speed": (lambda p: replay(SAMPLE, "--speed", "fast"), "10x"),
    "block rows": (lambda p: replay(SAMPLE, "--block-rows", "0"), "block_rows"),
    "no path": (lambda p: ["--replay"], "--replay"),
    "unknown flag": (lambda p: replay(SAMPLE, "--jsn"), "did you mean --json?"),
    "torn tape": (lambda p: replay(cut(a_tape(p / "tape"), 4096 + 64 * 40)), "tape"),
    "no header": (lambda p: replay(cut(a_tape(p / "tape"), 100)), "tape"),
    "damaged tape": (lambda p: replay(damaged(a_tape(p / "tape"))), "row 50"),
    "no tape.json": (lambda p: replay(file(a_tape(p / "tape") / "tape.json", "{").parent), "tape"),
}


@pytest.mark.parametrize("name", CASES)
def test_fault_C10_one_line_exit_2_and_nothing_left(name, tmp_path, monkeypatch, capsys):
    inputs, runs = tmp_path / "in", tmp_path / "runs"
    inputs.mkdir()
    monkeypatch.chdir(ROOT)
    case, expected = CASES[name]
    argv = list(case(inputs))
    if "--config" not in argv and "--replay" in argv[:1]:
        config = file(tmp_path / "good.yaml", GOOD + f"runs_dir: {runs}\n")
        argv += ["--config", str(config)]
    before = sorted(str(path) for path in inputs.rglob("*"))
    made = set((ROOT / "runs").iterdir()) if (ROOT / "runs").is_dir() else set()
    monkeypatch.setattr(sys, "argv", ["run_live.py", *argv])
    try:
        code = run("run_live.py", run_live.main)
    except SystemExit as left:
        code = left.code
    out, err = capsys.readouterr()
    assert (code, out) == (2, ""), err
    assert expected in err
    assert err.count("\n") == 1, err
    assert "Traceback" not in err
    assert sorted(str(path) for path in inputs.rglob("*")) == before
    assert [path for path in runs.rglob("*") if path.is_file()] == []
    now = set((ROOT / "runs").iterdir()) if (ROOT / "runs").is_dir() else set()
    assert now == made or "tapes" not in {path.name for path in now - made}
