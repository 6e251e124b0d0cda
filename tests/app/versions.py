"""Artifacts with further versions of TickMLP whose answers differ from the first one's."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper

from features.spec import FeatureSpec, parse_spec
from ml.importing import Foreign, import_onnx
from ml.manifest import Entry
from tests.app.replay_cli import ROOT

MIRROR = np.array([2, 1, 0])  # SELL for BUY and BUY for SELL


def tick_spec() -> FeatureSpec:
    """Return the features of the demonstration model TickMLP: its kernel is compiled already."""
    path = ROOT / "artifacts" / "TickMLP" / "1" / "feature_spec.json"
    return parse_spec(path.read_bytes(), str(path))


def copy_artifacts(folder: Path) -> Path:
    """Return a copy of the demonstration models and their registry."""
    root = folder / "artifacts"
    skip = shutil.ignore_patterns("kernels", "*.signal", "registry.l*")
    shutil.copytree(ROOT / "artifacts", root, ignore=skip)
    return root


def tick_mlp(weight: float = 1.0, hidden: int = 0) -> bytes:
    """Return TickMLP:1 with its advice turned round.

    Args:
        weight: of its last layer; other weights, other answers.
        hidden: width of a further layer that adds nothing: makes the file large.
    """
    model = onnx.load(ROOT / "artifacts" / "TickMLP" / "1" / "model.onnx")
    for tensor in model.graph.initializer:
        if tensor.name in ("weight_2", "bias_2"):
            values = numpy_helper.to_array(tensor)[..., MIRROR] * np.float32(weight)
            tensor.CopyFrom(numpy_helper.from_array(values.astype(np.float32), tensor.name))
    if hidden:
        _add_ballast(model, hidden)
    data: bytes = model.SerializeToString()
    return data


def _add_ballast(model: onnx.ModelProto, hidden: int) -> None:
    """Lead the features through a wide layer whose result counts next to nothing."""
    graph, rng = model.graph, np.random.default_rng(1)
    width = graph.initializer[0].dims[0]
    sizes = {"wide_in": (width, hidden), "wide": (hidden, hidden), "wide_out": (hidden, 3)}
    for name, size in sizes.items():
        values = (1e-3 * rng.standard_normal(size)).astype(np.float32)
        graph.initializer.append(numpy_helper.from_array(values, name))
    last = graph.node.pop()
    chain = [("normal", "wide_in", "w0"), ("w0", "wide", "w1"), ("w1", "wide_out", "w2")]
    for source, by, made in chain:
        graph.node.append(onnx.helper.make_node("MatMul", [source, by], [made]))
    graph.node.append(onnx.helper.make_node("Add", [last.input[0], "w2"], ["with_ballast"]))
    last.input[0] = "with_ballast"
    graph.node.append(last)


def add_version(root: Path, data: bytes, **changes: Any) -> Entry:
    """Register a file as the next version of TickMLP, a candidate; `changes` are of Foreign."""
    spec = parse_spec((root / "TickMLP" / "1" / "feature_spec.json").read_bytes(), "spec")
    with np.load(root / "TickMLP" / "1" / "golden.npz") as golden:
        rows = golden["x"]
    return import_onnx(root, data, Foreign(model_id="TickMLP", spec=spec, rows=rows, **changes))


def add_narrow_version(root: Path) -> Entry:
    """Register a TickMLP that reads two features only: not what the kernel of the others reads."""
    spec = FeatureSpec(features=(("returns_1", {}), ("rsi_14", {})))
    helper, rng = onnx.helper, np.random.default_rng(3)
    ports = [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, ["n", 2])]
    outs = [helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, ["n", 3])]
    weight = numpy_helper.from_array(rng.standard_normal((2, 3)).astype(np.float32), "w")
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["z"]),
        helper.make_node("Softmax", ["z"], ["y"]),
    ]
    graph = helper.make_graph(nodes, "narrow", ports, outs, [weight])
    opset = [helper.make_opsetid("", 17)]
    model = helper.make_model(graph, opset_imports=opset, ir_version=8)
    return import_onnx(root, model.SerializeToString(), Foreign(model_id="TickMLP", spec=spec))
