"""--paper as a person runs it: alive in seconds, replayable, nothing left behind when it ends."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engine.audit_layout import AUDIT, AUDIT_BYTES, Record
from engine.audit_verify import verify
from engine.events import Action
from engine.run_files import AUDIT_RECORDS
from tests.app.replay_cli import ROOT, replay, summary

STARTS_WITHIN_S = 240.0  # a cold machine compiles kernel and generator first


def config(runs: Path) -> Path:
    """Write the first run's settings with the runs elsewhere."""
    path = runs.parent / "config.yaml"
    text = (ROOT / "config" / "default.yaml").read_text()
    path.write_text(f"{text}\nruns_dir: {runs}\nartifacts_dir: {ROOT / 'artifacts'}\n")
    return path


def start(runs: Path, *words: str) -> subprocess.Popen:
    """Start a session in a process of its own."""
    command = [sys.executable, str(ROOT / "run_live.py"), "--paper", "--json", "--no-report"]
    command += ["--config", str(config(runs)), *words]
    return subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def exchange_of(session: subprocess.Popen) -> int:
    """Wait until a session follows its exchange; return the exchange's process id."""
    assert session.stderr is not None
    ends = time.monotonic() + STARTS_WITHIN_S
    pid = 0
    while time.monotonic() < ends:
        line = session.stderr.readline()
        assert line, "the session ended before its feed was live"
        if "live.exchange" in line:
            pid = int(line.split("pid=")[1].split()[0])
        if "feed.book" in line:
            return pid
    raise AssertionError("no feed in time")


def family(session: subprocess.Popen) -> list[int]:
    """Return the processes that a session has started and that run now, its exchange among them."""
    folders = Path(f"/proc/{session.pid}/task").iterdir()
    return [int(one) for folder in folders for one in (folder / "children").read_text().split()]


def all_gone(pids: list[int]) -> bool:
    """Tell whether processes end in time, one of them at least."""
    return bool(pids) and all(gone(pid) for pid in pids)


def gone(pid: int, within_s: float = 5.0) -> bool:
    """Tell whether a process ends in time."""
    ends = time.monotonic() + within_s
    while time.monotonic() < ends:
        if not Path(f"/proc/{pid}").exists():
            return True
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
        if state == "Z":  # ended; its parent is gone too, init will take it
            return True
        time.sleep(0.05)
    return False


def ended(session: subprocess.Popen) -> tuple[int, dict[str, Any]]:
    """Return the exit code and the one JSON object of a session that ends."""
    out, err = session.communicate(timeout=60)
    lines = out.splitlines()
    assert len(lines) == 1, err[-2000:]
    return session.returncode, json.loads(lines[0])


def audit_of(runs: Path) -> np.ndarray:
    """Return the records that stand in the audit of the one run so far."""
    found = [*runs.glob(f"*/{AUDIT_RECORDS}")]
    data = found[0].read_bytes() if found else b""
    return np.frombuffer(data[: len(data) // AUDIT_BYTES * AUDIT_BYTES], AUDIT)


def until(session: subprocess.Popen, holds: Callable[[], bool]) -> None:
    """Wait for something to come true while a session runs."""
    ends = time.monotonic() + STARTS_WITHIN_S
    while not holds():
        assert session.poll() is None, "the session ended by itself"
        assert time.monotonic() < ends, "it did not come true"
        time.sleep(0.2)


def has_traded(runs: Path) -> bool:
    """Whether models have decided often, one of them to act, and an order was filled."""
    records = audit_of(runs)
    decisions = records[records["kind"] == Record.DECISION]
    acts = decisions[decisions["code"] != Action.HOLD]
    fills = records[records["kind"] == Record.FILL]
    return len(decisions) > 50 and len(acts) > 0 and len(fills) > 0


@pytest.fixture(scope="module")
def traded(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any], list[int]]:
    """Run a session until it has traded."""
    runs = tmp_path_factory.mktemp("paper") / "runs"
    session = start(runs)
    pid = exchange_of(session)
    until(session, lambda: has_traded(runs))
    started = family(session)
    assert pid in started
    session.terminate()
    code, found = ended(session)
    assert code == 0
    return runs, found, started


def test_a_session_trades_on_ticks_that_came_over_the_wire(traded):
    _, found, started = traded
    assert found["mode"] == "paper"
    assert found["exit_reason"] == "stopped"
    assert found["events"] > 50
    assert found["decisions"] > 50
    assert found["orders"] > 0
    assert found["fills"] > 0
    assert found["signals"]["buy"] + found["signals"]["sell"] > 0
    assert {model["status"] for model in found["models"]} == {"SERVING"}
    assert all_gone(started)


def test_a_duration_ends_it(tmp_path):
    session = start(tmp_path / "runs", "--duration", "1s")
    pid = exchange_of(session)
    started = family(session)
    assert pid in started
    code, found = ended(session)
    assert (code, found["exit_reason"]) == (0, "done")
    assert all_gone(started)


@pytest.mark.parametrize(
    ("number", "code"),
    [(signal.SIGINT, 130), (signal.SIGTERM, -signal.SIGTERM), (signal.SIGKILL, -signal.SIGKILL)],
)
def test_a_signal_before_anything_is_there_ends_it_and_its_exchange(tmp_path, number, code):
    session = start(tmp_path / "runs")
    until(session, lambda: bool(family(session)))
    started = family(session)
    session.send_signal(number)
    out, err = session.communicate(timeout=60)
    assert session.returncode == code, err[-2000:]
    assert out == ""
    assert "Traceback" not in err
    assert all_gone(started)


def test_its_audit_verifies(traded):
    _, found, _ = traded
    assert verify(Path(found["run_dir"])).ok


@pytest.mark.parametrize("block", ["1", "7", "65536"])
def test_its_tape_replays_to_its_digest(traded, block):
    runs, found, _ = traded
    again = summary(found["run_dir"], "--block-rows", block, runs=runs)
    assert again["decision_digest"] == found["decision_digest"]
    assert again["decisions"] == found["decisions"]
    assert again["fills"] == found["fills"]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 0)])
