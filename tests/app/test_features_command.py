"""`lab.py features`: what it prints and how it refuses."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def lab(*words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "lab.py", "features", *words]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_lists_every_feature_on_a_line() -> None:
    done = lab("list")
    assert done.returncode == 0
    assert "rsi_{span} " in done.stdout
    assert len(done.stdout.splitlines()) >= 81 + 7
    assert done.stdout.startswith("price and trend\n")


def test_shows_formula_parameters_and_source() -> None:
    done = lab("show", "vpin", "rsi_9")
    assert done.returncode == 0
    for words in ("mode trades", "sum |bought - sold|", "Easley", "span 9", "warm after: 10 bars"):
        assert words in done.stdout


def test_checks_a_spec_against_what_the_data_holds() -> None:
    spec = "config/features/tick_mlp.json"
    whole = lab("check", spec, "--has", "quotes,quote_sizes,trades,trade_sides")
    assert whole.returncode == 0
    assert "kernel identity: " in whole.stdout
    partial = lab("check", spec, "--has", "quotes")
    assert partial.returncode == 1
    assert "absent: microprice needs quote_sizes" in partial.stdout


def test_refuses_in_one_line() -> None:
    for words, hint in (
        (("show", "rsi14"), "rsi_{span}"),
        (("check", "nowhere.json"), "nowhere.json"),
        (("check", "README.md"), "README.md"),
        (("check", "config/features/tick_mlp.json", "--has", "ticks"), "unknown 'ticks'"),
    ):
        done = lab(*words)
        assert done.returncode == 2
        assert len(done.stderr.splitlines()) == 1
        assert hint in done.stderr
