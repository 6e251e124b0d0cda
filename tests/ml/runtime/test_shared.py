"""Instances of the same bytes share one session, which goes with the last of them."""

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from benchmarks import peer_models
from ml import registry
from ml.refusal import ModelRefused
from ml.runtime import shared
from ml.runtime.native import NativeModel

ROWS = np.random.default_rng(6).normal(0, 1, (64, peer_models.INPUTS)).astype(np.float32)


def instance(data: bytes, **more) -> NativeModel:
    """Open one more instance, with arrays of its own."""
    x, y = np.zeros((1, peer_models.INPUTS), np.float32), np.zeros((1, 1), np.float32)
    return NativeModel(data, x=x, y=y, names=("x", "p"), **more)


@pytest.fixture(autouse=True)
def nothing_left():
    before = set(shared._open)
    yield
    assert set(shared._open) == before


def test_the_last_instance_frees_the_session():
    data = peer_models.mlp()
    one, two = instance(data), instance(data)
    assert one._address == two._address
    answers = two.run_rows(ROWS)
    one.close()
    assert two.run_rows(ROWS).tobytes() == answers.tobytes(), "it lives on"
    two.close()


def test_other_bytes_and_other_options_have_sessions_of_their_own():
    mlp, logistic = peer_models.mlp(), peer_models.logistic()
    many = [
        instance(mlp),
        instance(logistic),
        instance(mlp, quick=True),
        instance(mlp, optimisation="basic"),
    ]
    assert len({one._address for one in many}) == len(many)
    for one in many:
        one.close()


def test_what_ends_the_run_of_one_leaves_the_other_alone():
    data = peer_models.mlp()
    one, two = instance(data), instance(data)
    one.terminate()
    two.run()
    with pytest.raises(OSError, match="terminate"):
        one.run()
    for model in (one, two):
        model.close()


def test_threads_open_run_and_close_side_by_side():
    data, together = peer_models.mlp(), threading.Barrier(4)
    with_one = instance(data)
    expected = with_one.run_rows(ROWS).tobytes()
    with_one.close()

    def work(_: int) -> bool:
        together.wait(30)
        same = True
        for _ in range(20):
            model = instance(data)
            same = same and model.run_rows(ROWS).tobytes() == expected
            model.close()
        return same

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(work, range(4)))


def test_bytes_that_are_refused_leave_nothing():
    with pytest.raises(ModelRefused):
        instance(b"no model")


def test_models_of_a_run_with_the_same_file_share_it(root):
    loaded = registry.load(root, "TickMLP", "1")
    again = registry.load(root, "TickMLP", "1")
    one, two = loaded.open(quick=True), again.open(quick=True)
    assert one._address == two._address
    one.x[0], two.x[0] = loaded.golden.x[3], loaded.golden.x[4]
    one.run(), two.run()
    expected = one.run_batch(loaded.golden.x[3:5])
    assert one.y.tobytes() == expected[:1].tobytes()
    assert two.y.tobytes() == expected[1:].tobytes()
    one.close(), two.close()
