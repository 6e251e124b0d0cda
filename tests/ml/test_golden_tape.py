"""The tape slice: the same each time, and other features than at training are refused by name."""

import dataclasses

import numpy as np
import pytest

from features.spec import FeatureSpec
from ml import registry
from ml.golden_tape import check_tape, slice_features, slice_rows
from ml.refusal import ModelRefused
from tests.ml.conftest import toy_spec


def test_a_slice_is_the_same_each_time_and_warms_every_feature():
    rows = slice_rows(toy_spec())
    assert rows.tobytes() == slice_rows(toy_spec()).tobytes()
    assert slice_features(toy_spec(), rows).valid.sum() > 100


def test_features_that_read_the_depth_have_no_slice():
    assert len(slice_rows(FeatureSpec((("book_imbalance_5", {}),)))) == 0


def test_registered_models_carry_a_slice_that_holds(root):
    findings = registry.verify(root)
    assert {finding.entry.model_id for finding in findings} == {"SignalClassifier", "TickMLP"}
    for finding in findings:
        assert finding.ok, finding.reason
        loaded = registry.load(root, finding.entry.model_id, finding.entry.version)
        assert len(loaded.golden.tape_x) >= 32
        assert np.isfinite(loaded.golden.tape_x).all(axis=1).sum() >= 16


def test_fault_M13_a_feature_that_gives_other_numbers_is_named(root):
    loaded = registry.load(root, "SignalClassifier")
    changed = loaded.golden.tape_x.copy()
    changed[20, 1] *= 1.001
    golden = dataclasses.replace(loaded.golden, tape_x=changed)
    check_tape(loaded)
    with pytest.raises(ModelRefused) as caught:
        check_tape(dataclasses.replace(loaded, golden=golden))
    assert caught.value.code == "model.golden"
    assert "rsi_14" in str(caught.value)


def test_a_changed_row_of_the_slice_is_seen(root):
    loaded = registry.load(root, "SignalClassifier")
    rows = loaded.golden.tape_rows.copy()
    rows[100:, 24:] = np.roll(rows[100:, 24:], 1, axis=0)
    golden = dataclasses.replace(loaded.golden, tape_rows=rows)
    with pytest.raises(ModelRefused):
        check_tape(dataclasses.replace(loaded, golden=golden))
