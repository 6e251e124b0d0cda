"""The runtime's C entry: the same bits as its Python package, in place, and freed when closed."""

import threading

import numpy as np
import pytest

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from benchmarks import lateness_models, peer_models
from ml import registry
from ml.refusal import ModelRefused
from ml.runtime import library
from ml.runtime.native import NativeModel
from ml.runtime.session import OrtModel

ROWS = np.random.default_rng(5).normal(0, 1, (200, peer_models.INPUTS)).astype(np.float32)
ROWS[0] = np.nan
NAMES = "x", "p"


def arrays() -> dict[str, np.ndarray]:
    """Return the input and the output of the peers' models."""
    return {
        "x": np.zeros((1, peer_models.INPUTS), np.float32),
        "y": np.zeros((1, 1), np.float32),
    }


def native(data: bytes, *, quick: bool = True, names: tuple[str, str] = NAMES) -> NativeModel:
    """Open a model of the peers."""
    return NativeModel(data, names=names, quick=quick, **arrays())


@pytest.mark.parametrize("quick", [True, False])
@pytest.mark.parametrize("make", [peer_models.logistic, peer_models.mlp])
def test_same_bits_as_the_python_package(make, quick) -> None:
    data = make()
    ours, other = native(data, quick=quick), OrtModel(data, **arrays())
    assert ours.function and ours.arguments
    single, batch = other.run_rows(ROWS), other.run_batch(ROWS)
    assert ours.run_rows(ROWS).tobytes() == single.tobytes()
    assert ours.run_batch(ROWS).tobytes() == batch.tobytes()
    for row, answer in zip(ROWS[:20], single):
        ours.x[0] = row
        ours.run()
        assert ours.y[0].tobytes() == answer.tobytes()


def test_batches_read_and_write_in_place() -> None:
    model = native(peer_models.mlp())
    x, y = ROWS[1:9].copy(), np.zeros((8, 1), np.float32)
    small, large = model.batches(x, y, (3, 8))
    small()
    assert y[:3].tobytes() == model.run_batch(x[:3]).tobytes()
    assert not y[3:].any()
    x += np.float32(1.0)
    large()
    assert y.tobytes() == model.run_batch(x).tobytes()


def test_windows_are_those_of_the_ring() -> None:
    data = lateness_models.transformer()
    steps, width = lateness_models.STEPS, lateness_models.TICK_FEATURES
    x, y = np.zeros((1, steps, width), np.float32), np.zeros((1, 3), np.float32)
    other = OrtModel(data, x=x.copy(), y=y.copy())
    model = NativeModel(data, x=x, y=y, names=(other.input_name, other.output_name))
    ring = np.zeros((2 * steps, width), np.float32)
    calls = model.windows(ring)
    assert len(calls) == steps
    assert model.window_arguments(ring) == model.window_arguments(ring), "wrapped once"
    ring[:] = np.random.default_rng(1).normal(size=ring.shape)
    for at in (0, 1, steps - 1):
        calls[at]()
        window = ring[at + 1 : at + 1 + steps][np.newaxis]
        assert y.tobytes() == other.run_batch(window).tobytes()


def test_a_rehearsal_touches_neither_row_nor_answer() -> None:
    model = native(peer_models.mlp())
    model.x[0], model.y[:] = ROWS[3], 7.0
    model.rehearse()
    assert model.x[0].tobytes() == ROWS[3].tobytes()
    assert (model.y == 7.0).all()
    model.x[:] = 0.0
    model.run()
    assert model.spare[1].tobytes() == model.y.tobytes(), "it was a whole run"


def test_a_run_that_is_ended_fails_and_later_ones_do_not() -> None:
    model = native(peer_models.mlp(), quick=False)
    model.terminate()
    with pytest.raises(library.CallFailed, match="terminate"):
        model.run()
    model.renew()
    model.run()
    assert np.isfinite(model.y).all()


def test_rows_are_asked_while_other_threads_go_on() -> None:
    model, turns = native(peer_models.mlp()), 0
    rows = np.resize(ROWS, (20_000, peer_models.INPUTS))
    asked = threading.Thread(target=model.run_rows, args=(rows,))
    asked.start()
    while asked.is_alive():
        turns += 1
    assert turns > 1000, "the interpreter was kept from us"


def test_bytes_that_are_no_model_are_refused(capfd) -> None:
    data = peer_models.logistic()
    with pytest.raises(ModelRefused) as caught:
        native(data[: len(data) // 2])
    assert caught.value.code == "model.invalid"
    assert capfd.readouterr() == ("", "")


def test_an_output_that_is_not_there_is_a_refusal() -> None:
    with pytest.raises(ModelRefused) as caught:
        native(peer_models.logistic(), names=("x", "other"))
    assert caught.value.code == "runtime.failed"


def test_what_is_closed_runs_no_more() -> None:
    model = native(peer_models.logistic())
    model.close()
    model.close()
    with pytest.raises(AttributeError):
        model.run()


def test_where_the_library_is_missing_the_python_package_serves(root, monkeypatch) -> None:
    loaded = registry.load(root, "TickMLP", "1")
    ours = loaded.open(quick=True)
    assert isinstance(ours, NativeModel)

    def missing() -> library.Library:
        raise OSError("no shared library of the runtime")

    monkeypatch.setattr(library, "library", missing)
    other = loaded.open(quick=True)
    assert isinstance(other, OrtModel)
    rows = loaded.golden.x
    assert ours.run_rows(rows).tobytes() == other.run_rows(rows).tobytes()
