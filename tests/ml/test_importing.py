"""Models made elsewhere: binary and three-class, registered, loaded and checked like our own."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from features.spec import FeatureSpec
from ml import registry
from ml.importing import Foreign, import_onnx
from ml.manifest import Normalisation
from ml.refusal import ModelRefused
from tests.ml.conftest import toy_spec

UNKNOWN = FeatureSpec(tuple((f"no_such_feature_{k}", {}) for k in "abcd"))


def binary(features: int = 4, columns: int = 1, dtype=TensorProto.FLOAT, last="Sigmoid") -> bytes:
    """Return a small network with one probability."""
    rng = np.random.default_rng(5)
    sizes = (features, 8, columns)
    tensors, nodes, current = [], [], "x"
    for k in range(2):
        weight = rng.normal(size=(sizes[k], sizes[k + 1])).astype(np.float32)
        tensors.append(numpy_helper.from_array(weight, f"w{k}"))
        nodes.append(helper.make_node("MatMul", [current, f"w{k}"], [f"z{k}"]))
        operator, current = (("Relu", "a0"), (last, "p"))[k]
        nodes.append(helper.make_node(operator, [f"z{k}"], [current]))
    graph = helper.make_graph(
        nodes,
        "binary",
        [helper.make_tensor_value_info("x", dtype, ["n", features])],
        [helper.make_tensor_value_info("p", dtype, ["n", columns])],
        initializer=tensors,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    return model.SerializeToString()


def foreign(**changes) -> Foreign:
    """Return what is said of the model."""
    return Foreign(**({"model_id": "Peer", "spec": toy_spec(), "kind": "binary"} | changes))


def test_a_binary_model_is_registered_loaded_and_checked(tmp_path):
    entry = import_onnx(tmp_path, binary(), foreign())
    assert (entry.name, entry.status) == ("Peer:1", "candidate")
    loaded = registry.load(tmp_path, "Peer", "1")
    registry.check(loaded)
    assert (loaded.output_kind, loaded.columns, loaded.classes) == ("binary", 1, ("UP",))
    model = loaded.open()
    assert model.y.shape == (1, 1)
    assert import_onnx(tmp_path, binary(), foreign()).name == "Peer:2"


def test_answers_of_the_source_are_the_golden_ones(tmp_path):
    rows = np.random.default_rng(1).normal(size=(64, 4)).astype(np.float32)
    wrong = np.full((64, 1), 0.25, np.float32)
    with pytest.raises(ModelRefused) as caught:
        import_onnx(tmp_path, binary(), foreign(rows=rows, answers=wrong))
    assert caught.value.code == "model.golden"
    assert not (tmp_path / "registry.json").exists()


def test_normalisation_numbers_in_the_metadata_are_applied(tmp_path):
    kept = Normalisation(where="metadata", mean=(1.0, 2.0, 3.0, 4.0), std=(2.0, 2.0, 4.0, 4.0))
    import_onnx(tmp_path, binary(), foreign(normalisation=kept))
    plain = import_onnx(tmp_path, binary(), foreign(model_id="Plain"))
    model = registry.load(tmp_path, "Peer", "1").open()
    other = registry.load(tmp_path, "Plain", plain.version).open()
    row = np.array([[3.0, 0.0, 7.0, 0.0]], np.float32)
    scaled = np.array([[1.0, -1.0, 1.0, -1.0]], np.float32)
    assert model.run_batch(row).tobytes() == other.run_batch(scaled).tobytes()


@pytest.mark.parametrize(
    ("data", "changes", "code"),
    [
        (binary(features=5), {}, "model.contract"),
        (binary(columns=3), {}, "model.contract"),
        (binary(), {"kind": "classifier3"}, "model.contract"),
        (binary(dtype=TensorProto.DOUBLE), {}, "model.invalid"),
        (binary(last="Identity"), {}, "model.output"),
        (binary(), {"output": "other"}, "model.contract"),
        (binary()[:300], {}, "model.invalid"),
        (binary(), {"spec": UNKNOWN}, None),
        (binary(), {"model_id": "../up"}, "model.path"),
        (
            binary(),
            {"normalisation": Normalisation(where="metadata", mean=(1.0,), std=(1.0,))},
            "model.contract",
        ),
    ],
)
def test_fault_M06_and_M07_what_does_not_fit_is_refused(tmp_path, data, changes, code):
    with pytest.raises(Exception) as caught:
        import_onnx(tmp_path, data, foreign(**changes))
    assert getattr(caught.value, "code", None) == code
    assert not (tmp_path / "registry.json").exists()


def test_three_classes_in_another_order_are_kept_as_declared(tmp_path):
    data = binary(columns=3, last="Softmax")
    classes = ("BUY", "HOLD", "SELL")
    import_onnx(tmp_path, data, foreign(kind="classifier3", classes=classes))
    assert registry.load(tmp_path, "Peer", "1").classes == classes
    with pytest.raises(ModelRefused, match="in any order"):
        import_onnx(tmp_path, data, foreign(kind="classifier3", classes=("UP", "DOWN", "FLAT")))


def test_the_example_is_a_model_that_onnx_itself_accepts():
    onnx.checker.check_model(onnx.load_from_string(binary()), full_check=True)
