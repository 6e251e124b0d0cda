"""`lab.py data synth` from the command line: what it makes, and one line for what it refuses."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
GOOD = ["--symbols", "1", "--hours", "0.1", "--seed", "3", "--predictability", "0.2"]


def synth(*words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "lab.py", "data", "synth", *words]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_it_makes_a_market_that_says_what_it_is(tmp_path):
    done = synth(*GOOD, "--out", str(tmp_path / "market"))
    assert done.returncode == 0
    assert "BTCUSDT" in done.stdout
    assert "no skill" in done.stdout
    assert done.stderr == ""  # no progress bar without a terminal
    assert (tmp_path / "market" / "synthetic" / "BTCUSDT" / "quotes" / "000000.parquet").exists()
    again = synth(*GOOD, "--out", str(tmp_path / "market"))
    assert again.returncode == 2
    assert "--overwrite" in again.stderr
    assert synth(*GOOD, "--out", str(tmp_path / "market"), "--overwrite").returncode == 0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--hours", "-1"], "--hours"),
        (["--predictability", "1.5"], "--predictability"),
        (["--predictability", "nan"], "--predictability"),
        (["--hours", "soon"], "--hours"),
        (["--start", "yesterday"], "--start"),
        (["--symbols", "0"], "--symbols"),
    ],
)
def test_bad_words_are_one_line_and_leave_nothing(tmp_path, words, said):
    out = tmp_path / "market"
    done = synth(*GOOD, *words, "--out", str(out))
    assert done.returncode == 2
    assert said in done.stderr
    assert done.stderr.count("\n") == 1
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []
