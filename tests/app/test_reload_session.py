"""Hot reload in sessions over real wires, as a person asks for it, and at full speed."""

import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import msgspec

from app.replay import Replay, replay
from config.load import load_settings
from engine.audit_verify import verify
from engine.tape import Tape
from ml import registry
from tests.app.replay_cli import ROOT
from tests.app.test_paper import ended, exchange_of
from tests.app.versions import add_version, tick_mlp
from tests.swaps import Swapping

WITHIN_S = 60.0


def lab(*words: object) -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "lab.py"), "models", *map(str, words)],
        cwd=ROOT, capture_output=True, text=True, timeout=240,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def test_a_paper_session_follows_promotion_hangup_and_file(tmp_path, root):
    runs = tmp_path / "runs"
    text = (ROOT / "config" / "default.yaml").read_text()
    config = tmp_path / "paper.yaml"
    config.write_text(f"{text}\nruns_dir: {runs}\nartifacts_dir: {root}\n")
    add_version(root, tick_mlp(0.5))
    words = ["--paper", "--json", "--no-report", "--config", str(config), "--duration", "200s"]
    session = subprocess.Popen(
        [sys.executable, str(ROOT / "run_live.py"), *words],
        cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        exchange_of(session)
        words = (
            "--waive",
            "metric",
            "--waive",
            "calibration_error",
            "--why",
            "test",
            "--by",
            "tests",
        )
        lab("promote", "TickMLP:2", "--artifacts", root, *words)
        said = [line_with(session, "reload.swapped")]
        registry.promote(root, "TickMLP", "3", why="test", by="tests")
        session.send_signal(signal.SIGHUP)
        said.append(line_with(session, "reload.swapped"))
        (root / "models.signal").write_text("rollback TickMLP\n")
        said.append(line_with(session, "reload.swapped"))
        session.send_signal(signal.SIGTERM)
        code, found = ended(session)
    finally:
        session.kill()
    assert code == 0
    assert ["signal file" in said[0], "SIGHUP" in said[1], "rollback" in said[2]] == [True] * 3
    assert found["reloads"] == 3
    (line,) = [model for model in found["models"] if model["name"] == "TickMLP"]
    assert [(one["version"], one["times"]) for one in line["served"]] == [
        ("1", 1), ("2", 2), ("3", 1),
    ]  # fmt: skip
    run = Path(found["run_dir"])
    assert verify(run).ok
    settings = load_settings(config)
    for block in (1, 7, 65_536):
        engine = msgspec.structs.replace(settings.engine, block_rows=block)
        asked = msgspec.structs.replace(settings, engine=engine)
        tape = Tape.open(run / "tape")
        again = replay(Replay(tape=tape, settings=asked, run=run, report=False))
        assert again.decision_digest == found["decision_digest"]
        assert again.reloads == 3
    shutil.rmtree(root / "TickMLP" / "2")
    done = subprocess.run(
        [sys.executable, str(ROOT / "run_live.py"), "--replay", str(run), "--config", str(config)],
        cwd=ROOT, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 2
    assert [line for line in done.stderr.splitlines() if "was decided by TickMLP:2" in line]
    assert "Traceback" not in done.stderr


def line_with(session: subprocess.Popen, word: str) -> str:
    """Read a session's log until a line with a word comes."""
    assert session.stderr is not None
    ends = time.monotonic() + WITHIN_S
    while time.monotonic() < ends:
        line = session.stderr.readline()
        assert line, f"the session ended without {word}"
        if word in line:
            return line
    raise AssertionError(f"no {word} in time")


def test_swaps_at_full_speed_miss_no_row_and_name_each_signals_version(tmp_path):
    swapping = Swapping(tmp_path, minute_s=4.0, minutes=2, swaps=4)
    summary = swapping.run()
    assert swapping.asked == 4
    assert len(swapping.heard) > 20
    claims = swapping.claims(summary)
    assert [claim for claim, holds in claims.items() if not holds] == []
