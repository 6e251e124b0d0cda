"""ONNX models that go wrong on rows with a column below 0, or on all rows but the golden ones."""

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from tests.ml.heavy_models import EDGE, below, chances, model

FAR = 100.0  # no feature of the sample market is so large; golden rows may be
TERA = float(1 << 40)  # float32 numbers: 4 TiB


def _chosen(column: int, then: float, other: float, edge: float):
    """Return nodes and tensors that choose a number for each row, [n, 1], by a column of it."""
    constants = {"at": np.array([column], np.int64), "edge": np.array(edge, np.float32)}
    constants |= {"then": np.array(then, np.float32), "other": np.array(other, np.float32)}
    nodes = [
        helper.make_node("Gather", ["x", "at"], ["seen"], axis=1),
        helper.make_node("Less", ["seen", "edge"], ["is_below"]),
        helper.make_node("Where", ["is_below", "then", "other"], ["chosen"]),
    ]
    return nodes, [numpy_helper.from_array(value, name) for name, value in constants.items()]


def _added(features: int, column: int, then: float, edge: float = EDGE) -> bytes:
    """Return a model that adds a number to its probabilities where a column is below an edge."""
    nodes, tensors = _chosen(column, then, 0.0, edge)
    last, more = chances(features, scale=0.01 if edge else 3.0)
    last[-1].output[0] = "right"
    nodes += [*last, helper.make_node("Add", ["right", "chosen"], ["p"])]
    return model(nodes, tensors + more, features)


def blank(features: int, column: int, edge: float = EDGE) -> bytes:
    """Return a model that answers NaN where a column is below an edge."""
    return _added(features, column, float("nan"), edge)


def breaching(features: int, column: int) -> bytes:
    """Return a model whose three numbers sum to 2.5 where a column is below 0."""
    return _added(features, column, 0.5)


def _worst(features: int, column: int, then: float, other: float, nodes, tensors) -> bytes:
    """Return a model whose `nodes` make a number `nothing` of the worst row's choice, `worst`."""
    choice, more = _chosen(column, then, other, EDGE)
    choice.append(helper.make_node("ReduceMax", ["chosen"], ["top"], keepdims=0))
    choice.append(helper.make_node("Cast", ["top"], ["worst"], to=TensorProto.INT64))
    nodes = [*choice, *nodes, helper.make_node("Add", ["x", "nothing"], ["same"])]
    last, most = chances(features, "same")
    return model(nodes + last, [*tensors, *more, *most], features)


def throwing(features: int, column: int) -> bytes:
    """Return a model that the runtime cannot carry out where a column is below 0."""
    tensors = [numpy_helper.from_array(np.zeros(1, np.float32), "one")]
    nodes = [helper.make_node("Gather", ["one", "worst"], ["nothing"], axis=0)]
    return _worst(features, column, 7.0, 0.0, nodes, tensors)


def greedy(features: int, column: int) -> bytes:
    """Return a model that asks for 4 TiB where a column is below 0."""
    tensors = [
        numpy_helper.from_array(np.zeros(1, np.float32), "nil"),
        numpy_helper.from_array(np.array([1], np.int64), "one_number"),
    ]
    nodes = [
        helper.make_node("Reshape", ["worst", "one_number"], ["shape"]),
        helper.make_node("ConstantOfShape", ["shape"], ["huge"]),
        helper.make_node("ReduceMax", ["huge"], ["most"], keepdims=0),
        helper.make_node("Mul", ["most", "nil"], ["nothing"]),
    ]
    return _worst(features, column, TERA, 1.0, nodes, tensors)


def hungry(features: int) -> bytes:
    """Return a model that asks for 4 TiB whatever it sees."""
    tensors = [
        numpy_helper.from_array(np.zeros(1, np.float32), "nil"),
        numpy_helper.from_array(np.array([1 << 40], np.int64), "shape"),
    ]
    nodes = [
        helper.make_node("ConstantOfShape", ["shape"], ["huge"]),
        helper.make_node("ReduceMax", ["huge"], ["most"], keepdims=0),
        helper.make_node("Mul", ["most", "nil"], ["nothing"]),
        helper.make_node("Add", ["x", "nothing"], ["same"]),
    ]
    last, more = chances(features, "same")
    return model(nodes + last, tensors + more, features)


def flat(features: int, column: int) -> bytes:
    """Return a model that answers the same wherever a column is below FAR."""
    nodes, tensors = _chosen(column, 0.0, 1.0, FAR)
    nodes.append(helper.make_node("Mul", ["x", "chosen"], ["same"]))
    last, more = chances(features, "same", scale=0.01)
    return model(nodes + last, tensors + more, features)


def far_rows(features: int) -> np.ndarray:
    """Return golden rows on which `flat` gives different answers."""
    drawn = np.abs(np.random.default_rng(5).normal(size=(16, features)))
    return (drawn * 50.0 + FAR).astype(np.float32)


def looping(features: int) -> bytes:
    """Return a model with a loop that never ends where its first column is below 0."""
    body = helper.make_graph(
        [helper.make_node("Identity", [name], [f"{name}_out"]) for name in ("again", "carried")],
        "body",
        [
            helper.make_tensor_value_info("turn", TensorProto.INT64, []),
            helper.make_tensor_value_info("again", TensorProto.BOOL, []),
            helper.make_tensor_value_info("carried", TensorProto.FLOAT, ["n", features]),
        ],
        [
            helper.make_tensor_value_info("again_out", TensorProto.BOOL, []),
            helper.make_tensor_value_info("carried_out", TensorProto.FLOAT, ["n", features]),
        ],
    )
    nodes, tensors = below(0, 1.0, 0.0)
    nodes.append(helper.make_node("Loop", ["", "is_below", "x"], ["same"], body=body))
    last, more = chances(features, "same")
    return model(nodes + last, tensors + more, features)


def changed(data: bytes, change) -> bytes:
    """Return a model with something changed in its protobuf."""
    found = onnx.load_from_string(data)
    change(found)
    result: bytes = found.SerializeToString()
    return result
