"""`lab.py models` for governance: each verb's words, its JSON, its one line of error."""

import json

import numpy as np
import pytest

from app.model_evidence import evidence_of
from engine.audit_layout import AUDIT, Record
from engine.events import HoldReason
from engine.json_files import to_json
from engine.run_files import AUDIT_RECORDS, NAMES, ModelName, Names, RunName
from ml import registry
from tests.app.test_models import models  # noqa: F401
from tests.ml.conftest import NAMES as FEATURES
from tests.ml.conftest import root, toy_spec, trained_root  # noqa: F401
from tests.ml.families.make import HERE


def lines(out: str) -> list[str]:
    found = [line.rstrip() for line in out.splitlines()]
    assert max(len(line) for line in found) <= 80
    return found


def test_gates_say_what_holds(models):  # noqa: F811
    code, out, _ = models("gates", "TickMLP:1")
    assert code == 0
    assert len(lines(out)) >= 9
    assert "models promote TickMLP:1" in out
    code, out, _ = models("gates", "TickMLP:1", "--json")
    assert json.loads(out)["ok"] is True


def test_promotion_asks_the_gates_of_the_rules(models, tmp_path):  # noqa: F811
    rules = tmp_path / "rules.yaml"
    rules.write_text("gates: {min_shadow_days: 2}\n")
    code, out, err = models("promote", "TickMLP:1", "--rules", str(rules))
    assert (code, out, err.count("\n")) == (1, "", 1)
    assert "--waive shadow_days" in err
    code, _, _ = models("gates", "TickMLP:1", "--rules", str(rules))
    assert code == 1
    words = ("--rules", str(rules), "--waive", "shadow_days", "--why", "first one")
    assert models("promote", "TickMLP:1", *words)[0] == 0
    out = models("show", "TickMLP:1")[1]
    assert "WAIVED" in out
    lines(out)


def test_latest_best_compare_lineage(models):  # noqa: F811
    assert models("latest", "TickMLP")[1].startswith("TickMLP:1 (candidate)")
    assert "test_log_loss" in models("best", "SignalClassifier")[1]
    found = json.loads(models("best", "SignalClassifier", "--json")[1])
    assert found["model"]["version"] == "1"
    code, out, _ = models("compare", "SignalClassifier", "TickMLP:1")
    assert code == 0
    assert "best class equal in" in " ".join(out.split())
    lines(out)
    assert json.loads(models("compare", "SignalClassifier", "TickMLP:1", "--json")[1])["rows"] > 0
    assert lines(models("lineage")[1])[0].startswith("SignalClassifier:1 production")
    assert len(json.loads(models("lineage", "--json")[1])["models"]) == 2


def test_shadow_and_rollback_change_the_status(models):  # noqa: F811
    assert models("shadow", "TickMLP:1", "--why", "watch")[1] == "TickMLP:1 is shadow now (watch)\n"
    code, _, err = models("rollback", "SignalClassifier", "--why", "x")
    assert code == 1
    assert "has replaced no version" in err


def test_a_file_of_another_kind_is_registered_and_asked(models, root, tmp_path):  # noqa: F811
    spec, metrics = tmp_path / "spec.json", tmp_path / "metrics.json"
    spec.write_bytes(toy_spec().to_json())
    metrics.write_text('{"test_log_loss": 0.9}')
    words = ("--spec", str(spec), "--file-kind", "lightgbm", "--metrics", str(metrics))
    code, out, err = models("register", "Native:a", str(HERE / "lightgbm.txt"), *words)
    assert (code, err) == (0, "")
    assert out.startswith("Native:a is a candidate now (lightgbm, ")
    assert registry.View(root).find("Native", "a").metrics == {"test_log_loss": 0.9}
    row = tmp_path / "row.csv"
    row.write_text(",".join(FEATURES) + "\n1,2,3,4\n0,,0,0\n")
    code, out, _ = models("predict", "Native:a", "--row", str(row))
    assert code == 0
    assert len(lines(out)) == 3


