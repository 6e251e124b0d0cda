"""`--live` with a model on a thread: its advice becomes orders, and the run replays."""

import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from engine.audit_verify import verify
from engine.rows import Kind
from engine.tape import Tape
from ml import registry
from tests.app.live_world import CONFIG, ROOT, environment, exchange, same_ledger
from tests.app.test_threaded_session import command, tick_spec
from tests.ml.heavy_models import register, wide

MODELS = """strategies:
  - name: ml_signal
    params: {threshold: 0.34, size_quote: 50, stop_loss_pct: 0, take_profit_pct: 0, cooldown_s: 0.5}
models:
  - {name: Bars, model_id: SignalClassifier, cadence: "bar:1m"}
  - {name: Heavy, model_id: Heavy, cadence: "every:100ms"}
"""


def settings_file(folder: Path) -> Path:
    """Write the settings of a live session with a heavy model, and the model."""
    artifacts, spec = folder / "artifacts", tick_spec()
    shutil.copytree(ROOT / "artifacts", artifacts, ignore=shutil.ignore_patterns("kernels"))
    register(artifacts, "Heavy", wide(len(spec)), spec, placement="thread")
    registry.promote(artifacts, "Heavy", "1", why="for the tests", by="tests")
    places = f"runs_dir: {folder / 'runs'}\nartifacts_dir: {artifacts}\n"
    path = folder / "live.yaml"
    path.write_text(CONFIG.partition("strategies:")[0] + MODELS + places)
    return path


def ran(words: list[str]) -> dict:
    """Run a session or a replay that must succeed; return its summary."""
    done = subprocess.run(
        words, cwd=ROOT, capture_output=True, text=True, timeout=300,
        env=environment() | {"TICKGATE_TEST_BLOCKS": "20:0.01"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    found: dict = json.loads(done.stdout)
    return found


@pytest.mark.slow
def test_advice_of_a_thread_becomes_live_orders_that_replay(tmp_path: Path) -> None:
    config = settings_file(tmp_path)
    with exchange("--history-hours", "1") as venue:
        live = ("--live", "--base-url", venue.rest_url, "--confirm-live", "main")
        told = ran(command(config, *live, "--duration", "120s"))
        assert same_ledger(tmp_path, venue) == told["fills"] > 0
    assert told["exit_reason"] == "stopped"
    heavy = {line["name"]: line for line in told["models"]}["Heavy"]
    assert heavy["placement"] == "thread"
    assert heavy["answers"]["RESULT"] >= 60
    run = Path(told["run_dir"])
    rows = np.concatenate([s.rows for s in Tape.open(run / "tape", repair=False).segments])
    answers = rows[rows["kind"] == Kind.SIGNAL]
    assert sorted(answers["i0"].tolist()) == list(range(heavy["requests"]))
    assert verify(run).ok
    own = command(config, "--replay", run, "--block-rows", "7")
    at = own.index("--config")  # its own settings: the account's balances stand there
    again = ran([*own[:at], *own[at + 2 :]])
    assert again["decision_digest"] == told["decision_digest"]
    assert again["orders"] == told["orders"] > 0
