"""Writes ONNX files: calibrated trees and small networks, opset 17, the same bytes each time."""

import re
from collections.abc import Mapping, Sequence

import lightgbm as lgb
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from onnx import version_converter as converter

from engine.errors import DataError
from ml.training.calibrate import softmax

OPSET, OPSET_ML, IR_VERSION = 17, 1, 8
INPUT, OUTPUT = "features", "probabilities"
PRODUCER = "tickgate"
CLASSES = 3
LARGEST = float(np.finfo(np.float32).max)
ZERO = np.float32(1e-35)  # LightGBM's kZeroThreshold


def float32_thresholds(booster: lgb.Booster) -> lgb.Booster:
    """Return the same trees with every threshold the largest float32 that is not above it.

    The graph keeps thresholds as float32. Rounded to nearest, some would come to lie above a
    float32 feature that stands between, and single rows would take the other branch. Rounded down,
    the trees answer float32 rows exactly as before.

    Args:
        booster: numerical and categorical splits; `zero_as_missing` is refused.
    Raises:
        DataError: the model was trained with zero_as_missing, which the graph cannot express.
    """
    text = booster.model_to_string(num_iteration=-1)
    if re.search(r"^\[zero_as_missing: (1|true)\]$", text, re.MULTILINE):
        raise DataError("zero_as_missing has no form in ONNX: train without it")
    lines = []
    for line in text.splitlines():
        if line.startswith("tree_sizes="):
            continue
        if line.startswith("threshold=") and line != "threshold=":
            values = np.array(line.removeprefix("threshold=").split(), np.float64)
            line = "threshold=" + " ".join(repr(float(v)) for v in _down(values))
        lines.append(line)
    return lgb.Booster(model_str="\n".join(lines) + "\n")


def _down(values: np.ndarray) -> np.ndarray:
    """Return the largest float32 not above each float64, as float64.

    LightGBM reads numbers up to 1e-35 as zero before it compares, the graph does not: a threshold
    of -1e-35 moves one float32 further down, so that both send -1e-35 to the right.
    """
    with np.errstate(over="ignore"):
        rounded = values.astype(np.float32)
    above = (rounded.astype(np.float64) > values) | (rounded == -ZERO)
    rounded[above] = np.nextafter(rounded[above], np.float32(-np.inf))
    return rounded.astype(np.float64)


def thresholds(booster: lgb.Booster) -> list[tuple[int, float]]:
    """Return (feature, threshold) of every finite numerical split, in the order of the trees."""
    found: list[tuple[int, float]] = []
    for tree in booster.dump_model()["tree_info"]:
        waiting = [tree["tree_structure"]]
        while waiting:
            node = waiting.pop()
            if "split_feature" in node:
                if node["decision_type"] == "<=" and abs(node["threshold"]) < LARGEST:
                    found.append((int(node["split_feature"]), float(node["threshold"])))
                waiting += [node["left_child"], node["right_child"]]
    return found


def tree_probabilities(booster: lgb.Booster, temperature: float, rows: np.ndarray) -> np.ndarray:
    """Return what the source model answers: float32[n, F] to float32[n, 3]."""
    raw = booster.predict(np.asarray(rows, np.float32).astype(np.float64), raw_score=True)
    return softmax(np.asarray(raw, np.float64) / temperature).astype(np.float32)


