"""Golden rows: packed without pickles, and any other answer than the source's is seen."""

import io

import numpy as np
import pytest

from ml import golden as g
from ml import registry
from ml.importing import Foreign, import_onnx
from ml.refusal import ModelRefused
from ml.runtime.session import OrtModel
from tests.ml import output_models

ROWS = np.linspace(0.05, 0.35, 20, dtype=np.float32)
ANSWERS = np.stack([ROWS, 1 - 2.5 * ROWS, 1.5 * ROWS], axis=1).astype(np.float32)


def make(**changes) -> g.Golden:
    """Return golden rows with some arrays replaced."""
    arrays = {
        "x": np.zeros((20, 2), np.float32),
        "y": ANSWERS,
        "tape_rows": np.zeros((0, 64), np.uint8),
        "tape_at": np.zeros(0, np.int64),
        "tape_x": np.zeros((0, 2), np.float32),
    }
    return g.Golden(**(arrays | changes))


def test_packing_is_the_same_bytes_each_time_and_reads_back():
    data = g.pack(make())
    assert g.pack(make()) == data
    assert g.unpack(data).y.tobytes() == ANSWERS.tobytes()


@pytest.mark.parametrize(
    "changes",
    [
        {"x": np.zeros((20, 2))},
        {"y": ANSWERS[:19]},
        {"x": np.zeros((2, 2), np.float32), "y": ANSWERS[:2]},
        {"x": np.zeros(20, np.float32)},
    ],
)
def test_other_types_and_shapes_are_refused(changes):
    with pytest.raises(ModelRefused):
        g.unpack(g.pack(make(**changes)))


def test_fault_S01_a_pickle_in_the_file_is_not_loaded():
    buffer = io.BytesIO()
    np.savez(buffer, x=np.array([{"evil": 1}], dtype=object), y=ANSWERS)
    with pytest.raises(ModelRefused):
        g.unpack(buffer.getvalue())


def test_a_packed_bomb_is_refused_by_its_declared_size():
    buffer = io.BytesIO()
    np.savez_compressed(buffer, x=np.zeros((1 << 24, 2), np.float32), y=ANSWERS)
    assert len(buffer.getvalue()) < 1 << 20
    with pytest.raises(ModelRefused, match="too large"):
        g.unpack(buffer.getvalue())


@pytest.mark.parametrize("data", [b"", b"PK\x03\x04", b"x" * 100])
def test_other_bytes_are_refused(data):
    with pytest.raises(ModelRefused):
        g.unpack(data)


def test_small_differences_pass_and_larger_ones_do_not():
    assert g.compare(ANSWERS, ANSWERS + np.float32(5e-6)) == ""
    assert "tolerance" in g.compare(ANSWERS, ANSWERS + np.float32(3e-5))


@pytest.mark.parametrize("scale", [1e-6, 1e-4, 0.02, 1.0, 60_000.0])
def test_values_are_compared_by_their_own_scale(scale):
    """A regressor of returns that is off by a tenth, or a hundredth, is another one."""
    values = (np.random.default_rng(4).standard_normal((64, 2)) * [scale, 3.0]).astype(np.float32)
    rounded = np.nextafter(values, np.float32(np.inf))
    assert g.compare(values, rounded, probabilities=False) == ""
    for factor in (1.1, 0.9, 1.01):
        other = values.copy()
        other[:, 0] *= np.float32(factor)
        assert "tolerance" in g.compare(values, other, probabilities=False), factor


def test_fault_M14_a_regressor_of_returns_that_is_off_by_a_tenth_is_not_registered(tmp_path):
    data, x = output_models.onnx_of(1, 1e-4), output_models.rows()
    right = OrtModel(data, x=np.zeros((1, x.shape[1]), np.float32), y=np.zeros((1, 1), np.float32))
    answers = right.run_rows(x)
    assert np.abs(answers).max() < 1.1e-4, "a tenth of it is about the 1e-5 of probabilities"
    said = {"spec": output_models.spec(), "kind": "regressor", "words": {"scale": 1e-4}, "rows": x}
    with pytest.raises(ModelRefused) as caught:
        import_onnx(tmp_path, data, Foreign(model_id="Off", answers=answers * 0.9, **said))
    assert caught.value.code == "model.golden"
    assert not (tmp_path / "Off").exists()
    assert import_onnx(tmp_path, data, Foreign(model_id="Right", answers=answers, **said)).version


def test_a_column_of_zeros_and_no_answers_at_all_are_compared_too():
    values = np.zeros((20, 2), np.float32)
    values[:, 1] = np.linspace(-1e-3, 1e-3, 20)
    assert g.compare(values, values + np.float32(1e-9), probabilities=False) == ""
    assert "row" in g.compare(values, values + np.float32(1e-4), probabilities=False)
    blind = np.full((20, 2), np.nan, np.float32)
    assert g.compare(blind, blind, probabilities=False) == ""


def test_another_best_class_is_seen_unless_the_two_best_are_level():
    level = np.array([[0.5, 0.499995, 0.0]], np.float32)
    clear = np.array([[0.500011, 0.499989, 0.0]], np.float32)
    assert g.compare(level, level[:, [1, 0, 2]]) == ""
    assert g.compare(clear, clear[:, [1, 0, 2]]) != ""


def test_fault_M08_a_number_for_nothing_and_nothing_for_a_number_are_seen():
    blind = ANSWERS.copy()
    blind[3] = np.nan
    assert "row 3" in g.compare(ANSWERS, blind)
    assert "row 3" in g.compare(blind, ANSWERS)
    assert g.compare(blind, blind) == ""


@pytest.mark.parametrize(
    ("answers", "word"),
    [
        (ANSWERS + np.float32(1), "not 0 and 1"),
        (ANSWERS * np.float32(0.5), "sum to 1"),
        (np.full((5, 3), 1 / 3, np.float32), "same answer"),
        (np.full((5, 3), np.nan, np.float32), "finite"),
    ],
)
def test_fault_M07_and_M09_answers_that_are_no_probabilities(answers, word):
    assert word in g.check_probabilities(answers)
    assert g.check_probabilities(ANSWERS) == ""


def test_fault_M14_a_changed_golden_answer_is_refused_at_load(root):
    loaded = registry.load(root, "SignalClassifier")
    loaded.golden.y[7] = loaded.golden.y[7][::-1]
    with pytest.raises(ModelRefused) as caught:
        registry.check(loaded)
    assert caught.value.code == "model.golden"
    assert "row 7" in str(caught.value)


def test_golden_rows_are_many_and_hold_the_hard_ones(root):
    golden = registry.load(root, "SignalClassifier").golden
    assert len(golden.x) >= 256
    assert np.isnan(golden.x).any(axis=1).sum() >= 16
    assert (golden.x == 0).all(axis=1).any()
