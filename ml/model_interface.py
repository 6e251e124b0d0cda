"""One interface for models of every kind, for notebooks, tools and workers.

The engine itself binds `ml.runtime.session.OrtModel` to its own buffers; what it serves is always
loaded through `ml.registry`. Here a file is loaded without a registry, its hash told.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import msgspec
import numpy as np

from ml.manifest import MAX_BYTES
from ml.onnx_scan import FLOAT32, Scan, scan
from ml.refusal import ModelRefused
from ml.runtime.session import OrtModel
from ml.safe_files import open_folder, read_bounded, sha256

KINDS = ("onnx",)


@dataclass(frozen=True)
class ModelSpec:
    """Which file, and what kind of model it is (one of KINDS)."""

    path: Path
    kind: str = "onnx"


@runtime_checkable
class Model(Protocol):
    """What every model can do. Rows are float32[n, F]; nothing here can reach a venue."""

    def predict(self, x: np.ndarray) -> np.ndarray:
        """Return the index of the best class of each row, int64[n]."""
        ...

    def predict_proba(self, x: np.ndarray) -> np.ndarray:
        """Return probabilities, float32[n, C]."""
        ...

    def get_feature_importance(self) -> dict[str, float]:
        """Return feature -> share of importance; empty where it is not known."""
        ...

    def get_model_info(self) -> dict[str, Any]:
        """Return what is known of the model, fit for JSON."""
        ...


class OnnxModel:
    """An ONNX classifier behind the Model interface."""

    def __init__(self, data: bytes, declared: Scan, importance: dict[str, float]) -> None:
        self._importance = importance
        self._scan = declared
        self._sha256 = sha256(data)
        self._size = len(data)
        features, columns = _sizes(declared)
        self._model = OrtModel(
            data,
            x=np.zeros((1, features), np.float32),
            y=np.zeros((1, columns), np.float32),
            output=declared.outputs[-1].name,
        )

    def predict(self, x: np.ndarray) -> np.ndarray:
        """Return the index of the best class; of a binary model 1 where `up` is above one half.

        Args:
            x: float32[n, F].
        Returns:
            int64[n]; -1 where an answer is not finite.
        """
        answers = self.predict_proba(x)
        best = answers.argmax(axis=1) if answers.shape[1] > 1 else answers[:, 0] > 0.5
        return np.where(np.isfinite(answers).all(axis=1), best, -1).astype(np.int64)

    def predict_proba(self, x: np.ndarray) -> np.ndarray:
        """Return probabilities: float32[n, F] to float32[n, C]."""
        return self._model.run_batch(np.atleast_2d(x))

    def get_feature_importance(self) -> dict[str, float]:
        """Return what model.meta.json beside the file says, or nothing."""
        return dict(self._importance)

    def get_model_info(self) -> dict[str, Any]:
        """Return hash, size, shapes, operators and the properties kept in the file."""
        features, columns = _sizes(self._scan)
        return {
            "kind": "onnx",
            "sha256": self._sha256,
            "size_bytes": self._size,
            "features": features,
            "columns": columns,
            "opsets": self._scan.opsets,
            "operators": self._scan.operators,
            "properties": self._scan.metadata,
        }


def _sizes(declared: Scan) -> tuple[int, int]:
    """Return columns of input and output.

    Raises:
        ModelRefused: `model.contract`; they are not two float32 tables of fixed width.
    """
    ports = (declared.inputs[0] if len(declared.inputs) == 1 else None, declared.outputs[-1])
    widths = []
    for port in ports:
        width = port.shape[1] if port is not None and len(port.shape) == 2 else None
        if port is None or port.elem_type != FLOAT32 or not width:
            text = "model.onnx: served is one float32 input [n, F] and a float32 output [n, C]"
            raise ModelRefused("model.contract", text)
        widths.append(width)
    return widths[0], widths[1]


def load_model(spec: ModelSpec) -> tuple[Model, str]:
    """Load a model file; the bytes are read once, and hashed, and loaded.

    Args:
        spec: path and kind.
    Returns:
        The model and the sha256 of its bytes.
    Raises:
        ModelRefused: `model.kind` for a kind that is not served, `model.missing`, `model.path`,
            `model.unsafe`, `model.invalid`, `model.contract`, `runtime.missing`.
    """
    if spec.kind not in KINDS:
        text = f"kind {spec.kind!r} is not served; export the model to ONNX, opset 17"
        raise ModelRefused("model.kind", f"{text} (docs/models.md)")
    path = Path(spec.path)
    with open_folder(path.parent) as folder:
        data = read_bounded(folder, path.name, MAX_BYTES["model.onnx"], path.name)
    model = OnnxModel(data, scan(data), _importance(path))
    return model, sha256(data)


def _importance(path: Path) -> dict[str, float]:
    """Read the importance from model.meta.json beside the file; nothing when there is none."""
    try:
        with open_folder(path.parent) as folder:
            name = "model.meta.json"
            data = read_bounded(folder, name, MAX_BYTES[name], name)
        found = msgspec.json.decode(data)
        return msgspec.convert(found.get("feature_importance", {}), dict[str, float])
    except (ModelRefused, msgspec.MsgspecError, AttributeError):
        return {}
