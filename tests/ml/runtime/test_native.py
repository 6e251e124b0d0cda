"""The runtime's C entry answers as the Python binding does, or is not used."""

import numpy as np
import pytest

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from benchmarks import peer_models
from ml.runtime.native import NativeRun, native_run
from ml.runtime.session import OrtModel

ROWS = np.random.default_rng(5).normal(0, 1, (200, peer_models.INPUTS)).astype(np.float32)
ROWS[0] = np.nan


def _model(data: bytes) -> OrtModel:
    x, y = np.zeros((1, peer_models.INPUTS), np.float32), np.zeros((1, 1), np.float32)
    return OrtModel(data, x=x, y=y)


@pytest.mark.parametrize("make", [peer_models.logistic, peer_models.mlp])
def test_same_bits_as_the_binding(make) -> None:
    data = make()
    model = _model(data)
    native = native_run(data, model, ROWS)
    assert native is not None
    assert native.function and native.arguments
    model.x[0] = ROWS[7]
    native.run()
    from_native = model.y.copy()
    model.y[:] = 0.0
    model.run()
    assert from_native.tobytes() == model.y.tobytes()


def test_a_rehearsal_touches_neither_row_nor_answer() -> None:
    data = peer_models.mlp()
    model = _model(data)
    native = native_run(data, model, ROWS)
    assert native is not None
    model.x[0], model.y[:] = ROWS[3], 7.0
    native.rehearse()
    assert model.x[0].tobytes() == ROWS[3].tobytes()
    assert (model.y == 7.0).all()
    zeros = _model(data)
    zeros.run()
    assert native._spare[1].tobytes() == zeros.y.tobytes(), "it was a whole run"


def test_another_model_is_not_taken_for_it() -> None:
    model = _model(peer_models.logistic())
    assert not NativeRun(peer_models.mlp(), _renamed(model)).equals(ROWS)


def _renamed(model: OrtModel) -> OrtModel:
    assert (model.input_name, model.output_name) == ("x", "p")
    return model


def test_bytes_that_are_no_model_give_none() -> None:
    data = peer_models.logistic()
    assert native_run(data[: len(data) // 2], _model(data), ROWS) is None


def test_a_model_normalised_in_python_has_no_entry() -> None:
    data = peer_models.logistic()
    x, y = np.zeros((1, peer_models.INPUTS), np.float32), np.zeros((1, 1), np.float32)
    mean, scale = np.zeros(peer_models.INPUTS, np.float32), np.ones(peer_models.INPUTS, np.float32)
    model = OrtModel(data, x=x, y=y, normalise=(mean, scale))
    assert native_run(data, model, ROWS) is None
