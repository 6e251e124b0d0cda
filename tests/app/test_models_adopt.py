"""A model with features of its own is adopted end to end; a planted mismatch is named."""

import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import polars
import pytest

import lab
from app.command_line import run
from app.matrix import read_matrix
from engine.errors import DataError
from ml import registry
from tests.ml.sequence_models import model_of
from tests.ml.test_importing import binary

ROOT = Path(__file__).resolve().parents[2]
BARS, MINUTE = 420, 60_000_000_000
START = 1_736_121_600_000_000_000
COLUMNS = ("ret_1", "RSI", "StochK", "mom10")  # what they call returns_1, rsi_14, stoch_k, ...


def candles() -> dict[str, np.ndarray]:
    """Draw bars of one instrument."""
    rng = np.random.default_rng(4)
    close = np.round(100 * np.exp(np.cumsum(2e-3 * rng.standard_normal(BARS))), 2)
    opened = np.r_[100.0, close[:-1]]
    high = np.maximum(opened, close) + np.round(0.2 * rng.random(BARS), 2)
    low = np.minimum(opened, close) - np.round(0.2 * rng.random(BARS), 2)
    stamps = START + MINUTE * np.arange(BARS)
    return {"ts_event": stamps, "open": opened, "high": high, "low": low, "close": close,
            "volume": np.round(9 * rng.random(BARS) + 0.1, 3)}  # fmt: skip


def wilder(x: np.ndarray, span: int, seeded: bool) -> np.ndarray:
    """Smooth as Wilder did; or, not seeded by a mean, as pandas' ewm(adjust=False) begins."""
    out = np.full(len(x), np.nan)
    first = span if seeded else 1
    value = x[1 : span + 1].mean() if seeded else x[1]
    out[first] = value
    for k in range(first + 1, len(x)):
        value += (x[k] - value) / span
        out[k] = value
    return out


def features(bars: dict[str, np.ndarray], seeded: bool = True) -> dict[str, np.ndarray]:
    """Compute what the model was trained on, with code of our own."""
    close, frame = bars["close"], polars.DataFrame(bars)
    move = np.diff(close, prepend=np.nan)
    up, down = (wilder(np.where(np.isnan(move), 0, np.maximum(s * move, 0)), 14, seeded)
                for s in (1, -1))  # fmt: skip
    low, high = frame["low"].rolling_min(14).to_numpy(), frame["high"].rolling_max(14).to_numpy()
    shifted = frame["close"].shift(10).to_numpy()
    return {
        "RSI": 100 * up / (up + down),
        "ret_1": frame["close"].pct_change().to_numpy(),
        "StochK": 100 * (close - low) / (high - low),
        "mom10": 100 * (close - shifted) / shifted,
    }


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """Make a data folder, and a folder with the model and what its maker says of it."""
    place = tmp_path_factory.mktemp("adopt")
    bars = candles()
    folder = place / "data" / "demo" / "BTCUSDT" / "bars"
    folder.mkdir(parents=True)
    polars.DataFrame(bars).write_parquet(folder / "000000.parquet")
    model = place / "Theirs"
    model.mkdir()
    (model / "model.onnx").write_bytes(binary(columns=3, last="Softmax"))
    about = {"model_id": "Theirs", "version": "7", "feature_names": list(COLUMNS),
             "mean": [0.0, 50.0, 50.0, 0.0], "std": [0.002, 12.0, 30.0, 0.6],
             "actions": ["sell", "hold", "buy"]}  # fmt: skip
    (model / "metadata.json").write_text(json.dumps(about))
    return SimpleNamespace(place=place, bars=bars, data=place / "data", model=model)


