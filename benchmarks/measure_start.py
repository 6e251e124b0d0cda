"""Measures how soon `run_live.py --paper` decides: from the command to the first decision's row.

The exchange that it starts, its kernels from disk, models and warm-up are all in it. The row's
stamp is the machine's clock, as is that of the command.
"""

import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks.bars import Figure
from engine.audit_layout import AUDIT, Record
from engine.errors import RunError
from engine.run_files import AUDIT_RECORDS
from engine.tape import Tape

ROOT = Path(__file__).resolve().parent.parent
BAR_S = 3.0
STARTS = 5  # the first one fills the caches and does not count
WITHIN_S = 300.0


def first_decision_s(runs: Path) -> float:
    """Start a session of a second; return seconds from the command to its first decision.

    Raises:
        RunError: it failed, or decided nothing.
    """
    text = (ROOT / "config" / "default.yaml").read_text()
    config = runs.parent / "start.yaml"
    config.write_text(f"{text}\nruns_dir: {runs}\nartifacts_dir: {ROOT / 'artifacts'}\n")
    command = [sys.executable, str(ROOT / "run_live.py"), "--paper", "--json", "--no-report"]
    command += ["--config", str(config), "--duration", "1s"]
    began_ns = time.time_ns()
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=WITHIN_S
    )
    if done.returncode != 0:
        raise RunError(f"start: the session failed: {done.stderr[-300:]}")
    run = Path(json.loads(done.stdout)["run_dir"])
    records = np.fromfile(run / AUDIT_RECORDS, AUDIT)
    decisions = records[records["kind"] == Record.DECISION]
    if not len(decisions):
        raise RunError("start: the session decided nothing in its second")
    stamps = np.concatenate([part.rows["ts_recv"] for part in Tape.open(run / "tape").segments])
    return float(stamps[decisions["row"][0]] - began_ns) / 1e9


def start(rounds: int) -> list[Figure]:
    """Measure some warm starts."""
    with tempfile.TemporaryDirectory(prefix="tickgate-start-") as folder:
        took = [first_decision_s(Path(folder) / "runs") for _ in range(max(rounds, STARTS) + 1)][1:]
    middle = statistics.median(took)
    note = f"{len(took)} starts with warm caches: {min(took):.2f} to {max(took):.2f} s"
    return [Figure("live, command -> first decision", middle, 0.0, middle, BAR_S, "s", note)]


ALL = (start,)
