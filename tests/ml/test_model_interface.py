"""Every kind of model answers the same four questions; tables by name; bytes are hashed."""

import subprocess
import sys

import numpy as np
import polars
import pyarrow
import pytest
from onnx import TensorProto, helper, numpy_helper

from ml import registry
from ml.loading import load_model
from ml.model_interface import Model, ModelSpec, Trust, as_rows
from ml.refusal import ModelRefused
from ml.safe_files import sha256
from tests.ml.conftest import NAMES


def onnx(root):
    return root / "SignalClassifier" / "1" / "model.onnx"


def test_an_onnx_file_answers_the_four_questions(root):
    path = onnx(root)
    model, digest = load_model(ModelSpec(path, "onnx"))
    assert isinstance(model, Model)
    assert digest == sha256(path.read_bytes())
    rows = np.random.default_rng(0).normal(size=(40, 4)).astype(np.float32)
    answers = model.predict_proba(rows)
    assert answers.shape == (40, 3)
    assert np.allclose(answers.sum(axis=1), 1, atol=1e-6)
    assert (model.predict(rows) == answers.argmax(axis=1)).all()
    importance = model.get_feature_importance()
    assert max(importance, key=importance.get) == "returns_1"
    assert model.get_model_info()["sha256"] == digest


def test_tables_are_read_by_name_in_whatever_order(root):
    model, _ = registry.load_model(registry.ModelSpec(onnx(root)))
    rows = np.random.default_rng(0).normal(size=(5, 4)).astype(np.float32)
    expected = model.predict_proba(rows)
    columns = {name: rows[:, k] for k, name in reversed(list(enumerate(NAMES)))}
    for table in (pyarrow.table(columns), polars.DataFrame(columns | {"other": [1.0] * 5})):
        assert model.predict_proba(table).tobytes() == expected.tobytes()
    with pytest.raises(ModelRefused, match="missing: rsi_14") as caught:
        model.predict(pyarrow.table({k: v for k, v in columns.items() if k != "rsi_14"}))
    assert caught.value.code == "model.features"


def test_rows_of_another_width_are_refused(root):
    model, _ = load_model(ModelSpec(onnx(root)))
    with pytest.raises(ModelRefused, match=r"\[n, 4\]"):
        model.predict(np.zeros((3, 5), np.float32))
    assert model.predict(np.zeros(4, np.float32)).shape == (1,)
    assert as_rows(np.zeros((2, 3)), (), 3, steps=2).shape == (1, 2, 3)


def test_the_same_bytes_are_loaded_once(root, tmp_path):
    first, _ = load_model(ModelSpec(onnx(root)))
    assert load_model(ModelSpec(onnx(root)))[0] is first
    copy = tmp_path / "model.onnx"
    copy.write_bytes(onnx(root).read_bytes())
    assert load_model(ModelSpec(copy))[0] is first
    assert load_model(ModelSpec(copy, feature_names=("a", "b", "c", "d")))[0] is not first


def test_fault_M02_other_bytes_than_expected_are_refused(root):
    digest = sha256(onnx(root).read_bytes())
    load_model(ModelSpec(onnx(root), sha256=digest))
    with pytest.raises(ModelRefused) as caught:
        load_model(ModelSpec(onnx(root), sha256="0" * 64))
    assert caught.value.code == "model.hash"


def window_model(batch: int | str = "n") -> bytes:
    """Return a graph that sums windows of three rows of two columns."""
    shapes = {"x": [batch, 3, 2], "y": [batch, 1]}
    ports = [helper.make_tensor_value_info(k, TensorProto.FLOAT, v) for k, v in shapes.items()]
    axes = numpy_helper.from_array(np.array([1, 2], np.int64), "axes")
    nodes = [
        helper.make_node("ReduceSum", ["x", "axes"], ["s"], keepdims=0),
        helper.make_node("Unsqueeze", ["s", "one"], ["y"]),
    ]
    one = numpy_helper.from_array(np.array([1], np.int64), "one")
    graph = helper.make_graph(nodes, "g", ports[:1], ports[1:], initializer=[axes, one])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    return model.SerializeToString()


@pytest.mark.parametrize("batch", ["n", 1])
def test_windows_and_values_instead_of_classes(tmp_path, batch):
    path = tmp_path / "window.onnx"
    path.write_bytes(window_model(batch))
    model, _ = load_model(ModelSpec(path))
    x = np.arange(12, dtype=np.float32).reshape(2, 3, 2)
    assert model.get_model_info()["steps"] == 3
    assert model.predict(x).tolist() == [15.0, 51.0]
    assert model.predict(x[0]).tolist() == [15.0]
    with pytest.raises(ModelRefused, match="no probabilities; use predict"):
        model.predict_proba(x)
    with pytest.raises(ModelRefused, match=r"\[n, 3, 2\]"):
        model.predict(np.zeros((2, 4, 2), np.float32))


def test_rows_are_normalised_once_where_the_spec_says_so(root):
    plain, _ = load_model(ModelSpec(onnx(root)))
    scaled, _ = load_model(ModelSpec(onnx(root), normalise=((1.0,) * 4, (2.0,) * 4)))
    assert (
        scaled.predict_proba([[3, 1, 5, 1]]).tolist()
        == plain.predict_proba([[1, 0, 2, 0]]).tolist()
    )


def test_a_row_without_an_answer_is_minus_one(root):
    model, _ = load_model(ModelSpec(root / "TickMLP" / "1" / "model.onnx"))
    assert model.predict(np.full((1, 4), np.nan, np.float32)).tolist() == [-1]


@pytest.mark.parametrize("kind", ["keras", "", "ONNX"])
def test_unknown_kinds_name_the_known(root, kind):
    with pytest.raises(ModelRefused, match="known are onnx, lightgbm") as caught:
        load_model(ModelSpec(onnx(root), kind))
    assert caught.value.code == "model.kind"


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ModelRefused, match=r"gone\.onnx") as caught:
        load_model(ModelSpec(tmp_path / "gone.onnx"))
    assert caught.value.code == "model.missing"


def test_fault_S01_a_pickle_is_not_loaded_unless_rules_and_registry_say_so(root, tmp_path):
    path = tmp_path / "model.pkl"
    mark = tmp_path / "it_ran"
    command = f"cos\nsystem\n(S'touch {mark}'\ntR."
    path.write_bytes(command.encode())
    for trust, word in ((Trust(), "allow_pickle"), (Trust(pickle=True, registry=root), "names no")):
        with pytest.raises(ModelRefused, match=word) as caught:
            load_model(ModelSpec(path, "pickle", trust=trust))
        assert caught.value.code == "model.trust"
    assert not mark.exists()


def test_a_network_of_torch_is_a_file_beside_it_that_somebody_allows(root):
    with pytest.raises(ModelRefused, match="allow_custom"):
        load_model(ModelSpec(onnx(root), "torch", factory="net.py:Net"))
    with pytest.raises(ModelRefused, match=r"write net\.py:Net"):
        load_model(ModelSpec(onnx(root), "torch", factory="Net", trust=Trust(custom=True)))


def test_the_core_loads_no_library_of_another_kind():
    program = (
        "import sys\n"
        "import ml.registry, ml.worker_model, ml.loading, ml.outputs, app.opening, app.wire\n"
        "bad = set('lightgbm xgboost catboost sklearn skops torch pandas pickle5 onnx'.split())\n"
        "bad = bad & set(sys.modules) | {n for n in sys.modules if n.startswith('ml.worker.')}\n"
        "sys.exit(str(bad) if bad else 0)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