@pytest.fixture
def adopt(world, tmp_path, capsys):
    """Return a function that writes a matrix, adopts, and gives (code, what --json says, root)."""
    root = tmp_path / "artifacts"

    def call(columns, *words, text=False, stamps=None):
        matrix = tmp_path / "X.parquet"
        ts = world.bars["ts_event"] if stamps is None else stamps
        polars.DataFrame({"timestamp": ts // 1_000_000, **columns}).write_parquet(matrix)
        arguments = ["models", "adopt", str(world.model), "--matrix", str(matrix), "--data",
                     str(world.data), "--artifacts", str(root), "--cache",
                     str(world.place / "tapes"), *words]  # fmt: skip
        arguments += [] if text else ["--json"]
        code = run("lab.py", lambda: lab.main(arguments))
        out, err = capsys.readouterr()
        assert err == ""
        return code, out if text else json.loads(out), root

    return call


def causes(found) -> dict[str, str]:
    return {column["column"]: column["cause"] for column in found["columns"]}


def test_a_model_whose_columns_agree_becomes_a_candidate(adopt, world, capsys):
    code, found, root = adopt(features(world.bars))
    assert causes(found) == dict.fromkeys(COLUMNS, "agrees")
    assert (code, found["ok"], found["stamp"]) == (0, True, "open")
    entry = registry.View(root).find("Theirs", "7")
    assert entry.status == "candidate"
    assert entry.input_features == ("returns_1", "rsi_14", "stoch_k", "momentum_10")
    assert entry.normalisation.where == "metadata"
    assert [finding.ok for finding in registry.verify(root)] == [True]
    row = '{"rsi_14": 60, "returns_1": 0.001, "stoch_k": 80, "momentum_10": 0.4}'
    path = root.parent / "row.json"
    path.write_text(row)
    words = ["models", "predict", "Theirs:7", "--row", str(path), "--artifacts", str(root)]
    assert run("lab.py", lambda: lab.main([*words, "--json"])) == 0
    answer = json.loads(capsys.readouterr().out)["rows"][0]
    assert answer["action"] in ("SELL", "HOLD", "BUY")
    assert sum(answer["answers"].values()) == pytest.approx(1, abs=1e-5)


def test_a_model_of_windows_becomes_a_candidate(adopt, world, monkeypatch, tmp_path):
    """Its golden windows are rows of the matrix that follow each other."""
    folder = tmp_path / "Windows"
    folder.mkdir()
    (folder / "model.onnx").write_bytes(model_of(8, len(COLUMNS)))
    about = json.loads((world.model / "metadata.json").read_text())
    (folder / "metadata.json").write_text(json.dumps({**about, "model_id": "Windows"}))
    (folder / "model.meta.json").write_text(json.dumps({"sequence_length": 8}))
    monkeypatch.setattr(world, "model", folder)
    code, found, root = adopt(features(world.bars))
    assert (code, found["ok"]) == (0, True)
    loaded = registry.load_any(root, registry.View(root).find("Windows", "7"))
    assert loaded.row_shape == (8, len(COLUMNS))
    assert loaded.golden.x.shape[1:] == loaded.row_shape
    assert (loaded.golden.x[:, 1:, 2] != loaded.golden.x[:, :-1, 2]).any()
    assert [finding.ok for finding in registry.verify(root)] == [True]


def test_times_of_the_close_are_understood(adopt, world):
    code, found, _ = adopt(features(world.bars), "--check-only",
                           stamps=world.bars["ts_event"] + MINUTE)  # fmt: skip
    assert (code, found["stamp"], found["model"]) == (0, "close", None)


def test_another_seed_is_named(adopt, world):
    code, found, root = adopt(features(world.bars, seeded=False))
    assert (code, found["ok"], found["model"]) == (1, False, None)
    assert causes(found) == {"RSI": "seed", "ret_1": "agrees", "StochK": "agrees",
                             "mom10": "agrees"}  # fmt: skip
    assert not (root / "registry.json").exists()


def test_a_shifted_column_is_named(adopt, world):
    columns = features(world.bars)
    columns["StochK"] = np.r_[np.nan, columns["StochK"][:-1]]
    columns["mom10"] = np.r_[columns["mom10"][1:], np.nan]
    code, found, _ = adopt(columns)
    assert code == 1
    assert (causes(found)["StochK"], causes(found)["mom10"]) == ("behind", "ahead")
    assert [c["shift"] for c in found["columns"]] == [0, 0, -1, 1]


def test_a_swapped_pair_is_named(adopt, world):
    columns = features(world.bars)
    columns["RSI"], columns["StochK"] = columns["StochK"], columns["RSI"]
    code, found, _ = adopt(columns)
    assert code == 1
    assert (causes(found)["RSI"], causes(found)["StochK"]) == ("swapped", "swapped")


def test_the_report_reads_well_at_80_columns(adopt, world):
    columns = features(world.bars, seeded=False)
    columns["ret_1"] = 100 * columns["ret_1"]
    code, out, _ = adopt(columns, text=True)
    assert code == 1
    assert max(len(line.rstrip()) for line in out.splitlines()) <= 80
    assert "not registered" in out
    flat = " ".join(out.split())
    assert "ret_1 is 100 times the feature" in flat
    assert "RSI starts elsewhere" in flat


def test_a_column_without_a_feature_says_what_to_add(adopt, world, tmp_path):
    about = json.loads((world.model / "metadata.json").read_text())
    other = tmp_path / "Moody"
    other.mkdir()
    (other / "model.onnx").write_bytes((world.model / "model.onnx").read_bytes())
    about["feature_names"][3] = "twitter_mood"
    (other / "metadata.json").write_text(json.dumps(about))
    columns = features(world.bars)
    columns["twitter_mood"] = columns.pop("mom10")
    matrix = tmp_path / "M.csv"
    stamps = polars.from_epoch(polars.Series(world.bars["ts_event"]), "ns")
    polars.DataFrame({"time": stamps, **columns}).write_csv(matrix)
    words = ["models", "adopt", str(other), "--matrix", str(matrix), "--data", str(world.data),
             "--artifacts", str(tmp_path / "a"), "--cache", str(world.place / "tapes")]  # fmt: skip
    assert run("lab.py", lambda: lab.main(words)) == 1
    mapped = [*words, "--map", "twitter_mood=momentum_10"]
    assert run("lab.py", lambda: lab.main(mapped)) == 0
    assert registry.View(tmp_path / "a").find("Theirs", "7").status == "candidate"


@pytest.mark.parametrize(
    ("column", "first"),
    [
        ([1_736_121_600], START),
        ([1_736_121_600_000], START),
        ([1_736_121_600_000_000], START),
        ([START], START),
        (["2025-01-06T00:00:00"], START),
    ],
)
def test_times_in_any_usual_form(tmp_path, column, first):
    path = tmp_path / "m.parquet"
    polars.DataFrame({"Time": column, "x": [1.0]}).write_parquet(path)
    assert read_matrix(path).ts.tolist() == [first]


def test_a_matrix_that_cannot_be_read_is_one_line(tmp_path):
    path = tmp_path / "m.csv"
    path.write_text("a,b\n1,2\n")
    with pytest.raises(DataError, match="no column of times"):
        read_matrix(path)
    path.write_bytes(b"\x00\xff" * 50)
    with pytest.raises(DataError):
        read_matrix(path)


@pytest.mark.slow
@pytest.mark.parametrize("seed", ["mean", "first"])
def test_the_walk_through_of_the_models_page(tmp_path, capsys, seed):
    folder = tmp_path / "own"
    script = [sys.executable, "docs/scripts/own_model.py", "data/sample/synthetic/BTCUSDT"]
    done = subprocess.run([*script, str(folder), "--seed", seed], cwd=ROOT, check=False)
    assert done.returncode == 0
    words = ["models", "adopt", str(folder), "--matrix", str(folder / "X.parquet"), "--data",
             str(ROOT / "data" / "sample"), "--symbols", "BTC/USDT", "--answers",
             "p_sell,p_hold,p_buy", "--artifacts", str(tmp_path / "a"), "--json",
             "--cache", str(tmp_path / "tapes")]  # fmt: skip
    code = run("lab.py", lambda: lab.main(words))
    found = json.loads(capsys.readouterr().out)
    assert (code, found["of"]) == (int(seed == "first"), 240)
    assert causes(found)["RSI"] == ("agrees" if seed == "mean" else "seed")
