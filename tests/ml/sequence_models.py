"""Small ONNX models that read a window of rows, and the same over single rows; made when needed."""

from pathlib import Path

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from features.spec import FeatureSpec
from ml.importing import Foreign, import_onnx
from ml.manifest import Entry


def weights(features: int, seed: int = 5) -> np.ndarray:
    """Return float32[F, 3] from a row to three scores."""
    draw = np.random.default_rng(seed)
    return (draw.normal(size=(features, 3)) * 0.3).astype(np.float32)


def model_of(steps: int, features: int, seed: int = 5, turned: bool = False) -> bytes:
    """Return softmax(mean over steps of x W); `steps` 0 reads single rows.

    Args:
        turned: SELL and BUY change places.
    """
    weight = weights(features, seed)[:, :: -1 if turned else 1]
    sizes = ["n", features] if steps == 0 else [1, steps, features]
    ports = [
        helper.make_tensor_value_info("x", TensorProto.FLOAT, sizes),
        helper.make_tensor_value_info("p", TensorProto.FLOAT, [sizes[0], 3]),
    ]
    middle = "x" if steps == 0 else "middle"
    nodes = [
        helper.make_node("MatMul", [middle, "w"], ["scores"]),
        helper.make_node("Softmax", ["scores"], ["p"], axis=-1),
    ]
    if steps:
        nodes.insert(0, helper.make_node("ReduceMean", ["x"], ["middle"], axes=[1], keepdims=0))
    tensor = numpy_helper.from_array(np.ascontiguousarray(weight), "w")
    graph = helper.make_graph(nodes, "sequence", ports[:1], ports[1:], initializer=[tensor])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    data: bytes = model.SerializeToString()
    return data


def register(root: Path, model_id: str, steps: int, spec: FeatureSpec, **said) -> Entry:
    """Register such a model as the next version of an id, a candidate."""
    data = model_of(steps, len(spec), said.pop("seed", 5), said.pop("turned", False))
    foreign = Foreign(
        model_id=model_id, spec=spec, sequence_length=steps, **{"cadence": "bar:1m", **said}
    )
    return import_onnx(root, data, foreign)
