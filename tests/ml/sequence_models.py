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


def model_of(
    steps: int, features: int, seed: int = 5, turned: bool = False, many: bool = False
) -> bytes:
    """Return softmax(mean over steps of x W); `steps` 0 reads single rows.

    Args:
        turned: SELL and BUY change places.
        many: it reads several windows a call, by a convolution: read together, they give the bits
            of single ones, which means do not.
    """
    weight = weights(features, seed)[:, :: -1 if turned else 1]
    first = "n" if many or steps == 0 else 1
    sizes = [first, features] if steps == 0 else [first, steps, features]
    ports = [
        helper.make_tensor_value_info("x", TensorProto.FLOAT, sizes),
        helper.make_tensor_value_info("p", TensorProto.FLOAT, [sizes[0], 3]),
    ]
    tensors = [numpy_helper.from_array(np.ascontiguousarray(weight), "w")]
    if steps and many:
        nodes = [
            helper.make_node("Transpose", ["x"], ["turned"], perm=[0, 2, 1]),
            helper.make_node("Conv", ["turned", "each"], ["summed"]),
            helper.make_node("Squeeze", ["summed", "axes"], ["scores"]),
        ]
        each = np.repeat(weight.T[:, :, np.newaxis], steps, axis=2) / np.float32(steps)
        tensors = [numpy_helper.from_array(np.ascontiguousarray(each), "each")]
        tensors.append(numpy_helper.from_array(np.array([2], np.int64), "axes"))
    elif steps:
        nodes = [
            helper.make_node("ReduceMean", ["x"], ["middle"], axes=[1], keepdims=0),
            helper.make_node("MatMul", ["middle", "w"], ["scores"]),
        ]
    else:
        nodes = [helper.make_node("MatMul", ["x", "w"], ["scores"])]
    nodes.append(helper.make_node("Softmax", ["scores"], ["p"], axis=-1))
    graph = helper.make_graph(nodes, "sequence", ports[:1], ports[1:], initializer=tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    data: bytes = model.SerializeToString()
    return data


def register(root: Path, model_id: str, steps: int, spec: FeatureSpec, **said) -> Entry:
    """Register such a model as the next version of an id, a candidate."""
    words = {name: said.pop(name) for name in ("seed", "turned", "many") if name in said}
    data = model_of(steps, len(spec), **words)
    foreign = Foreign(
        model_id=model_id, spec=spec, sequence_length=steps, **{"cadence": "bar:1m", **said}
    )
    return import_onnx(root, data, foreign)
