"""A model of another kind behind the Model interface: asked in a worker, over shared memory.

Whatever happens there costs the call that it happens in: a hang ends with `model.late`, an
exception or a death with `model.failed`, and the next call starts a new worker. After MAX_STRIKES
calls in a row without an answer the model stays down until `restart`.
"""

import contextlib
import mmap
import os
import socket
import subprocess
import sys
import tempfile
import threading
import weakref
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ml.model_interface import ModelSpec, as_rows, best_class, normalised
from ml.refusal import CODES, ModelRefused
from ml.safe_files import sha256
from ml.worker_frame import (
    ANSWERS_AT,
    ANSWERS_BYTES,
    MEMORY_BYTES,
    ROWS_BYTES,
    Channel,
    Gone,
    Late,
    view,
)

ROOT = Path(__file__).resolve().parents[1]
START_S = 120.0  # importing a library on a busy machine
MAX_STRIKES = 3
MAX_COLUMNS = 64
_KEPT = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "LD_LIBRARY_PATH", "CUDA_VISIBLE_DEVICES")
_GROUP = {"catboost": " ARGS=catboost", "torch": " ARGS=deep"}  # of requirements/; else `train`


@dataclass
class Counters:
    """What became of the calls."""

    calls: int = 0
    answered: int = 0
    late: int = 0
    failed: int = 0
    no_number: int = 0  # rows whose answer is not finite
    starts: int = 0
    strikes: int = 0  # calls in a row without an answer


