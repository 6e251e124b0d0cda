"""The pinned lists, the installer's stamp, and what the Makefile hands on."""

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LISTS = {
    name: (ROOT / "requirements" / name) for name in ("core", "train", "deep", "catboost", "test")
}


def pins(path: Path) -> dict[str, str]:
    lines = [line.partition("#")[0].strip() for line in path.read_text().splitlines()]
    return {re.split("[=<>!~;@ ]", line)[0].lower(): line for line in lines if line}


@pytest.mark.parametrize("name", LISTS)
def test_lists_pin_exactly_and_name_no_index(name):
    wanted = pins(LISTS[name].with_suffix(".in"))
    pinned = pins(LISTS[name].with_suffix(".txt"))
    for line in (wanted | pinned).values():
        assert re.fullmatch(r"[\w.-]+==[\w.]+(; sys_platform != \"win32\")?", line), line
    assert {key: pinned.get(key, "").lower() for key in wanted} == {
        key: line.lower() for key, line in wanted.items()
    }


def test_the_light_core_has_no_training_packages():
    core = pins(LISTS["core"].with_suffix(".txt"))
    assert not core.keys() & set(
        "torch lightgbm scikit-learn scipy pandas polars mlflow onnx".split()
    )


def test_what_tests_need_in_ci_has_no_heavy_family():
    light = pins(LISTS["train"].with_suffix(".txt")) | pins(LISTS["test"].with_suffix(".txt"))
    assert not light.keys() & {"torch", "catboost", "pandas", "stable_baselines3"}


def test_no_package_is_pinned_twice():
    names = [name for path in LISTS.values() for name in pins(path.with_suffix(".txt"))]
    assert len(names) == len(set(names))


@pytest.fixture
def installer(tmp_path: Path):
    """Return the installer of a folder of its own, with empty lists and an .venv that runs."""
    folder = tmp_path / "requirements"
    folder.mkdir()
    shutil.copy(ROOT / "requirements" / "install.py", folder)
    for name in LISTS:
        (folder / f"{name}.txt").write_text("")
    spec = importlib.util.spec_from_file_location("install_under_test", folder / "install.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_hash_decides_and_a_failure_leaves_no_stamp(installer, monkeypatch, capfd):
    calls = []
    outcome = {"pip": True}
    monkeypatch.setattr(installer, "runs", lambda python: bool(calls))
    monkeypatch.setattr(installer, "make_environment", lambda: calls.append("venv") or True)
    monkeypatch.setattr(
        installer, "follow", lambda what, command: calls.append("pip") or outcome["pip"]
    )
    monkeypatch.setattr(installer, "compile_all", lambda: calls.append("compile"))
    assert installer.main("test") == 0
    assert calls == ["venv", "pip", "compile"]
    assert installer.main("core") == 0, "core is part of test"
    assert calls == ["venv", "pip", "compile"]
    (installer.FOLDER / "core.txt").write_text("# changed\n")
    outcome["pip"] = False
    assert installer.main("core") == 1
    outcome["pip"] = True
    assert installer.main("core") == 0
    assert calls == ["venv", "pip", "compile", "pip", "pip", "compile"], "not what failed"
    assert installer.main("test") == 0, "test holds core, which has changed"
    assert calls[-2:] == ["pip", "compile"]
    assert set(json.loads(installer.STAMP.read_text())) == {"core", "train", "test"}


def test_a_failing_command_shows_its_last_lines(installer, capfd):
    assert not installer.follow("Trying", ["sh", "-c", "echo first; echo the reason >&2; exit 3"])
    err = capfd.readouterr().err
    assert "the reason" in err
    assert "Trying failed" in err


def test_bytecode_is_written_also_beside_files_that_are_no_python(installer, monkeypatch):
    monkeypatch.setattr(installer, "PYTHON", Path(sys.executable))
    packages = installer.VENV / "lib" / "site-packages"
    packages.mkdir(parents=True)
    (packages / "good.py").write_text("VALUE = 1\n")
    (packages / "bad.py").write_text("no python\n")
    installer.compile_all()
    (written,) = packages.rglob("*.pyc")
    assert written.name.startswith("good.")


@pytest.mark.slow
def test_a_real_environment_from_empty_lists(installer):
    assert installer.main("core") == 0
    stamp = installer.STAMP.stat().st_mtime_ns
    assert installer.runs(installer.PYTHON)
    assert installer.main("core") == 0
    assert installer.STAMP.stat().st_mtime_ns == stamp


def make(*words: str) -> str:
    outer = ("MAKE", "ARGS")  # of the make that runs these tests
    env = {key: value for key, value in os.environ.items() if not key.startswith(outer)}
    command = ["make", "-n", *words]
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=True)
    return done.stdout


@pytest.mark.skipif(not shutil.which("make"), reason="make is not installed")
def test_targets_hand_their_arguments_on():
    assert "run_live.py --replay data/sample --json" in make("replay", "ARGS=--json")
    assert "install.py train" in make("extras")
    assert "install.py deep" in make("extras", "ARGS=deep")
    assert "data/sample" not in make("replay", "ARGS=--replay some/tape")
    for target in ("test", "test-all", "check", "bench", "bench-peers", "demo-models"):
        assert "--some-word" in make(target, "ARGS=--some-word"), target
