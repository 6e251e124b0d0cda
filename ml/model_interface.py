"""One interface for models of every kind, for notebooks, tools and workers.

The engine itself binds `ml.runtime.session.OrtModel` to its own buffers; what it serves is always
loaded through `ml.registry`. `ml.loading.load_model` makes a Model of a file.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np

from ml.manifest import name_difference
from ml.refusal import ModelRefused

KINDS = ("onnx", "lightgbm", "xgboost", "catboost", "sklearn", "torch", "pickle", "custom")


@dataclass(frozen=True, kw_only=True)
class Trust:
    """What a person allows of kinds that run code while they are loaded; nothing by default.

    Attributes:
        pickle: load a pickle, when `registry` names its sha256.
        custom: run a Python file that holds a class with the interface, or a torch network.
        registry: the artifacts folder whose registry.json names pickles.
    """

    pickle: bool = False
    custom: bool = False
    registry: Path | None = None


NO_TRUST = Trust()


@dataclass(frozen=True)
class ModelSpec:
    """Which file, and what kind of model it is.

    Attributes:
        path: the file.
        kind: one of KINDS.
        sha256: the hash that its bytes must have; empty takes any.
        feature_names: names of its columns in order, for tables given by name; empty takes the
            names that the model itself keeps, where it does.
        normalise: (mean, std) that the caller's rows still need; None where the model needs none
            or has them inside.
        factory: custom: name of the class in the file. torch: `net.py:Net`, a file beside it and
            the class of the network that its state dict belongs to; empty reads TorchScript.
        sequence_length: rows of a window, for kinds whose file does not say it; 0 asks the file.
        task: classifier or regressor; empty asks the file.
        deadline_s: a call outside of this process that takes longer is given up.
        trust: see Trust.
    """

    path: Path
    kind: str = "onnx"
    sha256: str = ""
    feature_names: tuple[str, ...] = ()
    normalise: tuple[tuple[float, ...], tuple[float, ...]] | None = None
    factory: str = ""
    sequence_length: int = 0
    task: str = ""
    deadline_s: float = 5.0
    trust: Trust = NO_TRUST


@runtime_checkable
class Model(Protocol):
    """What every model can do. Nothing here can reach a venue.

    Rows are float32[n, F] or, for sequence models, float32[n, steps, F]; also a table with columns
    by name (pandas, polars, pyarrow), whose columns are taken in the model's order.
    """

    def predict(self, x: Any) -> np.ndarray:
        """Return the index of the best class, int64[n], -1 where there is no answer; of a
        regressor its values, float32[n] or [n, C]."""
        ...

    def predict_proba(self, x: Any) -> np.ndarray:
        """Return probabilities, float32[n, C]."""
        ...

    def get_feature_importance(self) -> dict[str, float]:
        """Return feature -> share of importance; empty where it is not known."""
        ...

    def get_model_info(self) -> dict[str, Any]:
        """Return what is known of the model, fit for JSON."""
        ...


def as_rows(x: Any, names: Sequence[str], width: int, steps: int = 0) -> np.ndarray:
    """Bring what a caller gives into the model's form.

    Args:
        x: an array, nested lists, or a table with named columns.
        names: the model's features in order; empty where it does not know them.
        width: features it reads; 0 where it does not say.
        steps: rows of a window; 0 for models of single rows.
    Returns:
        float32[n, F] or float32[n, steps, F], C-contiguous.
    Raises:
        ModelRefused: `model.features` for a column that is missing, `model.contract` for a shape.
    Example:
        >>> as_rows([[1, 2]], ("a", "b"), 2).tolist()
        [[1.0, 2.0]]
    """
    columns = column_names(x)
    if columns is not None:
        rows = _by_name(x, columns, names)
        if steps:
            rows = rows.reshape(1, *rows.shape) if rows.shape[0] == steps else rows
    else:
        rows = np.ascontiguousarray(x, np.float32)
        rows = rows.reshape(1, *rows.shape) if rows.ndim == (2 if steps else 1) else rows
    wanted = 3 if steps else 2
    fits = rows.ndim == wanted and (not width or rows.shape[-1] == width)
    if not fits or (steps and rows.shape[1] != steps):
        form = f"[n, {steps}, {width or 'F'}]" if steps else f"[n, {width or 'F'}]"
        raise ModelRefused(
            "model.contract", f"rows have shape {list(rows.shape)}, served is {form}"
        )
    return rows


def column_names(x: Any) -> list[str] | None:
    """Return the column names of a table; None of what is no table.

    >>> column_names([[1.0]]) is None
    True
    """
    found = getattr(x, "column_names", None)  # pyarrow
    if found is None:
        found = getattr(x, "columns", None)  # pandas, polars
    return None if found is None else [str(name) for name in found]


def _by_name(x: Any, columns: list[str], names: Sequence[str]) -> np.ndarray:
    """Take a table's columns in the model's order; other columns are left."""
    if not names:
        text = "the model does not say what its columns are called; give ModelSpec(feature_names)"
        raise ModelRefused("model.features", text)
    missing = [name for name in names if columns.count(name) != 1]
    if missing:
        text = name_difference(names, [c for c in columns if c in set(names)])
        raise ModelRefused("model.features", f"the table's columns differ: {text}")
    parts = [np.asarray(x[name], np.float32) for name in names]
    return np.ascontiguousarray(np.stack(parts, axis=1))


def best_class(answers: np.ndarray) -> np.ndarray:
    """Return the best class of each row, of one column 1 above one half; -1 without an answer.

    >>> best_class(np.array([[0.2, 0.8], [np.nan, 0.1]])).tolist()
    [1, -1]
    """
    best = answers.argmax(axis=1) if answers.shape[1] > 1 else answers[:, 0] > 0.5
    return np.where(np.isfinite(answers).all(axis=1), best, -1).astype(np.int64)


def normalised(rows: np.ndarray, spec: ModelSpec) -> np.ndarray:
    """Apply the mean and std of a spec, once; rows as they are where it has none."""
    if spec.normalise is None:
        return rows
    mean, std = (np.asarray(numbers, np.float64) for numbers in spec.normalise)
    return (rows - mean.astype(np.float32)) * (1.0 / std).astype(np.float32)