class WorkerModel:
    """One model in one worker; calls are made one after another.

    Args:
        data: the file's bytes, already hashed.
        spec: what is said of it.
        source: torch: the text of the file that holds its network.
    Raises:
        ModelRefused: `model.library`, `model.failed`, `model.late`; the first start is made here.
    """

    def __init__(self, data: bytes, spec: ModelSpec, source: str = "") -> None:
        self._data, self.spec, self._source = data, spec, source
        self._sha256 = sha256(data)
        self._lock = threading.Lock()
        self._shown = spec.path.name
        self.counters = Counters()
        self._process: subprocess.Popen[bytes] | None = None
        self._about: dict[str, Any] = {}
        self._memory_file = tempfile.TemporaryFile(dir=_memory_folder())  # noqa: SIM115 - lives as long as we do
        self._memory_file.truncate(MEMORY_BYTES)
        self._memory = mmap.mmap(self._memory_file.fileno(), MEMORY_BYTES)
        with self._lock:
            self._start()

    @property
    def task(self) -> str:
        """`classifier` or `regressor`."""
        return self.spec.task or str(self._about.get("task", "classifier"))

    @property
    def pid(self) -> int | None:
        """Its worker's process id, None while there is none."""
        return None if self._process is None else self._process.pid

    def predict(self, x: Any) -> np.ndarray:
        """Return the best class of each row (-1 without an answer), or a regressor's values."""
        if self.task == "classifier":
            return best_class(self.predict_proba(x))
        found = self._ask("values", x)
        return found[:, 0] if found.shape[1] == 1 else found

    def predict_proba(self, x: Any) -> np.ndarray:
        """Return probabilities, float32[n, C]; NaN where the model gave no number."""
        return self._ask("proba", x)

    def get_feature_importance(self) -> dict[str, float]:
        """Return what the library says, as shares; empty where it says nothing."""
        with self._lock:
            return dict(self._call({"do": "importance"})["importance"])

    def get_model_info(self) -> dict[str, Any]:
        """Return kind, hash, shapes, library and what became of the calls."""
        return {
            "kind": self.spec.kind,
            "task": self.task,
            "sha256": self._sha256,
            "size_bytes": len(self._data),
            "features": self._about.get("width", 0),
            "feature_names": list(self.names),
            "steps": self._about.get("steps", 0) or self.spec.sequence_length,
            "library": self._about.get("library", ""),
            "calls": vars(self.counters).copy(),
        }

    @property
    def names(self) -> tuple[str, ...]:
        """Its features in order; empty where nobody says."""
        return self.spec.feature_names or tuple(self._about.get("names", ()))

    def restart(self) -> None:
        """End the worker and start another; strikes are forgotten."""
        with self._lock:
            self._end()
            self.counters.strikes = 0
            self._start()

    def close(self) -> None:
        """End the worker."""
        with self._lock:
            self._end()

    def _ask(self, what: str, x: Any) -> np.ndarray:
        width = int(self._about.get("width", 0))
        steps = int(self._about.get("steps", 0)) or self.spec.sequence_length
        if not steps and getattr(x, "ndim", 2) == 3:
            steps = x.shape[1]
        rows = normalised(as_rows(x, self.names, width, steps), self.spec)
        row_bytes = 4 * int(np.prod(rows.shape[1:]))
        if row_bytes > ROWS_BYTES:
            raise ModelRefused("model.contract", f"{self._shown}: a row of {row_bytes} bytes")
        room = max(1, min(ROWS_BYTES // row_bytes, ANSWERS_BYTES // (4 * MAX_COLUMNS)))
        with self._lock:
            parts = [self._part(what, rows[k : k + room]) for k in range(0, len(rows), room)]
        return np.concatenate(parts) if parts else np.zeros((0, 1), np.float32)

    def _part(self, what: str, rows: np.ndarray) -> np.ndarray:
        view(self._memory, 0, rows.shape)[:] = rows
        shape: Any = self._call({"do": what, "shape": list(rows.shape)}).get("shape")
        good = isinstance(shape, list) and len(shape) == 2 and shape[0] == len(rows)
        if not good or not 1 <= shape[1] <= ANSWERS_BYTES // (4 * len(rows)):
            raise ModelRefused("model.contract", f"{self._shown}: answers of shape {shape}")
        answers = view(self._memory, ANSWERS_AT, tuple(shape)).copy()
        self.counters.no_number += int((~np.isfinite(answers).all(axis=1)).sum())
        return answers

    def _call(self, message: dict[str, Any]) -> dict[str, Any]:
        """Send one message and wait for its answer until the deadline.

        Raises:
            ModelRefused: `model.late`, `model.failed`.
        """
        self.counters.calls += 1
        if self.counters.strikes >= MAX_STRIKES:
            text = f"{self._shown}: down after {MAX_STRIKES} calls in a row without an answer"
            raise ModelRefused("model.failed", f"{text}; load it again to start a new worker")
        self.counters.strikes += 1
        if self._process is None or self._process.poll() is not None:
            self._end()
            self._start()
        try:
            self._channel.send(message)
            answer = self._channel.receive(self.spec.deadline_s)
        except Late:
            self.counters.late += 1
            self._end()
            text = f"{self._shown}: no answer within {self.spec.deadline_s:g} s"
            raise ModelRefused("model.late", f"{text}; its worker was ended") from None
        except Gone:
            raise self._died() from None
        self.counters.strikes = 0
        if not answer.get("ok"):
            self.counters.failed += 1
            raise ModelRefused("model.failed", f"{self._shown}: {str(answer.get('text'))[:300]}")
        self.counters.answered += 1
        return answer

    def _start(self) -> None:
        """Start a worker and let it load the model.

        Raises:
            ModelRefused: `model.library`, `model.failed`, `model.late`.
        """
        ours, theirs = socket.socketpair()
        self.counters.starts += 1
        with theirs, tempfile.TemporaryFile(dir=_memory_folder()) as model_file:
            model_file.write(self._data)
            model_file.flush()
            fds = (theirs.fileno(), self._memory_file.fileno(), model_file.fileno())
            command = [sys.executable, "-m", "ml.worker", *map(str, fds)]
            env = {name: os.environ[name] for name in _KEPT if name in os.environ}
            env |= {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "passive"}
            env |= {"OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
            self._process = subprocess.Popen(
                command,
                cwd=ROOT,
                env=env,
                pass_fds=fds,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,  # Ctrl-C is the owner's
            )
        self._channel = Channel(ours)
        self._finalizer = weakref.finalize(self, _stop, self._process, self._channel)
        try:
            order = {"kind": self.spec.kind, "factory": self.spec.factory, "task": self.spec.task}
            self._channel.send(order | {"source": self._source})
            answer = self._channel.receive(START_S)
        except Late:
            self._end()
            text = f"{self._shown}: not loaded within {START_S:g} s"
            raise ModelRefused("model.late", text) from None
        except Gone:
            raise self._died() from None
        if not answer.get("ok"):
            self._end()
            raise self._refusal(answer)
        self._about = answer

    def _refusal(self, answer: dict[str, Any]) -> ModelRefused:
        code, text = str(answer.get("code")), str(answer.get("text"))[:300]
        if code == "model.library":
            name = text.partition(".")[0]
            run = f"run `make extras{_GROUP.get(name, '')}`"
            return ModelRefused(code, f"kind {self.spec.kind} needs {name}, not installed: {run}")
        code = code if code in CODES else "model.failed"
        return ModelRefused(code, f"{self._shown}: not loaded as {self.spec.kind}: {text}")

    def _died(self) -> ModelRefused:
        self.counters.failed += 1
        process = self._process
        code = None
        if process is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                code = process.wait(1.0)
        self._end()
        return ModelRefused("model.failed", f"{self._shown}: its worker died (exit code {code})")

    def _end(self) -> None:
        if self._process is not None:
            self._finalizer()
            self._process = None


def _stop(process: subprocess.Popen[bytes], channel: Channel) -> None:
    """End a worker for good; it holds nothing that must be kept."""
    channel.close()
    process.kill()
    process.wait()


def _memory_folder() -> str | None:
    """Return a folder in memory where there is one; files there have no name and leave none."""
    return "/dev/shm" if os.path.isdir("/dev/shm") else None  # noqa: S108
