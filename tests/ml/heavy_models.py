"""ONNX models that are slow, that stall on some inputs, or that fail on some; made when needed."""

from pathlib import Path

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from features.spec import FeatureSpec
from ml.importing import Foreign, import_onnx
from ml.manifest import Entry

EDGE = 0.0  # of the column that a stalling or failing model looks at
WIDTH, LAYERS = 1024, 12
NODES, LONG = 500, 5_000_000  # a stall: so many nodes over so many numbers each


def model(nodes, tensors, features: int) -> bytes:
    ports = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", columns])
        for name, columns in (("x", features), ("p", 3))
    ]
    graph = helper.make_graph(nodes, "made", ports[:1], ports[1:], initializer=tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    return model.SerializeToString()


def chances(features: int, name: str = "x", seed: int = 3, scale: float = 3.0):
    """Return nodes and tensors from an input to three probabilities that differ from row to row."""
    weight = np.random.default_rng(seed).normal(size=(features, 3)).astype(np.float32) * scale
    nodes = [
        helper.make_node("MatMul", [name, "w_last"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["p"], axis=-1),
    ]
    return nodes, [numpy_helper.from_array(weight, "w_last")]


def wide(features: int, width: int = WIDTH) -> bytes:
    """Return a network whose layers take a millisecond together, or less where they are narrow."""
    rng = np.random.default_rng(11)
    first = rng.normal(size=(features, width)).astype(np.float32)
    square = (rng.normal(size=(width, width)) * 1.6 / width**0.5).astype(np.float32)
    nodes = [helper.make_node("MatMul", ["x", "w_first"], ["z0"])]
    for k in range(LAYERS):
        nodes.append(helper.make_node("Tanh", [f"z{k}"], [f"a{k}"]))
        nodes.append(helper.make_node("MatMul", [f"a{k}", "w_square"], [f"z{k + 1}"]))
    last, tensors = chances(width, f"z{LAYERS}", scale=0.05)
    tensors += [numpy_helper.from_array(first, "w_first")]
    tensors += [numpy_helper.from_array(square, "w_square")]
    return model(nodes + last, tensors, features)


def below(column: int, then: float, other: float, edge: float = EDGE):
    """Return nodes and tensors that choose a number by a column of the (single) row."""
    constants = {"at": np.int64(column), "edge": np.float32(edge)}
    constants |= {"then": np.float32(then), "other": np.float32(other)}
    nodes = [
        helper.make_node("ReduceMax", ["x"], ["row"], axes=[0], keepdims=0),
        helper.make_node("Gather", ["row", "at"], ["seen"], axis=0),
        helper.make_node("Less", ["seen", "edge"], ["is_below"]),
        helper.make_node("Where", ["is_below", "then", "other"], ["chosen"]),
    ]
    return nodes, [numpy_helper.from_array(np.array(v), k) for k, v in constants.items()]


def stalling(features: int, column: int = 0) -> bytes:
    """Return a network that takes seconds where a column is below 0, in many nodes."""
    nodes, tensors = below(column, LONG, 1.0)
    tensors += [numpy_helper.from_array(np.array(np.float32(k)), f"c{k}") for k in (0, 1)]
    nodes.append(helper.make_node("Range", ["c0", "chosen", "c1"], ["t0"]))
    nodes += [helper.make_node("Tanh", [f"t{k}"], [f"t{k + 1}"]) for k in range(NODES)]
    nodes.append(helper.make_node("ReduceMax", [f"t{NODES}"], ["top"], keepdims=0))
    nodes.append(helper.make_node("Mul", ["top", "c0"], ["nothing"]))
    nodes.append(helper.make_node("Add", ["x", "nothing"], ["same"]))
    last, more = chances(features, "same")
    return model(nodes + last, tensors + more, features)


def failing(features: int, column: int = 0) -> bytes:
    """Return a network that the runtime cannot carry out where a column is below 0."""
    nodes, tensors = below(column, 7.0, 0.0)
    tensors.append(numpy_helper.from_array(np.zeros(1, np.float32), "one"))
    nodes.append(helper.make_node("Cast", ["chosen"], ["place"], to=TensorProto.INT64))
    nodes.append(helper.make_node("Gather", ["one", "place"], ["nothing"], axis=0))
    nodes.append(helper.make_node("Add", ["x", "nothing"], ["same"]))
    last, more = chances(features, "same")
    return model(nodes + last, tensors + more, features)


def register(root: Path, model_id: str, data: bytes, spec: FeatureSpec, **said) -> Entry:
    """Register a model; its golden rows are above 0, where nothing stalls or fails."""
    rows = np.abs(np.random.default_rng(1).normal(size=(16, len(spec)))).astype(np.float32)
    said = {"cadence": "every:250ms", "rows": rows} | said
    return import_onnx(root, data, Foreign(model_id=model_id, spec=spec, **said))
