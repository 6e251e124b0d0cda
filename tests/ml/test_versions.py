"""Latest, best, side by side, lineage; several writers at once lose nothing."""

import json
import os
import signal
import subprocess
import sys
import time

import msgspec
import pytest

from ml import registry, versions
from ml.manifest import FILES
from ml.refusal import ModelRefused

WRITER = """
import sys
from pathlib import Path
from ml import registry
root, version, times = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
print("ready", flush=True)
shadow = registry.View(root).find("SignalClassifier", version).status == "shadow"
for k in range(times):
    status = ("shadow", "candidate")[(k + shadow) % 2]
    registry.set_status(root, "SignalClassifier", version, status, why=f"{version} {k}", by=version)
"""


def add(root, version, **changes):
    """Write another version of SignalClassifier, the same model, without its checks."""
    entry = registry.View(root).find("SignalClassifier", "1")
    files = {name: (root / "SignalClassifier" / "1" / name).read_bytes() for name in FILES}
    document = json.loads(files["metadata.json"]) | {"version": version}
    if "created_at" in changes:
        document["created_at"] = changes["created_at"]
    files["metadata.json"] = json.dumps(document).encode()
    words = {"version": version, "status": "candidate", "history": ()} | changes
    return registry.register(root, msgspec.structs.replace(entry, **words), files)


def test_latest_goes_by_the_date_and_not_by_the_number(root):
    add(root, "2", created_at="2031-01-01T00:00:00Z")
    add(root, "3", created_at="2030-01-01T00:00:00Z")
    assert versions.get_latest(root, "SignalClassifier").version == "2"
    registry.archive(root, "SignalClassifier", "2", why="bad")
    assert versions.get_latest(root, "SignalClassifier").version == "3"
    assert versions.get_latest(root, "SignalClassifier", status=("production",)).version == "1"
    with pytest.raises(ModelRefused, match="no version that is shadow"):
        versions.get_latest(root, "SignalClassifier", status=("shadow",))
    with pytest.raises(ModelRefused, match="there are: SignalClassifier"):
        versions.get_latest(root, "Nobody")


def test_best_goes_by_a_metric(root):
    add(root, "2", metrics={"test_log_loss": 0.01, "test_auc": 0.2})
    best = versions.get_best
    assert best(root, "SignalClassifier", "test_log_loss").version == "2"
    assert best(root, "SignalClassifier", "test_auc", better="higher").version == "1"
    with pytest.raises(ModelRefused, match="there are: best_baseline_log_loss"):
        best(root, "SignalClassifier", "sharpe")


def test_two_versions_side_by_side(root):
    add(root, "2", metrics={"test_log_loss": 0.5})
    view = registry.View(root)
    first, second = view.find("SignalClassifier", "1"), view.find("SignalClassifier", "2")
    same = versions.compare(root, first, second)
    assert (same.features, same.agreement, same.largest) == ("", 1.0, 0.0)
    assert same.metrics["test_log_loss"][1] == 0.5
    assert same.calibration[1] is None
    assert set(same.drift.values()) == {0.0}
    other = versions.compare(root, first, view.find("TickMLP", "1"))
    assert 0 < other.agreement <= 1
    assert other.largest > 0
    assert json.dumps(other.as_json())


def test_lineage_is_a_tree_and_survives_a_circle(root):
    add(root, "2", parent="SignalClassifier:1")
    add(root, "3", parent="SignalClassifier:2")
    add(root, "4", parent="SignalClassifier:1")
    add(root, "5", parent="Gone:1")
    shown = [(n.entry.version, n.depth) for n in versions.lineage(root, "SignalClassifier")]
    assert shown == [("1", 0), ("2", 1), ("3", 2), ("4", 1), ("5", 0)]
    assert {n.entry.model_id for n in versions.lineage(root)} == {"SignalClassifier", "TickMLP"}
    document = json.loads((root / "registry.json").read_bytes())
    document["entries"][0]["parent"] = "SignalClassifier:3"
    (root / "registry.json").write_text(json.dumps(document))
    names = [n.entry.name for n in versions.lineage(root)]
    assert len(names) == len(set(names))


def start(root, version, times):
    command = [sys.executable, "-c", WRITER, str(root), version, str(times)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def test_fault_M16_writers_at_once_lose_nothing_and_readers_never_see_half(root):
    for version in ("2", "3"):
        add(root, version)
    writers = [start(root, version, 20) for version in ("2", "3")]
    reads = 0
    while any(writer.poll() is None for writer in writers):
        view = registry.View(root)
        assert view.problem == ""
        assert len(view.registry.entries) == 4
        reads += 1
    assert [writer.returncode for writer in writers] == [0, 0]
    assert reads > 0
    view = registry.View(root)
    for version in ("2", "3"):
        whys = [change.why for change in view.find("SignalClassifier", version).history]
        assert whys == [f"{version} {k}" for k in range(20)]


def test_fault_M16_a_writer_killed_at_any_place_leaves_a_whole_registry(root):
    add(root, "2")
    for kill in range(3):
        writer = start(root, "2", 100_000)
        until = time.monotonic() + 60
        wanted = len(registry.View(root).find("SignalClassifier", "2").history) + 2 + kill
        while len(registry.View(root).find("SignalClassifier", "2").history) < wanted:
            assert time.monotonic() < until
        writer.send_signal(signal.SIGKILL)
        writer.wait()
        view = registry.View(root)
        assert view.problem == ""
        other = "candidate" if view.find("SignalClassifier", "2").status == "shadow" else "shadow"
        registry.set_status(root, "SignalClassifier", "2", other, why="after", by="x")
    left = [name for name in os.listdir(root) if name.startswith(".registry")]
    assert left == []


def test_fault_M16_a_torn_registry_is_set_aside_and_the_next_change_repairs_it(root):
    path = root / "registry.json"
    torn = path.read_bytes()[:-200]
    path.write_bytes(torn)
    registry.set_status(root, "TickMLP", "1", "shadow", why="go on", by="x")
    view = registry.View(root)
    assert (view.problem, view.find("TickMLP", "1").status) == ("", "shadow")
    assert (root / "registry.torn.json").read_bytes() == torn
    path.write_bytes(torn)
    (root / "registry.last.json").unlink()
    with pytest.raises(ModelRefused) as caught:
        registry.archive(root, "TickMLP", "1", why="x")
    assert caught.value.code == "registry.torn"
    assert path.read_bytes() == torn
