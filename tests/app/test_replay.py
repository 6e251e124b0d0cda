"""Replays from the command line: the same decisions whatever the grouping, place or process."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import run_live
from app.command_line import run
from engine.audit_verify import verify
from tests.app.replay_cli import ROOT, SAMPLE, config_of, replay, summary


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("replays") / "runs"


@pytest.fixture(scope="module")
def first(runs: Path) -> dict:
    return summary(SAMPLE, runs=runs)


@pytest.fixture
def refused(runs, monkeypatch, capsys):
    """Return a function that starts a replay that must be refused; it gives the one line said."""

    def call(*words: object) -> str:
        config = [] if "--config" in words else ["--config", str(config_of(runs))]
        monkeypatch.chdir(ROOT)
        monkeypatch.setattr(sys, "argv", ["run_live.py", "--replay", *map(str, words), *config])
        try:
            code = run("run_live.py", run_live.main)
        except SystemExit as left:
            code = left.code
        out, err = capsys.readouterr()
        assert (code, out) == (2, ""), err
        assert len(err.strip().splitlines()) == 1
        return err

    return call


def test_the_first_run_trades(first):
    assert first["decisions"] > 1000
    assert first["signals"]["buy"] + first["signals"]["sell"] > 20
    assert first["orders"] > 0
    assert first["fills"] > 0
    assert {model["status"] for model in first["models"]} == {"SERVING"}
    for name, most in first["exposure_max"].items():
        assert most <= first["limits"]["model_exposure"][name]


@pytest.mark.parametrize("kind", ["model", "strategy"])
def test_books_add_up_to_the_account(first, kind):
    books = [book for book in first["books"] if book["kind"] == kind]
    results = sum(book["realized"] + book["unrealized"] - book["fees"] for book in books)
    assert len(books) >= 2
    assert results == pytest.approx(first["pnl"]["total"], abs=1e-5)
    assert sum(book["fees"] for book in books) == pytest.approx(first["fees"]["USDT"], abs=1e-7)


@pytest.mark.parametrize("rows", [1, 7, 1000])
def test_grouping_changes_no_decision(first, runs, rows):
    again = summary(SAMPLE, "--block-rows", rows, runs=runs)
    assert again["decision_digest"] == first["decision_digest"]
    assert again["kernel_calls"] >= again["events"] / rows


def test_batches_ahead_change_no_decision(first, runs, tmp_path):
    config = tmp_path / "one_by_one.yaml"
    text = (runs.parent / "config.yaml").read_text()
    config.write_text(text.replace("engine:\n", "engine:\n  batch_rows: 1\n"))
    again = summary(SAMPLE, "--config", config, runs=runs)
    assert again["decision_digest"] == first["decision_digest"]
    assert again["kernel_calls"] > first["kernel_calls"]


def test_a_run_folder_replays_to_its_own_digest(first, runs):
    again = summary(first["run_dir"], runs=runs)
    assert again["decision_digest"] == first["decision_digest"]
    done = replay(first["run_dir"], "--compare", first["run_id"], "--no-report", runs=runs)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "equals" in done.stdout


def test_from_another_folder_the_models_that_came_with_it_are_found(first, tmp_path):
    words = [sys.executable, str(ROOT / "run_live.py"), "--replay", str(SAMPLE)]
    done = subprocess.run(
        [*words, "--json", "--no-report"], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert json.loads(done.stdout)["decision_digest"] == first["decision_digest"]
    assert [path.name for path in tmp_path.iterdir()] == ["runs"]


def test_a_what_if_differs_and_says_where(first, runs, tmp_path):
    changes = tmp_path / "what_if.yaml"
    changes.write_text("risk: {max_order_notional: 40}\n")
    done = replay(first["run_dir"], "--what-if", changes, "--compare", first["run_id"], runs=runs)
    assert done.returncode == 1
    assert "differs in" in done.stdout or "record" in done.stdout


def test_the_audit_of_a_replay_verifies(first):
    assert verify(Path(first["run_dir"])).ok


def test_a_threshold_changes_the_digest(first, runs, tmp_path):
    config = tmp_path / "threshold.yaml"
    text = (runs.parent / "config.yaml").read_text()
    config.write_text(text.replace("threshold: 0.6", "threshold: 0.61"))
    again = summary(SAMPLE, "--config", config, runs=runs)
    assert again["decision_digest"] != first["decision_digest"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["nowhere"], "nowhere"),
        ([SAMPLE, "--symbols", "NOPEUSDT"], "NOPEUSDT"),
        ([SAMPLE, "--block-rows", "0"], "block_rows"),
        ([SAMPLE, "--model", "Nobody:7"], "Nobody"),
        ([SAMPLE, "--model", "nonsense"], "ID:VERSION"),
        ([SAMPLE, "--speed", "fast"], "--speed"),
        ([SAMPLE, "--replya"], "--replay"),
    ],
)
def test_bad_words_end_in_one_line(words, said, refused):
    assert said in refused(*words)


def test_bad_words_end_a_process_in_one_line(runs):
    done = replay("nowhere", runs=runs)
    assert done.returncode == 2
    assert "nowhere" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert done.stdout == ""


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("risk: {max_order_notional: -1}", "max_order_notional"),
        ("rsik: {}", "risk"),
        ("strategies: [{name: ml_singal}]", "ml_signal"),
        ("strategies: [{name: ml_signal, params: {treshold: 0.5}}]", "threshold"),
    ],
)
def test_bad_settings_end_in_one_line(line, said, runs, tmp_path, first, refused):
    section = line.partition(":")[0]
    config = tmp_path / "bad.yaml"
    text = (runs.parent / "config.yaml").read_text()
    if section == "strategies":
        head, _, tail = text.partition("strategies:")
        text = head + line + "\nmodels_file:" + tail.partition("models_file:")[2]
    elif section == "risk":
        text = text.replace("max_order_notional: 1000", "max_order_notional: -1")
    else:
        text += line + "\n"
    config.write_text(text)
    before = sorted(runs.iterdir())
    assert said in refused(SAMPLE, "--config", config)
    assert sorted(runs.iterdir()) == before, "nothing half-written"


def test_empty_and_wrong_files_end_in_one_line(refused, tmp_path):
    empty = tmp_path / "empty.csv"
    empty.write_text("")
    wrong = tmp_path / "wrong.csv"
    wrong.write_text("a,b\n1,2\n")
    for path in (empty, wrong):
        assert path.name in refused(path)


def test_ctrl_c_ends_with_the_summary(runs, first):
    process = _paced(runs)
    _wait_for_records(runs, process)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    found = json.loads(out)
    assert found["exit_reason"] == "interrupted"
    assert verify(Path(found["run_dir"])).ok


def test_kill_leaves_an_audit_that_verifies(runs, first):
    process = _paced(runs)
    folder = _wait_for_records(runs, process)
    process.kill()
    process.communicate(timeout=60)
    assert verify(folder).ok


def _paced(runs: Path) -> subprocess.Popen:
    command = [sys.executable, str(ROOT / "run_live.py"), "--replay", str(SAMPLE), "--json"]
    command += ["--no-report", "--speed", "600x", "--config", str(runs.parent / "config.yaml")]
    return subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def _wait_for_records(runs: Path, process: subprocess.Popen) -> Path:
    """Wait until the newest run has written records of its audit."""
    known = {path.name for path in runs.iterdir()}
    for _ in range(600):
        fresh = [path for path in runs.iterdir() if path.name not in known]
        fresh = [path for path in fresh if (path / "tape" / "ref.json").exists()]
        if fresh and time.sleep(1.0) is None:
            return fresh[0]
        assert process.poll() is None, process.stderr
        os.sched_yield()
        time.sleep(0.1)
    raise AssertionError("the replay never began")
