"""`lab.py train` from data to a candidate, and one line for everything that cannot be."""

import json
from pathlib import Path

import pytest

import lab
from app.command_line import run
from app.train import read_spec, source_name, statement
from engine.errors import UsageError
from features.spec import FeatureSpec
from store.synth import SynthSettings, write_market

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def market(tmp_path_factory) -> Path:
    """Twelve hours of one synthetic instrument."""
    out = tmp_path_factory.mktemp("market") / "synth"
    settings = SynthSettings(symbols=1, hours=12, seed=5, predictability=0.8, rows_per_s=1)
    write_market(settings, out)
    return out


@pytest.fixture
def train(tmp_path, market, capsys):
    """Return a function that trains with these words and gives (code, out, err)."""
    spec = tmp_path / "spec.json"
    spec.write_bytes(FeatureSpec((("returns_1", {}), ("rsi_14", {}))).to_json())

    def call(recipe, *words, data=market):
        folders = ["--artifacts", str(tmp_path / "artifacts"), "--cache", str(tmp_path / "tapes")]
        given = ["--data", str(data), "--spec", str(spec), *folders, *words]
        code = run("lab.py", lambda: lab.main(["train", recipe, *given]))
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return call


def test_bars_become_a_candidate_with_its_figures(train, tmp_path, market):
    code, out, err = train("signal_classifier", "--trees", "5", "--horizon", "5", "--json")
    assert (code, err) == (0, "")
    found = json.loads(out)
    assert found["entry"]["status"] == "candidate"
    assert set(found["test"]) == {"model", "always_hold", "class_prior", "logistic"}
    card = (Path(found["folder"]) / "model_card.md").read_text()
    assert statement([market]) in card
    assert str(tmp_path) not in card
    first = (Path(found["folder"]) / "model.onnx").read_bytes()
    code, out, _ = train("signal_classifier", "--trees", "5", "--horizon", "5")
    assert code == 0
    assert "SignalClassifier:2 is a candidate" in out.replace("\n", " ")
    assert max(len(line.rstrip()) for line in out.splitlines()[:8]) <= 80
    again = tmp_path / "artifacts" / "SignalClassifier" / "2" / "model.onnx"
    assert again.read_bytes() == first


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("--trees", "0"), 2, "trees is 0"),
        (("--row-share", "2"), 2, "row_share is 2"),
        (("--horizon", "700"), 2, "too few"),
        (("--symbols", "DOGE/USDT"), 2, "DOGEUSDT"),
        (("--tree", "5"), 2, "--trees"),
        (("--trees", "many"), 2, "--trees"),
    ],
)
def test_settings_that_cannot_be_are_one_line(train, tmp_path, words, code, said):
    try:
        found, out, err = train("signal_classifier", *words)
    except SystemExit as stop:  # argparse ends the program itself
        assert stop.code == code
        return
    assert (found, out) == (code, "")
    assert said in err
    assert err.count("\n") == 1
    assert not (tmp_path / "artifacts").exists()


def test_missing_data_is_one_line(train, tmp_path):
    code, _, err = train("tick_mlp", data=tmp_path / "gone")
    assert code == 2
    assert "gone" in err
    assert err.count("\n") == 1


def test_specs_are_found_by_name_and_unknown_ones_list_the_known(monkeypatch):
    monkeypatch.chdir(ROOT)
    assert len(read_spec("signal_classifier_28")) == 28
    with pytest.raises(UsageError, match=r"known are .*signal_classifier_28, tfa_55, tick_mlp"):
        read_spec("signal")


def test_data_is_called_by_its_last_name(tmp_path):
    assert source_name([tmp_path / "a", tmp_path / "b"]) == "a, b"
    assert statement([tmp_path]) == ""
