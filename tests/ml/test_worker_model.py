"""A model in a worker costs its own call and nothing else, whatever it does."""

import os
import signal
import subprocess
import sys

import numpy as np
import pytest

from ml.loading import load_model
from ml.model_interface import Model, ModelSpec, Trust
from ml.refusal import ModelRefused

TRUST = Trust(custom=True)
DEADLINE_S = 4.0
SOURCE = '''
import os, time
import numpy as np

class Odd:
    """Does by the first value of the first row what a bad model may do."""

    def predict_proba(self, x):
        what = x[0, 0]
        if what == 1:
            raise RuntimeError("one\\nbad row")
        if what == 2:
            while True:
                time.sleep(60)
        if what == 3:
            os._exit(9)
        if what == 4:
            raise SystemExit(3)
        if what == 5:
            return np.full((len(x), 3), np.nan)
        if what == 6:
            return np.zeros((len(x) + 1, 3))
        if what == 7:
            return "no array"
        up = 1 / (1 + np.exp(-x[:, 1:2]))
        return np.hstack([1 - up, np.zeros_like(up), up])

    def predict(self, x):
        return self.predict_proba(x).argmax(axis=1)

    def get_feature_importance(self):
        return {"a": 3.0, "b": 1.0}

    def get_model_info(self):
        return {"task": "classifier", "features": 2, "feature_names": ["a", "b"]}


class Window(Odd):
    def predict_proba(self, x):
        return x.mean(axis=(1, 2))[:, None] * np.ones((1, 2), np.float32)

    def get_model_info(self):
        return {"task": "regressor", "features": 2, "steps": 3}


class Broken:
    def __init__(self):
        raise ValueError("cannot be made")
'''


def row(what: float, value: float = 1.0) -> np.ndarray:
    return np.array([[what, value]], np.float32)


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    path = tmp_path_factory.mktemp("custom") / "odd.py"
    path.write_text(SOURCE)
    return path


def opened(source, factory: str = "Odd", **words):
    words = {"deadline_s": DEADLINE_S, "trust": TRUST} | words
    return load_model(ModelSpec(source, "custom", factory=factory, **words))[0]


@pytest.fixture(scope="module")
def odd(source):
    model = opened(source)
    yield model
    model.close()


def refused(model, x) -> str:
    with pytest.raises(ModelRefused) as caught:
        model.predict_proba(x)
    assert "\n" not in str(caught.value)
    return caught.value.code


def works(model) -> bool:
    return bool(np.allclose(model.predict_proba(row(0, 0.0)), [[0.5, 0, 0.5]]))


def test_it_answers_the_four_questions(odd):
    assert isinstance(odd, Model)
    x = np.array([[0, 2.0], [0, -2.0]], np.float32)
    assert odd.predict(x).tolist() == [2, 0]
    assert odd.get_feature_importance() == {"a": 0.75, "b": 0.25}
    info = odd.get_model_info()
    assert (info["kind"], info["features"], info["feature_names"]) == ("custom", 2, ["a", "b"])


def test_many_rows_go_in_parts_and_come_back_in_order(odd):
    x = np.zeros((70_000, 2), np.float32)
    x[:, 1] = np.linspace(-3, 3, len(x))
    calls = odd.counters.calls
    answers = odd.predict_proba(x)
    assert odd.counters.calls - calls > 1
    assert (np.diff(answers[:, 2]) >= 0).all() and answers.shape == (70_000, 3)
    assert odd.predict_proba(x[:0]).shape[0] == 0


@pytest.mark.parametrize(
    ("what", "code"),
    [(1, "model.failed"), (3, "model.failed"), (4, "model.failed"), (6, "model.failed"),
     (7, "model.failed")],
)  # fmt: skip
def test_fault_M11_what_throws_or_dies_costs_its_own_call(odd, what, code):
    assert refused(odd, row(what)) == code
    assert works(odd)


def test_fault_M10_a_hang_ends_at_the_deadline_and_its_worker_with_it(source):
    model = opened(source, deadline_s=1.5)
    pid = model.pid
    assert refused(model, row(2)) == "model.late"
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    assert model.counters.late == 1
    assert works(model)
    model.close()


def test_fault_M08_rows_without_a_number_are_minus_one(odd):
    before = odd.counters.no_number
    assert odd.predict(row(5)).tolist() == [-1]
    assert odd.counters.no_number == before + 1
    assert works(odd)


def test_a_killed_worker_costs_at_most_one_call(odd):
    starts = odd.counters.starts
    os.kill(odd.pid, signal.SIGKILL)
    try:
        assert works(odd)
    except ModelRefused as error:  # the death was seen only when the call was on its way
        assert error.code == "model.failed"
        assert works(odd)
    assert odd.counters.starts == starts + 1


def test_three_deaths_in_a_row_and_it_stays_down_until_it_is_restarted(source):
    model = opened(source)
    for _ in range(3):
        assert refused(model, row(3)) == "model.failed"
    starts = model.counters.starts
    with pytest.raises(ModelRefused, match="down after 3 calls"):
        model.predict_proba(row(0))
    assert model.counters.starts == starts
    model.restart()
    assert works(model)
    model.close()


def test_windows_of_rows_are_answered(source):
    model = opened(source, "Window", task="regressor")
    with pytest.raises(ModelRefused, match=r"\[n, 3, 2\]"):
        model.predict_proba(np.ones((4, 2), np.float32))
    x = np.arange(12, dtype=np.float32).reshape(2, 3, 2)
    assert model.predict_proba(x)[:, 0].tolist() == [2.5, 8.5]
    assert model.predict_proba(x[0]).shape == (1, 2)
    model.close()


def test_a_model_that_cannot_be_made_is_refused_in_one_line(source):
    with pytest.raises(ModelRefused, match="cannot be made") as caught:
        opened(source, "Broken")
    assert caught.value.code == "model.failed"
    with pytest.raises(ModelRefused, match="Nobody"):
        opened(source, "Nobody")


def test_nothing_runs_that_nobody_has_allowed(source):
    with pytest.raises(ModelRefused, match="allow_custom") as caught:
        load_model(ModelSpec(source, "custom", factory="Odd"))
    assert caught.value.code == "model.trust"


def test_the_worker_ends_with_its_owner(source):
    program = f"""
import os, signal, numpy as np
from ml.loading import load_model
from ml.model_interface import ModelSpec, Trust
from pathlib import Path
spec = ModelSpec(Path({str(source)!r}), "custom", factory="Odd", trust=Trust(custom=True))
model, _ = load_model(spec)
print(model.pid, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()
    pid = int(done.stdout)
    for _ in range(1000):  # at most 20 s
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return
        with open(f"/proc/{pid}/stat") as file:
            if file.read().rpartition(")")[2].split()[0] == "Z":
                return
        signal.sigtimedwait([], 0.02)
    pytest.fail("the worker outlived its owner")
