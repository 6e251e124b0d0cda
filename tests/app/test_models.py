"""`lab.py models` reads well, prints one JSON object on demand, and fails with one line."""

import json
import shutil
import subprocess
import sys

import pytest

import lab
from app.command_line import run
from tests.ml.conftest import root, toy_spec, trained_root  # noqa: F401
from tests.ml.heavy_models import wide


@pytest.fixture
def models(root, capsys):  # noqa: F811
    """Return a function that runs a verb on the artifacts and gives (code, out, err)."""

    def call(*words):
        arguments = ["models", *words, "--artifacts", str(root)]
        code = run("lab.py", lambda: lab.main(arguments))
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return call


def test_list_is_one_line_a_version_within_80_columns(models):
    code, out, err = models("list")
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert len(lines) == 3
    assert max(len(line.rstrip()) for line in lines) <= 80
    assert "SignalClassifier:1" in out
    assert "production" in out


def test_list_as_json_is_one_object(models):
    code, out, _ = models("list", "--json")
    found = json.loads(out)
    assert code == 0
    assert [entry["status"] for entry in found["models"]] == ["production", "candidate"]


def test_show_means_the_production_version(models):
    code, out, _ = models("show", "SignalClassifier")
    assert code == 0
    assert "SignalClassifier:1 (production)" in out
    assert max(len(line.rstrip()) for line in out.splitlines()) <= 80
    assert json.loads(models("show", "TickMLP:1", "--json")[1])["model"]["version"] == "1"


def test_verify_names_what_is_broken_and_fails(models, root):  # noqa: F811
    assert models("verify")[0] == 0
    (root / "TickMLP" / "1" / "model_card.md").write_text("We promise a profit.")
    code, out, _ = models("verify")
    assert code == 1
    assert "SignalClassifier:1 (production): ok" in out
    assert "model_card.md is not the registered one" in out
    code, out, _ = models("verify", "--json")
    found = json.loads(out)
    assert code == 1
    assert [row["code"] for row in found["models"]] == ["", "model.hash"]
    assert models("verify", "SignalClassifier")[0] == 0


def test_promote_and_archive_say_what_they_did(models):
    code, out, _ = models("promote", "TickMLP:1", "--why", "better", "--by", "eva")
    assert (code, out) == (0, "TickMLP:1 is production now (better)\n")
    code, out, _ = models("archive", "TickMLP:1", "--json")
    assert json.loads(out)["model"]["history"][-2]["by"] == "eva"
    assert json.loads(out)["model"]["status"] == "archived"


@pytest.mark.parametrize(
    ("words", "code", "word"),
    [
        (("promote", "TickMLP"), 2, "ID:VERSION"),
        (("promote", "TickMLP:"), 2, "ID:VERSION"),
        (("promote", "TickMLP:7"), 1, "it has: 1"),
        (("promote", "SignalClassifier:1"), 1, "production already"),
        (("show", "Nobody"), 1, "there are: SignalClassifier, TickMLP"),
        (("show", "../../etc"), 1, "model.path"),
        (("verify", "TickMLP:7"), 1, "it has: 1"),
        (("import", "--onnx", "no.onnx", "--spec", "no.json", "--id", "X"), 2, "no.onnx"),
    ],
)
def test_what_cannot_be_done_is_one_line(models, words, code, word):
    found, out, err = models(*words)
    assert (found, out) == (code, "")
    assert word in err
    assert err.count("\n") == 1


def test_no_artifacts_folder_is_one_line(models, root):  # noqa: F811
    shutil.rmtree(root)
    code, _, err = models("list")
    assert code == 1
    assert "make demo-models" in err


def test_looking_at_models_loads_no_training_library():
    program = (
        "import sys, lab; sys.argv=['lab.py']\n"
        "import app.models, ml.registry, ml.model_interface, ml.importing, ml.publish\n"
        "bad = {'lightgbm','sklearn','onnx','onnxmltools','pandas','torch','polars',\n"
        "       'onnxruntime'} & set(sys.modules)\n"
        "sys.exit(str(bad) if bad else 0)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--placement", "thread"), "on a thread of its own"),
        (("--placement", "inline", "--cadence", "bar:1m"), "in the hot path"),
    ],
)
def test_an_import_says_where_it_is_served(models, tmp_path, words, said):
    onnx, spec = tmp_path / "m.onnx", tmp_path / "spec.json"
    onnx.write_bytes(wide(4, width=8))
    spec.write_bytes(toy_spec().to_json())
    code, _, err = models("import", "--onnx", str(onnx), "--spec", str(spec), "--id", "M", *words)
    assert code == 0, err
    out = models("show", "M:1")[1]
    assert said in out
    assert ("bar:1m" in out) == ("--cadence" in words)


def test_an_import_refuses_a_cadence_that_is_none(models, tmp_path):
    (tmp_path / "f").write_bytes(b"")
    words = ("--onnx", str(tmp_path / "f"), "--spec", str(tmp_path / "f"), "--id", "M")
    code, _, err = models("import", *words, "--cadence", "sometimes")
    assert code == 2
    assert "--cadence sometimes" in err