def test_a_window_and_a_network_are_said_where_they_belong(models, root, tmp_path):  # noqa: F811
    spec = tmp_path / "spec.json"
    spec.write_bytes(toy_spec().to_json())
    words = ("register", "Cnn:1", str(HERE / "cnn.onnx"), "--spec", str(spec))
    code, _, err = models(*words)
    assert (code, "served is float [1, 4]" in err) == (1, True)
    code, _, err = models(*words, "--factory", "networks.py:Cnn")
    assert (code, "--file-kind torch" in err) == (2, True)
    code, _, err = models(*words, "--sequence-length", "1000")
    assert (code, "0 to 256" in err) == (2, True)
    code, _, err = models(*words, "--sequence-length", "8")
    assert (code, err) == (0, "")
    assert registry.View(root).find("Cnn", "1").sequence_length == 8
    words = ("register", "L:1", str(HERE / "lstm.pt"), "--spec", str(spec), "--file-kind", "torch")
    code, _, err = models(*words, "--factory", "networks.py:LstmAttention")
    assert (code, "allow_custom" in err) == (1, True)


@pytest.mark.parametrize(
    ("row", "word"),
    [
        ('{"returns_1": 1}', "missing: momentum_10"),
        ("[1, 2, 3]", "3 numbers"),
        ('{"returns_1": "x", "rsi_14": 1, "stoch_k": 1, "momentum_10": 1}', "no number"),
        ("[]", "0 rows"),
        ("{", "row.json"),
    ],
)
def test_rows_that_do_not_fit_are_one_line(models, tmp_path, row, word):  # noqa: F811
    path = tmp_path / "row.json"
    path.write_text(row)
    code, out, err = models("predict", "SignalClassifier", "--row", str(path))
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert word in err


@pytest.mark.parametrize(
    ("words", "code", "word"),
    [
        (("best", "SignalClassifier", "--metric", "sharpe"), 1, "there are: best_baseline"),
        (("latest", "Nobody"), 1, "there are: SignalClassifier"),
        (("compare", "SignalClassifier", "Nobody"), 1, "there are: SignalClassifier"),
        (("gates", "TickMLP"), 2, "ID:VERSION"),
        (("predict", "SignalClassifier", "--row", "no.json"), 2, "no.json"),
        (("register", "X", "no.bin", "--spec", "no.json"), 2, "no.bin"),
        (("adopt", "no.onnx", "--matrix", "x", "--data", "y"), 2, "no.onnx"),
        (("gates", "TickMLP:1", "--rules", "no.yaml"), 2, "no.yaml"),
        (("gates", "TickMLP:1", "--runs", "no_run"), 2, "no_run"),
    ],
)
def test_what_cannot_be_done_is_one_line(models, words, code, word):  # noqa: F811
    found, out, err = models(*words)
    assert (found, out) == (code, "")
    assert word in err
    assert err.count("\n") == 1


def test_runs_are_evidence_only_of_the_very_bytes(tmp_path):
    run = tmp_path / "run"
    (run / "audit").mkdir(parents=True)
    names = Names(
        instruments=(),
        models=(
            ModelName(index=0, name="a", id="A", version="1", sha256="ab" * 32),
            ModelName(index=1, name="b", id="B", version="1", sha256="cd" * 32),
        ),
        run=RunName(id="run", mode="paper"),
    )
    (run / NAMES).write_bytes(to_json(names))
    day = 86_400 * 10**9
    rows = [(0, 0, HoldReason.NONE), (1, 0, HoldReason.MODEL_NAN), (2, 1, HoldReason.NONE),
            (3, 0, HoldReason.NOT_WARM), (4, 0, HoldReason.BELOW_THRESHOLD)]  # fmt: skip
    records = np.zeros(len(rows), AUDIT)
    for record, (k, model, reason) in zip(records, rows):
        record["ts"], record["kind"] = 10**18 + k * day, Record.DECISION
        record["model"], record["aux"] = model, reason
    records.tofile(run / AUDIT_RECORDS)
    found = evidence_of([run, run], "ab" * 32)
    assert (found.days, found.decisions, found.strikes, found.runs) == (4.0, 3, 1, ("run",))
    assert evidence_of([run], "ef" * 32).decisions == 0
