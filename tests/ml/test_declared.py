"""What the settings say of a model must be what the registry says; what they leave out is free."""

import pytest

from config.settings import ModelSettings
from ml.declared import check_declared
from ml.refusal import ModelRefused
from ml.registry import load
from tests.app.replay_cli import ROOT


@pytest.fixture(scope="module")
def loaded():
    return load(ROOT / "artifacts", "SignalClassifier", "1")


def settings(**declared: str) -> ModelSettings:
    return ModelSettings(name="M", model_id="SignalClassifier", cadence="bar:1m", **declared)


def test_a_model_that_is_what_is_said_passes(loaded):
    check_declared(settings(), loaded)
    entry = loaded.entry
    check_declared(
        settings(
            kind="onnx",
            target=entry.task,
            task_type="classifier",
            horizon=entry.horizon,
            features=entry.feature_spec_sha256,
        ),
        loaded,
    )
    check_declared(settings(features="signal_classifier_28"), loaded)
    check_declared(settings(features=entry.feature_spec_sha256[:8]), loaded)


@pytest.mark.parametrize(
    ("declared", "code", "words"),
    [
        ({"kind": "lightgbm"}, "model.contract", "its kind is 'onnx', models.M.kind says"),
        ({"target": "future_move"}, "model.contract", "models.M.target says 'future_move'"),
        ({"task_type": "regressor"}, "model.contract", "its task_type is 'classifier'"),
        ({"horizon": "1 bar"}, "model.contract", "its horizon is '30 bars'"),
        ({"features": "abcdef12"}, "model.features", "models.M.features says 'abcdef12'"),
        ({"features": "tick_mlp"}, "model.features", "models.M.features says 'tick_mlp'"),
        ({"features": "no_such"}, "model.features", "neither a hash nor one of microstructure"),
    ],
)
def test_another_model_is_refused_in_a_line_that_names_the_key(loaded, declared, code, words):
    with pytest.raises(ModelRefused, match=words) as caught:
        check_declared(settings(**declared), loaded)
    assert caught.value.code == code
