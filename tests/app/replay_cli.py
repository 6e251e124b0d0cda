"""Runs the command line as a person does, in a process of its own."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
SAMPLE = ROOT / "data" / "sample"


def config_of(runs: Path) -> Path:
    """Return a settings file like the default one, with the runs under `runs`."""
    config = runs.parent / "config.yaml"
    if not config.exists():
        text = (ROOT / "config" / "default.yaml").read_text()
        config.write_text(f"{text}\nruns_dir: {runs}\nartifacts_dir: {ROOT / 'artifacts'}\n")
    return config


def replay(*words: object, runs: Path, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """Run `run_live.py --replay …` with its runs under `runs`."""
    config = config_of(runs)
    command = [sys.executable, str(ROOT / "run_live.py"), "--replay", *map(str, words)]
    if "--config" not in command:
        command += ["--config", str(config)]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=600)


def summary(*words: object, runs: Path) -> dict[str, Any]:
    """Run a replay that must succeed; return its one JSON object."""
    done = replay(*words, "--json", "--no-report", runs=runs)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) == 1, "--json prints exactly one object"
    found: dict[str, Any] = json.loads(lines[0])
    return found