def trees_to_onnx(
    booster: lgb.Booster, *, features: int, temperature: float, properties: Mapping[str, str]
) -> bytes:
    """Export calibrated multiclass trees.

    Args:
        booster: from float32_thresholds.
        features: columns of the input.
        temperature: scores are divided by it before the softmax, inside the graph.
        properties: small texts kept in the file.
    Returns:
        The ONNX file: float32[n, features] `features` to float32[n, 3] `probabilities`.
    """
    from onnxmltools.convert import convert_lightgbm
    from onnxmltools.convert.common.data_types import FloatTensorType

    shape = [("features", FloatTensorType([None, features]))]
    model = convert_lightgbm(booster, initial_types=shape, zipmap=False, target_opset=15)
    model = converter.convert_version(model, OPSET)
    trees = [node for node in model.graph.node if node.op_type == "TreeEnsembleClassifier"]
    assert len(trees) == 1, [node.op_type for node in model.graph.node]
    node = trees[0]
    for attribute in node.attribute:
        if attribute.name == "post_transform":
            attribute.s = b"NONE"
    del node.output[:]
    node.output.extend(["label", "scores"])
    node.input[0] = INPUT
    node.name = "trees"
    inverse = numpy_helper.from_array(np.array([1.0 / temperature], np.float32), "calibration")
    nodes = [
        node,
        helper.make_node("Mul", ["scores", "calibration"], ["calibrated"], name="calibrate"),
        helper.make_node("Softmax", ["calibrated"], [OUTPUT], name="softmax", axis=1),
    ]
    return _finish(nodes, [inverse], features, properties)


def network_to_onnx(
    weights: Sequence[np.ndarray],
    biases: Sequence[np.ndarray],
    *,
    mean: np.ndarray,
    scale: np.ndarray,
    temperature: float,
    properties: Mapping[str, str],
) -> bytes:
    """Export a normalised, calibrated network of Relu layers.

    Args:
        weights: float[in, out] of each layer, the last one with 3 columns.
        biases: float[out] of each layer.
        mean: float[F], subtracted from the input inside the graph.
        scale: float[F], then multiplied with it.
        temperature: scores are divided by it before the softmax.
        properties: small texts kept in the file.
    Returns:
        The ONNX file: float32[n, F] `features` to float32[n, 3] `probabilities`.
    """
    constants = [("mean", mean), ("scale", scale), ("calibration", np.array([1.0 / temperature]))]
    nodes = [
        helper.make_node("Sub", [INPUT, "mean"], ["centred"], name="centre"),
        helper.make_node("Mul", ["centred", "scale"], ["normal"], name="scale"),
    ]
    current = "normal"
    for k, (weight, bias) in enumerate(zip(weights, biases, strict=True)):
        constants += [(f"weight_{k}", weight), (f"bias_{k}", bias)]
        inputs = [current, f"weight_{k}", f"bias_{k}"]
        nodes.append(helper.make_node("Gemm", inputs, [f"layer_{k}"], name=f"gemm_{k}"))
        current = f"layer_{k}"
        if k < len(weights) - 1:
            nodes.append(helper.make_node("Relu", [current], [f"relu_{k}"], name=f"relu_{k}"))
            current = f"relu_{k}"
    nodes += [
        helper.make_node("Mul", [current, "calibration"], ["calibrated"], name="calibrate"),
        helper.make_node("Softmax", ["calibrated"], [OUTPUT], name="softmax", axis=1),
    ]
    tensors = [
        numpy_helper.from_array(np.ascontiguousarray(values, np.float32), name)
        for name, values in constants
    ]
    return _finish(nodes, tensors, len(mean), properties)


def _finish(
    nodes: Sequence[onnx.NodeProto],
    tensors: Sequence[onnx.TensorProto],
    features: int,
    properties: Mapping[str, str],
) -> bytes:
    """Make the model from its parts, check it, and write it in one fixed byte form."""
    graph = helper.make_graph(
        nodes,
        "model",
        [helper.make_tensor_value_info(INPUT, TensorProto.FLOAT, ["n", features])],
        [helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, ["n", CLASSES])],
        initializer=tensors,
    )
    opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid("ai.onnx.ml", OPSET_ML)]
    if all(node.domain == "" for node in nodes):
        opsets = opsets[:1]
    model = helper.make_model(graph, opset_imports=opsets, producer_name=PRODUCER)
    model.ir_version = IR_VERSION
    model.producer_version = ""
    helper.set_model_props(model, dict(sorted(properties.items())))
    onnx.checker.check_model(model, full_check=True)
    return model.SerializeToString(deterministic=True)
