"""What must be said of each family's fixture to register it: output, window, golden rows."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx

from ml import registry
from ml.importing import Foreign, import_onnx
from ml.manifest import ACTIONS8, CLASSED, Entry
from tests.ml.conftest import toy_spec

HERE = Path(__file__).resolve().parent
WINDOW = {"sequence_length": 8}
HORIZONS, LEVELS = ("1m", "5m"), (0.1, 0.5, 0.9)  # of tests/ml/families/tft.py
SAID: dict[str, dict[str, Any]] = {  # family -> what `Foreign` is told; classifier3 where nothing
    "lightgbm": {},
    "xgboost": {},
    "catboost": {},
    "forest": {},
    "logistic": {},
    "mlp": {},
    "cnn": WINDOW,
    "lstm": WINDOW,
    "transformer": WINDOW,
    "tft": {
        **WINDOW,
        "kind": "quantiles",
        "classes": tuple(f"{h}_{level}" for h in HORIZONS for level in LEVELS),
        "words": {"horizons": HORIZONS, "levels": LEVELS, "act_on": "5m", "dead_band": 2e-4},
    },
    "ppo": {"kind": "discrete8", "classes": ACTIONS8},
    "sac": {"kind": "action", "words": {"dead_band": 0.1}},
}
FAMILIES = tuple(SAID)
NETWORKS = {  # family -> its class in the file beside its state dict; empty for TorchScript
    "cnn": "",
    "lstm": "networks.py:LstmAttention",
    "transformer": "networks.py:Transformer",
    "tft": "tft.py:Tft",
}
TOLERANCE = 1e-5


def golden(name: str) -> tuple[np.ndarray, np.ndarray]:
    """Return rows or windows, and the answers of the source."""
    with np.load(HERE / f"{name}.npz") as file:
        return file["x"], file["y"]


def tolerance(name: str) -> float:
    """Return how far answers may lie from the source's: of returns a share of their size."""
    kind = SAID[name].get("kind", "classifier3")
    return TOLERANCE * (1.0 if kind != "quantiles" else float(np.abs(golden(name)[1]).max()))


def task(name: str) -> str:
    """Return the task that a ModelSpec says."""
    kind = SAID[name].get("kind", "classifier3")
    return "classifier" if kind in CLASSED else "regressor"


def said_of(name: str, **more: Any) -> Foreign:
    """Return what a registration is told."""
    x, y = golden(name)
    words = {"rows": x, "answers": y, "cadence": "bar:1m", **SAID[name], **more}
    return Foreign(model_id=name, spec=toy_spec(), **words)


def register(root: Path, name: str, **more: Any) -> Entry:
    """Register a family's export as its next version, a candidate."""
    return import_onnx(root, (HERE / f"{name}.onnx").read_bytes(), said_of(name, **more))


def serve(root: Path, name: str) -> Entry:
    """Register a family's export and let it serve."""
    register(root, name, placement="inline")
    return registry.promote(root, name, "1", why="to trade here", by="tests")


def other_bytes(name: str) -> bytes:
    """Return the same model in other bytes: a property says that it is the second."""
    model = onnx.load(HERE / f"{name}.onnx")
    model.metadata_props.add(key="made", value="again")
    data: bytes = model.SerializeToString(deterministic=True)
    return data
