"""One bound call: in place, equal to a batch bit for bit, and silent about what is missing."""

import functools
import sys
from dataclasses import replace

import numpy as np
import pytest
from onnx import helper, numpy_helper

from ml import registry
from ml.refusal import ModelRefused
from ml.runtime import library, session
from ml.runtime.native import NativeModel
from ml.runtime.session import OrtModel


@pytest.fixture
def loaded(root):
    return registry.load(root, "SignalClassifier")


def arrays(columns=4, answers=3):
    return {"x": np.zeros((1, columns), np.float32), "y": np.zeros((1, answers), np.float32)}


def through_python(loaded, **more):
    """Open it as where the shared library is missing."""
    return OrtModel(loaded.model_bytes, output=loaded.entry.output_schema.name, **arrays(), **more)


def test_it_reads_and_writes_the_arrays_it_was_given(loaded):
    given = arrays()
    x, y = given["x"], given["y"]
    for model in (loaded.open(x, y), OrtModel(loaded.model_bytes, **given)):
        for row in loaded.golden.x[:50]:
            x[0] = row
            model.run()
            assert y.tobytes() == model.run_batch(row[None]).tobytes()


@pytest.mark.parametrize("name", ["SignalClassifier:1", "TickMLP:1"])
def test_batches_equal_single_rows_bit_for_bit(root, name):
    loaded = registry.load(root, *name.split(":"))
    rows = np.random.default_rng(3).normal(size=(1500, 4)).astype(np.float32)
    assert loaded.open().batch_equals_single(rows)
    assert through_python(loaded).batch_equals_single(rows)


def test_a_batch_that_differs_is_seen(loaded, monkeypatch):
    model = loaded.open()
    plain = model.run_batch
    monkeypatch.setattr(model, "run_batch", lambda rows: plain(rows) + np.float32(1e-7))
    assert not model.batch_equals_single(loaded.golden.x)


def test_the_public_call_serves_when_the_short_one_is_gone(loaded, monkeypatch):
    fast = through_python(loaded)

    class Without:
        """A session whose private attribute has gone."""

        def __init__(self, inner):
            self._inner = inner

        def __getattr__(self, name):
            if name == "_sess":
                raise AttributeError(name)
            return getattr(self._inner, name)

    opened = session.open_session
    monkeypatch.setattr(session, "open_session", lambda *args: Without(opened(*args)))
    slow = through_python(loaded)
    rows = loaded.golden.x
    assert slow.run_rows(rows).tobytes() == fast.run_rows(rows).tobytes()
    assert slow.run.func.__name__ == "run_with_iobinding"


def test_normalisation_of_a_foreign_model_is_applied_once(loaded):
    mean, scale = np.full(4, 0.5, np.float32), np.full(4, 2.0, np.float32)
    scaled = through_python(loaded, normalise=(mean, scale))
    plain = through_python(loaded)
    rows = loaded.golden.x
    expected = plain.run_batch((rows - mean) * scale)
    assert scaled.run_batch(rows).tobytes() == expected.tobytes()
    assert scaled.run_rows(rows).tobytes() == expected.tobytes()


def test_no_onnxruntime_is_a_refusal_that_says_what_helps(loaded, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    monkeypatch.setattr(library, "library", library.library.__wrapped__)  # as in a new process
    with pytest.raises(ModelRefused) as caught:
        loaded.open()
    assert caught.value.code == "runtime.missing"
    assert caught.value.status.name == "RUNTIME_MISSING"
    assert caught.value.hold.name == "RUNTIME_MISSING"
    assert "make replay" in str(caught.value)


@pytest.mark.parametrize(("inputs", "outputs"), [(5, 3), (4, 2)])
def test_fault_M06_other_shapes_are_refused(loaded, inputs, outputs):
    with pytest.raises(ModelRefused) as caught:
        loaded.open(np.zeros((1, inputs), np.float32), np.zeros((1, outputs), np.float32))
    assert caught.value.code == "model.contract"


def test_fault_M01_bytes_that_only_the_runtime_refuses(loaded, capfd):
    with pytest.raises(ModelRefused) as caught:
        through_python(replace(loaded, model_bytes=loaded.model_bytes[:200]))
    assert caught.value.code == "model.invalid"
    assert capfd.readouterr() == ("", "")


def test_fault_M12_a_graph_that_wants_all_memory_is_refused():
    nodes = [
        helper.make_node("ConstantOfShape", ["shape"], ["huge"]),
        helper.make_node("ReduceMean", ["huge"], ["mean"], keepdims=0),
        helper.make_node("MatMul", ["x", "w"], ["z"]),
        helper.make_node("Add", ["z", "mean"], ["y"]),
    ]
    tensors = [
        numpy_helper.from_array(np.array([1 << 40], np.int64), "shape"),
        numpy_helper.from_array(np.ones((2, 3), np.float32), "w"),
    ]
    ports = [helper.make_tensor_value_info(n, 1, ["n", s]) for n, s in (("x", 2), ("y", 3))]
    graph = helper.make_graph(nodes, "huge", ports[:1], ports[1:], initializer=tensors)
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    made.ir_version = 8
    data, names = made.SerializeToString(), ("x", "y")
    for opened in (OrtModel, functools.partial(NativeModel, names=names)):
        with pytest.raises(ModelRefused) as caught:
            opened(data, **arrays(2, 3))
        assert caught.value.code in ("model.invalid", "runtime.failed")


def test_a_missing_feature_gives_no_number_from_the_network(root):
    model = registry.load(root, "TickMLP", "1").open()
    model.x[:] = np.nan
    model.run()
    assert np.isnan(model.y).all()
