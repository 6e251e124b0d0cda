"""Rows that wait: batches of every size answer as single rows do, or no row waits."""

import numpy as np
import onnx
import pytest

from app.waiting import SIZES, WaitingRows, waiting_rows
from engine.limits import WAITING_ROWS
from ml.runtime.bound import BoundModel
from ml.runtime.native import NativeModel
from ml.runtime.session import OrtModel
from tests.ml.output_models import onnx_of, rows

COLUMNS = 3
DATA = onnx_of(COLUMNS, 1.0)


def opened(data: bytes = DATA, way: str = "python") -> BoundModel:
    width = rows().shape[1]
    arrays = {"x": np.zeros((1, width), np.float32), "y": np.zeros((1, COLUMNS), np.float32)}
    python = OrtModel(data, **arrays)
    if way == "normalised":
        numbers = (np.full(width, 0.5, np.float32), np.full(width, 1.25, np.float32))
        return OrtModel(data, normalise=numbers, **arrays)
    if way == "native":
        names = python.input_name, python.output_name
        return NativeModel(data, names=names, quick=True, **arrays)
    return python


@pytest.mark.parametrize("way", ["python", "native", "normalised"])
def test_batches_of_every_size_give_the_bits_of_single_rows(way):
    width = rows().shape[1]
    model = opened(way=way)
    made = waiting_rows(model, rows())
    assert made is not None
    x = np.random.default_rng(3).permutation(np.resize(rows(), (WAITING_ROWS, width)))
    single = model.run_rows(x)
    for count in (1, SIZES[0], SIZES[0] + 1, SIZES[1], SIZES[1] + 1, WAITING_ROWS):
        made.x[:count] = x[:count]
        made.y[:] = np.nan
        made.run(count)
        assert made.y[:count].tobytes() == single[:count].tobytes(), count
    assert not made.equals_single(single + np.float32(1e-6), x)
    assert made.equals_single(single, x)


@pytest.mark.parametrize("way", ["python", "native"])
def test_a_model_of_one_row_a_call_is_asked_at_once(way):
    model = onnx.load_from_string(DATA)
    for port in (*model.graph.input, *model.graph.output):
        port.type.tensor_type.shape.dim[0].dim_value = 1
    one = opened(model.SerializeToString(), way)
    assert waiting_rows(one, rows()) is None


def test_a_model_whose_batches_differ_is_asked_at_once(monkeypatch):
    def unlike(self, count):
        run(self, count)
        self.y[count - 1] += np.float32(1e-6)

    run = WaitingRows.run
    monkeypatch.setattr(WaitingRows, "run", unlike)
    assert waiting_rows(opened(), rows()) is None
