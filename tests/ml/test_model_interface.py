"""Every kind of model answers the same four questions; kinds not served say so."""

import numpy as np
import pytest

from ml.loading import load_model
from ml.model_interface import Model, ModelSpec
from ml.refusal import ModelRefused
from ml.safe_files import sha256


def test_an_onnx_file_answers_the_four_questions(root):
    path = root / "SignalClassifier" / "1" / "model.onnx"
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


def test_a_row_without_an_answer_is_minus_one(root):
    model, _ = load_model(ModelSpec(root / "TickMLP" / "1" / "model.onnx"))
    assert model.predict(np.full((1, 4), np.nan, np.float32)).tolist() == [-1]


@pytest.mark.parametrize("kind", ["lightgbm", "pickle", "torch", ""])
def test_other_kinds_say_what_to_do(root, kind):
    with pytest.raises(ModelRefused, match="export the model to ONNX") as caught:
        load_model(ModelSpec(root / "x", kind))
    assert caught.value.code == "model.kind"


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ModelRefused, match=r"gone\.onnx") as caught:
        load_model(ModelSpec(tmp_path / "gone.onnx"))
    assert caught.value.code == "model.missing"
