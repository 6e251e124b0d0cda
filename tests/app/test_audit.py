"""`lab.py audit` on a made-up run: what it prints, what it exits with."""

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from engine.audit_layout import AUDIT, AUDIT_BYTES, Record
from engine.json_files import read_json
from engine.run_files import AUDIT_RECORDS, SUMMARY, Summary
from tests.synthetic_run import make_run

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("audit")
    make_run(root, decisions=600)
    return root


@pytest.fixture(scope="module")
def run(root):
    return root / "runs" / "synthetic-7"


def lab(root, *words):
    """Call lab.py in a process of its own."""
    command = [sys.executable, str(ROOT / "lab.py"), "audit", *words, "--runs", str(root / "runs")]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    assert "Traceback" not in done.stderr
    return done


def test_verify_by_path_id_and_last(root, run):
    for name in (str(run), "synthetic-7", "synth", "last"):
        done = lab(root, "verify", name)
        assert (done.returncode, done.stderr) == (0, ""), done
        assert done.stdout.startswith("OK ")
        assert read_json(run / SUMMARY, Summary).decision_digest in done.stdout


def test_verify_says_bad_and_exits_1(root, tmp_path):
    run = make_run(tmp_path, decisions=300)
    path = run / AUDIT_RECORDS
    content = bytearray(path.read_bytes())
    content[200 * AUDIT_BYTES + 50] ^= 4
    path.write_bytes(content)
    done = lab(tmp_path, "verify", "last", "--json")
    assert done.returncode == 1
    told = json.loads(done.stdout)
    assert told["ok"] is False
    assert (
        told["first_bad"]["seq"]
        <= 200
        <= max(told["first_bad"]["seq"], told["first_bad"]["last_seq"])
    )
    assert "first bad" in lab(tmp_path, "verify", "last").stdout


def test_the_funnel_adds_up(root, run):
    done = lab(root, "signal-flow", "last", "--max", "10", "--json")
    told = json.loads(done.stdout)
    funnel, summary = told["funnel"], read_json(run / SUMMARY, Summary)
    assert done.returncode == 0
    assert funnel["decisions"] == sum(funnel["signals"].values()) == summary.decisions == 600
    assert sum(funnel["hold_reasons"].values()) == funnel["signals"]["hold"]
    assert funnel["below_threshold"] == funnel["hold_reasons"]["BELOW_THRESHOLD"] > 0
    assert funnel["intents"] == funnel["approved"] + funnel["reduced"] + funnel["blocked"]
    assert funnel["orders"] == funnel["approved"] + funnel["reduced"] == summary.orders
    assert funnel["fills"] == summary.fills
    assert len(told["signals"]) == 10
    assert all(signal["action"] != "HOLD" for signal in told["signals"])
    filled = [signal for signal in told["signals"] if signal["filled"]]
    assert filled and all(s["state"] == "FILLED" and s["average_price"] > 0 for s in filled)


def test_the_funnel_is_a_table_of_80_columns(root):
    done = lab(root, "signal-flow", "last", "--max", "4", "--holds")
    assert done.returncode == 0
    assert max(map(len, done.stdout.splitlines())) <= 80
    assert re.search(r"decisions +600 ", done.stdout)
    assert "below threshold" in done.stdout and "Last 4 signals" in done.stdout
    assert "held:" in done.stdout


def test_explain_tells_the_whole_story(root, run):
    records = np.fromfile(run / AUDIT_RECORDS, AUDIT)
    fills = records[records["kind"] == Record.FILL]
    exit_order = int(fills["i0"][fills["i1"] < 0][0])
    told = json.loads(lab(root, "explain", "last", str(exit_order), "--json").stdout)
    assert told["signal"]["action"] == "SELL" and told["intent"]["side"] == "sell"
    assert told["tick"]["kind"] == "QUOTE" and told["tick"]["bid"] < told["tick"]["ask"]
    assert told["states"][-1]["state"] == "FILLED"
    mine = fills[fills["i0"] == exit_order]
    assert told["pnl"]["realized"] == pytest.approx(int(mine["i5"].sum()) / 1e8)
    position = told["pnl"]["position"]
    assert exit_order in position["exits"] and position["left"] == 0.0
    assert position["net"] == pytest.approx(position["realized"] - position["fees"])
    text = lab(root, "explain", "last", str(exit_order)).stdout
    assert max(map(len, text.splitlines())) <= 80
    for word in ("tick", "features", "signal", "intent", "risk", "order", "fill", "P&L"):
        assert f"\n  {word}" in text


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("verify", "nowhere"), "no such run"),
        (("verify",), "RUN"),
        (("signal-flow", "last", "--max", "-1"), "0 or more"),
        (("signal-flow", "last", "--max", "x"), "x"),
        (("explain", "last", "99999"), "its orders are 0 to"),
        (("explain", "last", "-3"), "-3"),
        (("explain", "last", "one"), "whole number"),
        (("explain", "last"), "ORDER_ID"),
        (("tell", "last"), "unknown 'tell'"),
    ],
)
def test_wrong_input_is_one_line_and_exit_2(root, words, says):
    done = lab(root, *words)
    assert done.returncode == 2
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1
    assert says in done.stderr


def test_a_folder_that_is_no_run_and_no_runs_at_all(root, tmp_path):
    done = lab(root, "verify", str(tmp_path))
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)
    done = lab(tmp_path, "verify", "last")
    assert done.returncode == 2
    assert "make replay" in done.stderr
