"""The scripts outside the engine agree with it, need nothing of it, and find what is wrong."""

import ast
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from engine.audit_layout import AUDIT, Record
from engine.run_files import AUDIT_RECORDS, CHAIN, SUMMARY
from tests.synthetic_run import make_run

SCRIPTS = Path(__file__).resolve().parents[2] / "docs" / "scripts"


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return make_run(tmp_path_factory.mktemp("scripts"), decisions=1500)


def call(name, *words):
    command = [sys.executable, str(SCRIPTS / name), *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, cwd="/", check=False)


@pytest.mark.parametrize("name", ["recompute_digest.py", "recompute_chain.py", "check_exposure.py"])
def test_nothing_of_ours_is_imported(name):
    found = set()
    for node in ast.walk(ast.parse((SCRIPTS / name).read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add(node.module.split(".")[0])
    assert found <= set(sys.stdlib_module_names) | {"numpy"}


def test_the_digest_is_that_of_the_summary(run):
    done = call("recompute_digest.py", run)
    said = json.loads((run / SUMMARY).read_text())["decision_digest"]
    assert (done.returncode, done.stdout.strip()) == (0, said)


def test_another_digest_in_the_summary_exits_1(tmp_path):
    run = make_run(tmp_path, decisions=50)
    records = np.fromfile(run / AUDIT_RECORDS, AUDIT)
    records["f4"][records["kind"] == Record.DECISION] += 0.01
    (run / AUDIT_RECORDS).write_bytes(records.tobytes())
    assert call("recompute_digest.py", run).returncode == 1


def test_the_chain_is_that_of_the_run(run):
    links = [json.loads(line) for line in (run / CHAIN).read_text().splitlines()]
    done = call("recompute_chain.py", run)
    assert (done.returncode, done.stdout.strip()) == (0, links[-1]["chain"])
    assert len(links) > 1


@pytest.mark.parametrize("spoiled", ["value", "order"])
def test_a_changed_record_breaks_the_chain(tmp_path, spoiled):
    run = make_run(tmp_path, decisions=500)
    records = np.fromfile(run / AUDIT_RECORDS, AUDIT)
    kinds = records["kind"].tolist()
    if spoiled == "value":
        records["f4"][kinds.index(Record.DECISION)] += 0.01
    else:  # neighbours of two streams change places: each stream is still what it was
        at = kinds.index(Record.INTENT)
        assert kinds[at - 1] == Record.DECISION
        whole = records.view(np.uint8).reshape(-1, 96)
        whole[[at - 1, at], 8:] = whole[[at, at - 1], 8:]
    (run / AUDIT_RECORDS).write_bytes(records.tobytes())
    done = call("recompute_chain.py", run)
    assert done.returncode == 1
    assert "link 0 says" in done.stderr


def test_exposure_is_proved_and_printed(run):
    done = call("check_exposure.py", run)
    assert done.returncode == 0, done.stdout
    told = json.loads(call("check_exposure.py", run, "--json").stdout)
    summary = json.loads((run / SUMMARY).read_text())
    assert told["fills"] == summary["fills"] > 0
    assert told["blocked_model_exposure"] == summary["blocked"]["MODEL_EXPOSURE"] > 0
    assert 0.8 <= max(told["fullest"].values()) <= 1.0
    assert told["violations"] == []


@pytest.mark.parametrize(
    ("kind", "field", "value", "words"),
    [
        (Record.EXPOSURE, "i5", 1000, "above its limit"),
        (Record.EXPOSURE, "i0", 7, "parts do not make"),
        (Record.FILL, "i3", 9_000_000, "rebuilt"),
        (Record.VERDICT, "i2", 10**12, "rebuilt"),
    ],
)
def test_a_violation_exits_1_and_is_named(tmp_path, kind, field, value, words):
    run = make_run(tmp_path, decisions=200)
    records = np.fromfile(run / AUDIT_RECORDS, AUDIT)
    buys = records["i1"] > 0 if kind == Record.FILL else np.roll(records["i1"], 1) > 0
    at = np.flatnonzero((records["kind"] == kind) & ((kind == Record.EXPOSURE) | buys))
    records[field][at[2]] = value
    (run / AUDIT_RECORDS).write_bytes(records.tobytes())
    done = call("check_exposure.py", run)
    assert done.returncode == 1
    assert "VIOLATION" in done.stdout and words in done.stdout


@pytest.mark.parametrize("name", ["recompute_digest.py", "recompute_chain.py", "check_exposure.py"])
def test_no_run_is_one_line_and_exit_2(name, tmp_path):
    done = call(name, tmp_path)
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)
    assert call(name).returncode == 2
