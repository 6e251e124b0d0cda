"""Promotion gates are measured, refuse by name, and are recorded with who and why."""

import json
from types import SimpleNamespace

import msgspec
import numpy as np
import pytest

from config.governance import Gates, load_governance
from config.problem import ConfigProblem
from ml import registry
from ml.governance import GATES, Evidence, look_ahead
from ml.manifest import FILES
from ml.refusal import ModelRefused


def second(root, **changes):
    """Register SignalClassifier:2, the same model with other claims."""
    entry = registry.View(root).find("SignalClassifier", "1")
    files = {name: (root / "SignalClassifier" / "1" / name).read_bytes() for name in FILES}
    document = json.loads(files["metadata.json"]) | {"version": "2"}
    files["metadata.json"] = json.dumps(document).encode()
    changes = {"version": "2", "status": "candidate", "history": ()} | changes
    return registry.register(root, msgspec.structs.replace(entry, **changes), files)


def judged(root, gates=None, **words) -> dict:
    found = registry.assess(root, "SignalClassifier", "2", gates or Gates(), **words)
    assert [gate.gate for gate in found] == list(GATES)
    return {gate.gate: gate for gate in found}


def test_a_version_as_good_as_what_serves_holds_every_gate(root):
    second(root)
    assert all(gate.held for gate in judged(root).values())
    entry = registry.promote(root, "SignalClassifier", "2", why="as good", by="eva", gates=Gates())
    change = entry.history[-1]
    assert (change.by, change.why, change.status) == ("eva", "as good", "production")
    assert [gate.gate for gate in change.gates] == list(GATES)
    assert registry.View(root).find("SignalClassifier").history[-1] == change


@pytest.mark.parametrize(
    ("changes", "gates", "gate"),
    [
        ({"metrics": {"test_log_loss": 9.0, "test_calibration_error": 0.01}}, {}, "metric"),
        ({"metrics": {"test_log_loss": 0.1}}, {}, "calibration_error"),
        ({"metrics": {"test_log_loss": 0.1, "test_calibration_error": 0.3}}, {},
         "calibration_error"),
        ({"metrics": {"test_calibration_error": 0.01}}, {}, "metric"),
        ({"latency_us": 900.0}, {}, "latency"),
        ({}, {"min_shadow_days": 1.0}, "shadow_days"),
        ({}, {"min_shadow_decisions": 10}, "shadow_decisions"),
    ],
)  # fmt: skip
def test_a_gate_that_does_not_hold_keeps_what_serves(root, changes, gates, gate):
    second(root, **changes)
    rules = Gates(**gates)
    assert [name for name, found in judged(root, rules).items() if not found.held] == [gate]
    before = (root / "registry.json").read_bytes()
    with pytest.raises(ModelRefused, match=f"--waive {gate}") as caught:
        registry.promote(root, "SignalClassifier", "2", why="hope", gates=rules)
    assert caught.value.code == "model.gate"
    assert (root / "registry.json").read_bytes() == before
    entry = registry.promote(
        root, "SignalClassifier", "2", why="known", by="eva", gates=rules, waive=[gate]
    )
    assert [g.gate for g in entry.history[-1].gates if g.waived] == [gate]


def test_a_larger_latency_is_allowed_on_a_thread(root):
    second(root, latency_us=900.0, placement="thread")
    assert judged(root)["latency"].held


def test_higher_can_be_better_and_a_little_worse_can_be_allowed(root):
    second(root, metrics={"test_auc": 0.70, "test_calibration_error": 0.01})
    rules = Gates(metric="test_auc", metric_better="higher")
    champion = registry.View(root).find("SignalClassifier").metrics["test_auc"]
    assert judged(root, rules)["metric"].held == (champion <= 0.70)
    allowed = msgspec.structs.replace(rules, max_metric_worse=1.0)
    assert judged(root, allowed)["metric"].held


def test_shadow_runs_count_and_strikes_count_against_it(root):
    second(root)
    rules = Gates(min_shadow_days=1, min_shadow_decisions=100)
    good = Evidence(days=2.0, decisions=150)
    assert all(gate.held for gate in judged(root, rules, evidence=good).values())
    bad = Evidence(days=2.0, decisions=150, strikes=1)
    assert not judged(root, rules, evidence=bad)["shadow_strikes"].held


def test_an_unknown_waiver_names_the_known(root):
    second(root)
    with pytest.raises(ModelRefused, match="golden_rows, metric"):
        registry.promote(root, "SignalClassifier", "2", why="x", gates=Gates(), waive=["luck"])


def test_a_feature_that_looks_ahead_is_found_by_cutting_the_tape(root):
    loaded = registry.load(root, "SignalClassifier")
    assert look_ahead(loaded) == ""

    def peeking(spec, rows):
        n = len(rows)
        x = np.zeros((n, len(spec)), np.float32)
        x[:, 1] = rows["f3"].mean()  # knows the whole slice
        return SimpleNamespace(x=x, row=np.arange(n))

    assert look_ahead(loaded, peeking).startswith(f"{loaded.spec.names[1]} at row 0 changes")


def test_the_rules_are_read_strictly(tmp_path):
    assert load_governance().gates == Gates()
    path = tmp_path / "rules.yaml"
    path.write_text("gates: {min_shadow_days: 3}\nallow_pickle: true\n")
    assert load_governance(path).gates.min_shadow_days == 3
    for text in (
        "gates: {metrik: x}\n",
        "allow_pickle: 1\n",
        "gates: {max_latency_inline_us: -1}\n",
        "gates: {metric_better: best}\n",
        "other: 1\n",
    ):
        path.write_text(text)
        with pytest.raises(ConfigProblem) as caught:
            load_governance(path)
        assert "\n" not in str(caught.value)


def test_rollback_goes_to_what_served_before_and_further_back_the_next_time(root):
    second(root)
    registry.promote(root, "SignalClassifier", "2", why="newer")
    entry = registry.rollback(root, "SignalClassifier", why="loses", by="eva")
    assert (entry.version, entry.status, entry.history[-1].why) == ("1", "production",
                                                                    "rollback: loses")  # fmt: skip
    view = registry.View(root)
    assert view.find("SignalClassifier", "2").status == "archived"
    assert "rolled back: loses" in view.find("SignalClassifier", "2").history[-1].why
    with pytest.raises(ModelRefused, match="models rollback"):
        registry.rollback(root, "SignalClassifier", why="again")
    entry = registry.rollback(root, "SignalClassifier", why="try", version="2")
    assert entry.version == "2"


def test_fault_M20_a_bad_or_missing_target_leaves_what_serves(root):
    with pytest.raises(ModelRefused) as caught:
        registry.rollback(root, "SignalClassifier", why="nothing before")
    assert caught.value.code == "model.missing"
    second(root)
    registry.promote(root, "SignalClassifier", "2", why="newer")
    path = root / "SignalClassifier" / "1" / "model.onnx"
    path.write_bytes(path.read_bytes()[:-1])
    before = (root / "registry.json").read_bytes()
    with pytest.raises(ModelRefused) as caught:
        registry.rollback(root, "SignalClassifier", why="loses")
    assert caught.value.code == "model.hash"
    assert (root / "registry.json").read_bytes() == before
    with pytest.raises(ModelRefused, match="there are: SignalClassifier"):
        registry.rollback(root, "Nobody", why="x")
