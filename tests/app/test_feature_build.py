"""`lab.py features build`: rows of the trading kernel, at the times at which they were known."""

import json
from pathlib import Path

import numpy as np
import pytest

import lab
from app import feature_build
from app.collect import collect_rows
from app.command_line import run
from app.feature_build import fresh_snapshot, read_at
from app.feature_data import open_named
from engine.errors import DataError
from features.identity import kernel_identity
from features.spec import FeatureSpec
from ml.training.as_of import Labels, join_as_of

ROOT = Path(__file__).resolve().parents[2]
SAMPLE = ROOT / "data" / "sample"
SPEC = FeatureSpec((("returns_1", {}), ("rsi_14", {})))  # other tests compile it too
MINUTE = 60_000_000_000


@pytest.fixture
def build(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, capsys):  # type: ignore[no-untyped-def]
    """Return a function that builds with these words and returns what it printed."""
    spec = tmp_path / "mine.json"
    spec.write_bytes(SPEC.to_json())
    cache = tmp_path_factory.getbasetemp() / "tapes"

    def call(*words: str, code: int = 0) -> dict:
        given = ["features", "build", "--spec", str(spec), "--data", str(SAMPLE), "--json"]
        given += ["--cache", str(cache), *words]
        assert run("lab.py", lambda: lab.main(given)) == code
        out = capsys.readouterr().out
        return json.loads(out) if out else {}

    return call


def test_a_file_holds_what_the_kernel_saw_and_when(build, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    file = tmp_path / "x.parquet"
    made = build("--out", str(file))
    assert (made["fresh"], made["manifest"]["spec_sha256"]) == (False, SPEC.sha256)
    assert made["manifest"]["kernel_identity"] == kernel_identity(SPEC)
    assert str(tmp_path) not in json.dumps(made["manifest"])
    tape = open_named([SAMPLE], (), tmp_path / "tapes")
    settings, cadence = read_at(tape, SPEC)
    found = collect_rows(tape, SPEC, cadence, settings)
    snapshot = fresh_snapshot(file, SPEC)
    for at, instrument in enumerate(tape.instruments):
        rows, own = snapshot.rows(instrument.name), found.instrument == at
        assert rows.x.tobytes() == found.x[own].tobytes()
        assert np.array_equal(rows.ts_available, found.ts[own])
        assert np.array_equal(rows.valid, found.valid[own])
        assert (rows.ts_recv <= rows.ts_available).all()
        assert (rows.ts_available - rows.ts_event < 2 * MINUTE).all()
        assert (np.diff(rows.ts_available) > 0).all()
        known, seen = snapshot.as_of(instrument.name, rows.ts_available - 1)
        assert not known[0]
        assert seen.x[1:].tobytes() == rows.x[:-1].tobytes()


def test_built_twice_the_bytes_are_the_same(build, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    a, b = tmp_path / "a", tmp_path / "b"
    first = build("--store", str(a))
    assert build("--store", str(a))["fresh"] is True
    build("--store", str(b))
    files = sorted(path.relative_to(a) for path in a.rglob("*") if path.is_file())
    assert len(files) == 1 + len(first["manifest"]["parts"])
    before = [(a / file).read_bytes() for file in files]
    assert before == [(b / file).read_bytes() for file in files]
    assert build("--store", str(a), "--again")["fresh"] is False
    assert before == [(a / file).read_bytes() for file in files]


def test_a_stale_one_is_refused_and_made_anew(
    build, tmp_path: Path, capsys, monkeypatch: pytest.MonkeyPatch
) -> None:  # type: ignore[no-untyped-def]
    file = tmp_path / "x.parquet"
    build("--out", str(file), "--symbols", "BTCUSDT")
    with pytest.raises(DataError, match="stale: spec"):
        fresh_snapshot(file, FeatureSpec((("returns_5", {}),)))
    with monkeypatch.context() as changed:
        changed.setattr(feature_build, "kernel_identity", lambda spec: "f" * 64)
        with pytest.raises(DataError, match="stale: kernel: the code of its features has changed"):
            fresh_snapshot(file)
    assert build("--out", str(file), "--symbols", "ETHUSDT")["fresh"] is False  # another tape
    assert fresh_snapshot(file).manifest.instruments == ("synthetic:ETHUSDT",)
    file.write_bytes(file.read_bytes()[:-100])
    assert build("--out", str(file), "--symbols", "ETHUSDT")["fresh"] is False  # torn


def test_a_snapshot_becomes_samples_by_time(build, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    file = tmp_path / "x.parquet"
    build("--out", str(file))
    rows = fresh_snapshot(file).rows("synthetic:BTCUSDT")
    due = rows.ts_available[::3] + 5
    labels = Labels(due, due + MINUTE, np.ones(len(due), np.int64), due * 0.0, due * 0.0)
    samples = join_as_of(rows, labels, max_age_ns=MINUTE)
    assert len(samples) == rows.valid[::3].sum()
    assert samples.x.tobytes() == rows.x[::3][rows.valid[::3]].tobytes()


def test_a_snapshot_beside_itself_has_no_drift(build, tmp_path: Path, capsys) -> None:  # type: ignore[no-untyped-def]
    file = str(tmp_path / "x.parquet")
    build("--out", file)
    assert run("lab.py", lambda: lab.main(["features", "drift", file, file])) == 0
    out = capsys.readouterr().out
    assert "synthetic:BTCUSDT: 0 of 2 features have drifted" in out
    assert max(len(line.rstrip()) for line in out.splitlines()) <= 80
