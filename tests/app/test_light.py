"""A replay loads nothing that only training or other venues need, and help comes at once."""

import importlib.util
import json
import resource
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
OFFLINE = set(
    "catboost ccxt lightgbm mlflow onnx onnxmltools optuna pandas polars pytest skl2onnx "
    "sklearn stable_baselines3 torch xgboost".split()
)
RUN = """
import json, sys
sys.argv = ["run_live.py", *json.loads(sys.argv[1])]
from app.command_line import run
import run_live
code = run("run_live.py", run_live.main)
print(json.dumps([code, sorted(name for name in sys.modules if "." not in name)]))
"""


def test_a_replay_loads_no_offline_package(tmp_path):
    config = tmp_path / "settings.yaml"
    text = (ROOT / "config" / "default.yaml").read_text()
    config.write_text(text + f"runs_dir: {json.dumps(str(tmp_path / 'runs'))}\n")
    argv = json.dumps(["--replay", "data/sample", "--config", str(config), "--json"])
    command = [sys.executable, "-c", RUN, argv]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    summary, modules = done.stdout.splitlines()
    code, names = json.loads(modules)
    assert code == 0
    assert json.loads(summary)["decisions"] > 0
    found = OFFLINE & set(names)
    assert found <= {"pandas"}, "which pyarrow brings along by itself where it is installed"
    assert not found or importlib.util.find_spec("pandas") is not None


def test_help_of_the_engine_comes_at_once():
    best = 9.0
    for _ in range(3):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        command = [sys.executable, "run_live.py", "--help"]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        best = min(best, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
        assert done.returncode == 0
        assert all(len(line) <= 80 for line in done.stdout.splitlines())
    assert best < 1.0  # 0.3 s on a quiet machine; tests share theirs
