"""`lab.py features new` in a copy of the tree: what it writes passes the checks as it is."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
ROOMS = ("app", "config", "engine", "features", "ml", "references", "risk", "store", "strategies",
         "venues")  # fmt: skip
LINES = 15  # of code in a feature: what is left without words, blank lines and the catalogue's
KINDS = ("bars", "quotes", "trades")

STEPPED = """
import importlib, json, sys
import numpy as np
from engine.market import MARKET
from features.examples import bar_step, tick_step
from features.registry import resolve_one
from references.registry import on_bars, on_ticks
import app.feature_references as laid_out

worst = {}
for kind in ("bars", "quotes", "trades"):
    entry = resolve_one(f"my_{kind}_20")
    state, m, seen, values = np.zeros(1, entry.state)[0], np.zeros(1, MARKET)[0], [], []
    entry.feature.init(state, *entry.params.values())
    for k in range(400):
        for event in bar_step(m, k) if kind == "bars" else tick_step(m, k):
            if event in entry.feature.steps:
                entry.feature.steps[event](state, m)
        seen.append(m.copy())
        values.append(float(entry.feature.value(state, m)))
    market, before = np.array(seen, MARKET), np.zeros(1, MARKET)[0]
    if kind == "bars":
        wanted = on_bars()[entry.feature.name](laid_out.bar_columns(market), dict(entry.params))
    else:
        columns = laid_out.tick_columns(market, before)
        wanted = on_ticks()[entry.feature.name](columns, dict(entry.params))
    values = np.array(values)
    assert np.array_equal(np.isnan(values), np.isnan(wanted)), kind
    worst[kind] = float(np.nanmax(np.abs(values - wanted)))
    worst[kind + "_warm"] = int(np.isfinite(values).sum())
print(json.dumps(worst))
"""


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Copy the tree without what it has compiled."""
    for room in ROOMS:
        shutil.copytree(ROOT / room, tmp_path / room, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "lab.py", tmp_path)
    return tmp_path


def python(tree: Path, *words: str, jit: bool = True) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "NUMBA_DISABLE_JIT": "0" if jit else "1"}
    return subprocess.run(
        [sys.executable, *words], cwd=tree, env=env, capture_output=True, text=True, check=False
    )


def new(tree: Path, kind: str) -> None:
    done = python(tree, "lab.py", "features", "new", f"my_{kind}", "--on", kind, jit=False)
    assert done.returncode == 0, done.stderr
    assert f"written: features/my_{kind}.py" in done.stdout


def test_a_new_feature_is_right_as_it_is_written(tree: Path) -> None:
    for kind in KINDS:
        new(tree, kind)
        source = (tree / "features" / f"my_{kind}.py").read_text()
        code = source[: source.index("\nfeature(")].split('"""', 2)[2]
        lines = [line for line in code.splitlines() if line.strip() and '"""' not in line]
        assert len(lines) <= LINES
    done = python(tree, "-c", STEPPED, jit=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    for kind in KINDS:
        assert found[kind] < 1e-12
        assert found[f"{kind}_warm"] > 100
    for check in (["format", "--check"], ["check"]):
        config = ["--config", str(ROOT / "pyproject.toml")]
        files = [f"{room}/my_{kind}.py" for room in ("features", "references") for kind in KINDS]
        done = python(tree, "-m", "ruff", *check, *config, *files)
        assert done.returncode == 0, done.stdout + done.stderr
    refused = python(tree, "lab.py", "features", "new", "my_bars", jit=False)
    assert refused.returncode == 2
    assert "there is one already (features/my_bars.py, references/my_bars.py)" in refused.stderr


@pytest.mark.parametrize(("words", "hint"), [
    (["Bad-Name"], "is no name"), (["lambda"], "is no name"), (["rsi"], "there is one already"),
    (["mine", "--group", "magic"], "known are price and trend"),
])  # fmt: skip
def test_a_name_that_cannot_be_is_refused(words: list[str], hint: str, capsys) -> None:  # type: ignore[no-untyped-def]
    import lab
    from app.command_line import run

    assert run("lab.py", lambda: lab.main(["features", "new", *words])) == 2
    assert hint in capsys.readouterr().err


@pytest.mark.slow  # compiles two kernels, and the desk's once more in the copy
@pytest.mark.timeout(900)
def test_one_file_and_one_line_of_a_set_pass_every_check(tree: Path) -> None:
    shutil.copytree(ROOT / "data" / "sample", tree / "data" / "sample")
    for kind in KINDS:
        new(tree, kind)
    lines = ", ".join(f'{{"name": "my_{kind}_20"}}' for kind in KINDS)
    text = f'{{"version": 1, "features": [{lines}]}}'
    (tree / "config" / "features" / "mine.json").write_text(text)
    words = ["--spec", "mine", "--data", "data/sample", "--symbols", "BTCUSDT", "--json"]
    done = python(tree, "lab.py", "features", "check", "--rows", "20000", *words)
    found = json.loads(done.stdout)
    assert done.returncode == 0, found
    assert found["sets"][0]["references"] == 3
    assert found["sets"][0]["never_warm"] == []
    done = python(tree, "lab.py", "features", "lookahead", "--cuts", "5", *words)
    assert (done.returncode, json.loads(done.stdout)["biased"]) == (0, False)