def test_a_signal_ends_it_cleanly(tmp_path, number, code):
    session = start(tmp_path / "runs")
    exchange_of(session)
    started = family(session)
    session.send_signal(number)
    returned, found = ended(session)
    assert returned == code
    assert found["events"] > 0
    assert all_gone(started)
    assert verify(Path(found["run_dir"])).ok


def test_a_second_signal_ends_it_at_once_and_its_exchange(tmp_path):
    session = start(tmp_path / "runs")
    exchange_of(session)
    started = family(session)
    for number in (signal.SIGSTOP, signal.SIGTERM, signal.SIGINT, signal.SIGCONT):  # both at once
        session.send_signal(number)
    out, err = session.communicate(timeout=60)
    assert session.returncode == 130, err[-2000:]
    assert out == ""
    assert all_gone(started)


def test_killed_it_leaves_a_tape_that_replays_and_no_exchange(tmp_path):
    runs = tmp_path / "runs"
    session = start(runs)
    exchange_of(session)
    until(session, lambda: len(audit_of(runs)) > 30)
    started = family(session)
    session.kill()
    session.communicate(timeout=30)
    assert all_gone(started)
    (run_dir,) = [path for path in runs.iterdir() if path.name != "tapes"]
    found = summary(run_dir, runs=runs)
    assert found["events"] > 30
    assert found["decisions"] > 0
    checked = verify(run_dir)
    assert checked.ok
    assert checked.cut or checked.sealed == checked.records
    first = replay(run_dir, "--no-report", runs=runs)
    assert first.returncode == 0


def test_without_its_exchange_it_ends_with_one_reason(tmp_path):
    session = start(tmp_path / "runs")
    pid = exchange_of(session)
    started = family(session)
    os.kill(pid, signal.SIGKILL)
    out, err = session.communicate(timeout=60)
    assert session.returncode == 1
    assert all_gone(started)
    found = json.loads(out)
    assert found["exit_reason"] == "failed"
    assert "the embedded exchange ended" in err
    assert "Traceback" not in err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--venue", "mtgox"], "mtgox"),
        (["--duration", "soon"], "--duration"),
        (["--symbols", "NOPEUSDT"], "NOPEUSDT"),
        (["--replay", "data/sample"], "not allowed with"),
    ],
)
def test_bad_words_end_in_one_line(tmp_path, words, said):
    session = start(tmp_path / "runs", *words)
    out, err = session.communicate(timeout=STARTS_WITHIN_S)
    assert session.returncode == 2, err
    assert out == ""
    lines = [line for line in err.splitlines() if line.startswith("run_live.py:")]
    assert len(lines) == 1
    assert said in lines[0]
    assert "Traceback" not in err
