"""`lab.py data import|show|repair` as a person meets them."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from engine.tape import Tape
from tests.store.files import tape_of
from tests.store.test_source import quotes, trades

ROOT = Path(__file__).resolve().parents[2]


def lab(*words: object) -> subprocess.CompletedProcess[str]:
    """Run `lab.py data ...`."""
    command = [sys.executable, "lab.py", "data", *[str(one) for one in words]]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    return [
        trades(tmp_path / "in" / "trades" / "x_BTCUSDT.parquet", list(range(0, 900, 3)), recv=-70),
        quotes(tmp_path / "in" / "quotes" / "x_BTCUSDT.parquet", list(range(0, 900, 2)), recv=-70),
    ]


def test_import_writes_a_folder_and_says_what_it_did(tmp_path: Path, files: list[Path]) -> None:
    out = tmp_path / "out"
    done = lab(
        "import", "--venue", "x", "--symbol", "btc/usdt", "--out", out, "--lot", "0.01", *files
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "x:BTCUSDT" in done.stdout
    assert "tick 0.1 (inferred), lot 0.01, min notional 0 (inferred)" in done.stdout
    assert "receive times corrected by +80 ms" in done.stdout
    assert "dropped: 0" in done.stdout
    assert all(len(line) <= 80 or str(tmp_path) in line for line in done.stdout.splitlines())
    folder = out / "x" / "BTCUSDT"
    assert sorted(one.name for one in folder.iterdir()) == ["instrument.json", "quotes", "trades"]
    assert json.loads((folder / "instrument.json").read_text())["clock_offset_ns"] == 80_000_000
    assert sorted(one.name for one in out.iterdir()) == ["x"]
    original = tape_of(tmp_path, *files, lot="0.01")
    assert tape_of(tmp_path, out).info.sha256 == original.info.sha256

    again = lab("import", "--venue", "x", "--symbol", "BTCUSDT", "--out", out, *files)
    assert again.returncode == 2
    assert again.stderr.count("\n") == 1
    assert "--overwrite replaces it" in again.stderr
    replaced = lab(
        "import", "--venue", "x", "--symbol", "BTCUSDT", "--out", out, "--overwrite", files[0]
    )
    assert replaced.returncode == 0
    assert sorted(one.name for one in folder.iterdir()) == ["instrument.json", "trades"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--tick", "0"], "--tick 0: allowed is a decimal number above 0"),
        (
            ["--clock-offset", "soon"],
            "--clock-offset soon: allowed are auto, none, or milliseconds",
        ),
        (["--venue", "a/../b"], "--venue a/../b: allowed are letters"),
        (["--symbol", "../x"], "--symbol ../x: not a symbol"),
        (["none.parquet"], "none.parquet: no such file or folder"),
    ],
)
def test_wrong_use_is_one_line_and_leaves_nothing(
    tmp_path: Path, files: list[Path], words: list[str], message: str
) -> None:
    out = tmp_path / "out"
    done = lab("import", "--venue", "x", "--symbol", "BTCUSDT", "--out", out, files[0], *words)
    assert done.returncode == 2
    assert message in done.stderr
    assert done.stderr.count("\n") == 1
    assert done.stdout == ""
    assert not out.exists() or list(out.iterdir()) == []


def test_show_counts_and_repair_cuts(tmp_path: Path, files: list[Path]) -> None:
    shown = lab("show", *files)
    assert shown.returncode == 0
    assert "quote" in shown.stdout
    assert "450" in shown.stdout
    tape = tape_of(tmp_path, *files)
    segment = tape.segments[0].path
    os.truncate(segment, segment.stat().st_size - 100)
    refused = lab("show", tape.folder)
    assert refused.returncode == 2
    assert f"python lab.py data repair {tape.folder}" in refused.stderr
    repaired = lab("repair", tape.folder)
    assert repaired.returncode == 0
    assert "748 rows are whole, 2 torn rows behind them were cut" in repaired.stdout
    assert Tape.open(tape.folder).info.rows == 748
    assert "nothing to repair" in lab("repair", tape.folder).stdout
