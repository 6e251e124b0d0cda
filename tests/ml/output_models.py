"""Tiny ONNX models of every output kind over the demonstration model's features."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from features.spec import FeatureSpec, parse_spec
from ml import registry
from ml.importing import Foreign, import_onnx
from ml.manifest import ACTIONS8, Entry
from tests.app.replay_cli import ROOT

LEVELS = (0.1, 0.3, 0.5, 0.7, 0.9)
HORIZONS = ("10s", "1m")
MADE: dict[str, tuple[str, float, Mapping[str, Any]]] = {  # id -> kind, scale, what else is said
    "Return": ("regressor", 0.004, {"words": {"dead_band": 0.0005, "scale": 0.004}}),
    "Quantiles": (
        "quantiles",
        0.004,
        {
            "classes": tuple(f"{h}_{q}" for h in HORIZONS for q in LEVELS),
            "words": {"horizons": HORIZONS, "levels": LEVELS, "act_on": "1m", "dead_band": 0.0015},
        },
    ),
    "Size": ("size", 1.3, {}),
    "Action": ("action", 1.3, {"words": {"dead_band": 0.2}}),
    "Eight": ("discrete8", 4.0, {"classes": ACTIONS8}),
    "Veto": ("binary", 1.0, {}),
}


def spec() -> FeatureSpec:
    """Return the features of the demonstration model: its kernel is compiled already."""
    path = ROOT / "artifacts" / "TickMLP" / "1" / "feature_spec.json"
    return parse_spec(path.read_bytes(), str(path))


def rows() -> np.ndarray:
    """Return golden rows of the demonstration model without holes."""
    with np.load(ROOT / "artifacts" / "TickMLP" / "1" / "golden.npz") as golden:
        x = golden["x"]
    return x[np.isfinite(x).all(axis=1)][:64]


def onnx_of(columns: int, scale: float, *, seed: int = 5, chance: bool = False) -> bytes:
    """Return scale * tanh(normalised x @ w), or the sigmoid where a chance is asked for."""
    x = rows().astype(np.float64)
    width = x.shape[1]
    weight = np.random.default_rng(seed).normal(size=(width, columns)) / x.std(axis=0)[:, None] / 2
    tensors = {"w": weight, "b": -x.mean(axis=0) @ weight, "s": np.array(scale)}
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["z"]),
        helper.make_node("Add", ["z", "b"], ["m"]),
        helper.make_node("Sigmoid" if chance else "Tanh", ["m"], ["t"]),
        helper.make_node("Mul", ["t", "s"], ["y"]),
    ]
    ports = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", count])
        for name, count in (("x", width), ("y", columns))
    ]
    kept = [numpy_helper.from_array(v.astype(np.float32), k) for k, v in tensors.items()]
    graph = helper.make_graph(nodes, "made", ports[:1], ports[1:], initializer=kept)
    opset = [helper.make_opsetid("", 17)]
    data: bytes = helper.make_model(graph, opset_imports=opset, ir_version=8).SerializeToString()
    return data


def register(root: Path, model_id: str, *, placement: str = "inline", name: str = "") -> Entry:
    """Register one of MADE in production, under another id where one is given."""
    kind, scale, said = MADE[model_id]
    columns = len(said["classes"]) if "classes" in said else 1
    data = onnx_of(columns, scale, chance=kind in ("size", "binary"), seed=len(model_id))
    foreign = Foreign(
        model_id=name or model_id, spec=spec(), kind=kind, rows=rows(), cadence="every:5s",
        placement=placement, **said,
    )  # fmt: skip
    import_onnx(root, data, foreign)
    return registry.promote(root, name or model_id, "1", why="for the tests", by="tests")
