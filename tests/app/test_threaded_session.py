"""A session with models on threads, that are slow, stall, fail and are overtaken; its loop blocks.

It ends when it has seen enough of each, not after a time; and its tape replays to its digest.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from engine.audit_verify import verify
from engine.events import AnswerStatus
from engine.rows import Kind
from engine.tape import Tape
from ml import registry
from tests.app.heavy_session import ENOUGH
from tests.app.replay_cli import ROOT
from tests.app.test_paper import exchange_of, gone
from tests.app.versions import tick_spec
from tests.ml.heavy_models import failing, register, stalling, wide

STRATEGY = "strategies:\n  - name: ml_signal\n    params: {threshold: 0.4, cooldown_s: 1.0}\n"
MODELS = """watch: {strikes: 0, deadline_misses: 0}
models:
  - {name: Bars, model_id: SignalClassifier, cadence: "bar:1m"}
  - {name: Heavy, model_id: Heavy, cadence: "every:100ms"}
  - {name: Stalls, model_id: Stalls, cadence: "every:50ms", deadline_ms: 120}
  - {name: Fails, model_id: Fails, cadence: "every:200ms"}
"""


def settings_file(folder: Path) -> Path:
    """Write the settings of a session with heavy models, and the models."""
    artifacts, spec = folder / "artifacts", tick_spec()
    shutil.copytree(ROOT / "artifacts", artifacts, ignore=shutil.ignore_patterns("kernels"))
    column = spec.names.index("mid_price_velocity_1s")
    for model_id, data in (
        ("Heavy", wide(len(spec))),
        ("Stalls", stalling(len(spec), column)),
        ("Fails", failing(len(spec), column)),
    ):
        register(artifacts, model_id, data, spec, placement="thread")
        registry.promote(artifacts, model_id, "1", why="for the tests", by="tests")
    text = (ROOT / "config" / "default.yaml").read_text().partition("strategies:")[0]
    text = text.replace("max_signal_age_ms: 5000", "max_signal_age_ms: 1000")
    places = f"runs_dir: {folder / 'runs'}\nartifacts_dir: {artifacts}\n"
    path = folder / "config.yaml"
    path.write_text(text + STRATEGY + MODELS + places)
    return path


def command(config: Path, *words: object) -> list[str]:
    start = [sys.executable, "-m", "tests.app.heavy_session", *map(str, words)]
    return [*start, "--config", str(config), "--json", "--no-report"]


@pytest.fixture(scope="module")
def config(tmp_path_factory) -> Path:
    return settings_file(tmp_path_factory.mktemp("heavy"))


@pytest.fixture(scope="module")
def session(config) -> dict:
    """Run the session until it has seen enough."""
    done = subprocess.run(
        command(config, "--paper", "--duration", "150s"),
        cwd=ROOT, capture_output=True, text=True, timeout=400,
        env=os.environ | {"TICKGATE_TEST_BLOCKS": "15:1.6,40:1.6"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout)
    found["stderr"] = done.stderr
    return found


def test_fault_M10_M11_it_goes_on_whatever_its_models_do(session):
    lines = {line["name"]: line for line in session["models"]}
    assert session["exit_reason"] == "stopped"
    assert {name: line["placement"] for name, line in lines.items()} == {
        "Bars": "inline", "Heavy": "thread", "Stalls": "thread", "Fails": "thread"
    }  # fmt: skip
    for name, ends in ENOUGH.items():
        for end, count in ends.items():
            assert lines[name]["answers"][end] >= count, (name, lines[name])
    holds = session["signals"]["hold_reasons"]
    for reason in ("MODEL_SUPERSEDED", "MODEL_TIMED_OUT", "MODEL_FAILED", "MODEL_LATE"):
        assert holds[reason] > 0, holds
    assert session["signals"]["buy"] + session["signals"]["sell"] > 0
    assert "inference_thread" in session["latency_us"]
    assert "inference.timed_out" in session["stderr"]
    assert verify(Path(session["run_dir"])).ok


def test_each_request_has_one_row(session):
    tape = Tape.open(Path(session["run_dir"]) / "tape", repair=False)
    rows = np.concatenate([segment.rows for segment in tape.segments])
    answers = rows[rows["kind"] == Kind.SIGNAL]
    asked = sum(line["requests"] for line in session["models"])
    assert sorted(answers["i0"].tolist()) == list(range(asked))
    assert set(answers["i4"].tolist()) <= {int(status) for status in AnswerStatus}
    assert (answers["ts_event"] <= answers["ts_recv"]).all()
    assert (answers["ts_event"] > 0).all()


@pytest.mark.parametrize("block", ["1", "7", "65536"])
def test_it_replays_to_its_digest(config, session, block):
    done = subprocess.run(
        command(config, "--replay", session["run_dir"], "--block-rows", block),
        cwd=ROOT, capture_output=True, text=True, timeout=200,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    again = json.loads(done.stdout)
    assert again["decision_digest"] == session["decision_digest"]
    assert again["models"] == session["models"]
    assert again["signals"] == session["signals"]
    assert not [note for note in again["notes"] if "answers" in note], again["notes"]


@pytest.mark.slow
def test_with_other_settings_its_models_are_asked_anew(config, session, tmp_path):
    changed = tmp_path / "what_if.yaml"
    changed.write_text("risk: {max_order_notional: 500}\n")
    done = subprocess.run(
        command(config, "--replay", session["run_dir"], "--what-if", changed),
        cwd=ROOT, capture_output=True, text=True, timeout=200,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    again = json.loads(done.stdout)
    heavy = {line["name"]: line for line in again["models"]}["Heavy"]
    assert heavy["answers"]["RESULT"] > 0
    assert again["decision_digest"] != session["decision_digest"]


def test_ctrl_c_ends_it_with_its_threads(config):
    session = subprocess.Popen(
        command(config, "--paper"),
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    pid = exchange_of(session)
    session.send_signal(signal.SIGINT)
    out, err = session.communicate(timeout=60)
    assert session.returncode == 130, err
    assert json.loads(out)["events"] > 0
    assert "Traceback" not in err
    assert gone(pid)


def test_a_core_that_is_not_there_is_one_line(config, tmp_path):
    changed = tmp_path / "config.yaml"
    text = config.read_text()
    changed.write_text(text.replace("engine:\n", "engine:\n  inference_cores: [4095]\n"))
    done = subprocess.run(
        command(changed, "--paper"), cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 2
    assert "inference_cores: 4095" in done.stderr
    assert "Traceback" not in done.stderr
