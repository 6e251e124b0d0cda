"""An ONNX file behind the Model interface: rows or windows in, probabilities or values out."""

from typing import Any

import numpy as np

from ml.model_interface import ModelSpec, as_rows, best_class, normalised
from ml.onnx_scan import FLOAT32, Port, Scan, scan
from ml.refusal import ModelRefused
from ml.runtime.session import open_session, runtime
from ml.safe_files import sha256


class OnnxModel:
    """A session of its own over bytes that were hashed and scanned.

    Args:
        data: the file.
        spec: what is said of it.
        importance: feature -> share, as kept beside the file.
    Raises:
        ModelRefused: `model.unsafe`, `model.invalid`, `model.contract`, `runtime.missing`.
    """

    def __init__(self, data: bytes, spec: ModelSpec, importance: dict[str, float]) -> None:
        declared = scan(data)
        self._scan, self._spec, self._importance = declared, spec, importance
        self._sha256, self._size = sha256(data), len(data)
        self._input, self._output = _ports(declared)
        self.width = int(self._input.shape[-1] or 0)
        self.steps = int(self._input.shape[1] or 0) if len(self._input.shape) == 3 else 0
        self.names = spec.feature_names or _kept_names(declared)
        self._session = open_session(data)
        self._options = runtime().RunOptions()
        self._options.log_severity_level = 4

    @property
    def task(self) -> str:
        """What was said of it, else `classifier` where its properties or operators say so."""
        return self._spec.task or ("classifier" if _gives_classes(self._scan) else "regressor")

    def predict(self, x: Any) -> np.ndarray:
        """Return the best class of each row, int64[n], -1 without an answer; else the values."""
        answers = self._run(x)
        if self.task == "classifier":
            return best_class(answers)
        return answers[:, 0] if answers.shape[1] == 1 else answers

    def predict_proba(self, x: Any) -> np.ndarray:
        """Return probabilities, float32[n, C].

        Raises:
            ModelRefused: `model.contract`; the answers are no probabilities.
        """
        answers = self._run(x)
        good = answers[np.isfinite(answers).all(axis=1)]
        if len(good) and not (good.min() >= -1e-6 and good.max() <= 1 + 1e-6):
            text = f"answers from {good.min():.6g} to {good.max():.6g} are no probabilities"
            raise ModelRefused("model.contract", f"{self._spec.path.name}: {text}; use predict")
        return answers

    def get_feature_importance(self) -> dict[str, float]:
        """Return what model.meta.json beside the file says, or nothing."""
        return dict(self._importance)

    def get_model_info(self) -> dict[str, Any]:
        """Return hash, size, shapes, operators and the properties kept in the file."""
        return {
            "kind": "onnx",
            "task": self.task,
            "sha256": self._sha256,
            "size_bytes": self._size,
            "features": self.width,
            "feature_names": list(self.names),
            "steps": self.steps,
            "columns": int(self._output.shape[1] or 1) if len(self._output.shape) > 1 else 1,
            "opsets": self._scan.opsets,
            "operators": self._scan.operators,
            "properties": self._scan.metadata,
        }

    def _run(self, x: Any) -> np.ndarray:
        rows = normalised(as_rows(x, self.names, self.width, self.steps), self._spec)
        fixed = self._input.shape[0] is not None
        parts = [rows[k : k + 1] for k in range(len(rows))] if fixed else [rows]
        try:
            found = [
                self._session.run([self._output.name], {self._input.name: part}, self._options)[0]
                for part in parts
            ]
        except Exception as error:
            text = f"{self._spec.path.name}: the runtime failed: {str(error)[:200]}"
            raise ModelRefused("runtime.failed", text) from None
        answers = (
            np.concatenate(found).astype(np.float32) if found else np.zeros((0, 1), np.float32)
        )
        return answers.reshape(len(rows), -1)


def _ports(declared: Scan) -> tuple[Port, Port]:
    """Return input and output.

    Raises:
        ModelRefused: `model.contract`; they are no float32 rows or windows of fixed width.
    """
    name = "model.onnx"
    ports = [port for port in declared.outputs if port.elem_type == FLOAT32]
    inputs = declared.inputs
    good = len(inputs) == 1 and inputs[0].elem_type == FLOAT32 and len(inputs[0].shape) in (2, 3)
    if not good or not all(inputs[0].shape[1:]) or not ports:
        text = f"{name}: served is one float32 input [n, F] or [n, steps, F] of fixed sizes"
        raise ModelRefused("model.contract", f"{text} and a float32 output [n, C]")
    return inputs[0], ports[-1]


def _gives_classes(declared: Scan) -> bool:
    last = {"Softmax", "Sigmoid", "TreeEnsembleClassifier", "LinearClassifier", "SVMClassifier"}
    return "classes" in declared.metadata or bool(last & set(declared.operators))


def _kept_names(declared: Scan) -> tuple[str, ...]:
    """Return the feature names kept in the file's properties; none where there are none."""
    import msgspec

    try:
        return msgspec.json.decode(
            declared.metadata.get("feature_names", "[]"), type=tuple[str, ...]
        )
    except msgspec.MsgspecError:
        return ()
