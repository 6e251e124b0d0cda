"""Both metadata forms are read, what contradicts is refused, normalisation happens once."""

import json

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from ml.foreign_folder import read_folder
from ml.manifest import ACTIONS8
from ml.refusal import ModelRefused
from tests.ml.test_importing import binary

FEATURES = ["a", "b", "c", "d"]
MEAN, STD = [1.0, 2.5, -3.0, 4.0], [2.0, 2.0, 4.0, 4.0]


def folder(path, metadata=None, meta=None, data=None):
    """Write a folder and read it."""
    path.mkdir(exist_ok=True)
    (path / "model.onnx").write_bytes(data or binary(columns=3, last="Softmax"))
    for name, document in (("metadata.json", metadata), ("model.meta.json", meta)):
        if document is not None:
            (path / name).write_text(json.dumps(document))
    return read_folder(path)


def normalising() -> bytes:
    """Return a graph that subtracts MEAN itself."""
    tensors = [
        numpy_helper.from_array(np.array(MEAN, np.float32), "mean"),
        numpy_helper.from_array(np.ones((4, 3), np.float32), "w"),
    ]
    nodes = [
        helper.make_node("Sub", ["x", "mean"], ["z"]),
        helper.make_node("MatMul", ["z", "w"], ["s"]),
        helper.make_node("Softmax", ["s"], ["p"]),
    ]
    ports = [helper.make_tensor_value_info(n, TensorProto.FLOAT, ["n", k])
             for n, k in (("x", 4), ("p", 3))]  # fmt: skip
    graph = helper.make_graph(nodes, "g", ports[:1], ports[1:], initializer=tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    return model.SerializeToString()


def test_metadata_json_gives_names_normalisation_and_actions(tmp_path):
    document = {
        "model_id": "Theirs",
        "version": 3,
        "feature_names": FEATURES,
        "mean": MEAN,
        "std": STD,
        "actions": {"0": "Sell", "1": "Hold", "2": "Buy"},
        "trained_by": "somebody",
    }
    found = folder(tmp_path / "m", document)
    assert (found.model_id, found.version) == ("Theirs", "3")
    assert found.feature_names == tuple(FEATURES)
    assert found.classes == ("SELL", "HOLD", "BUY")
    assert found.normalisation.where == "metadata"
    assert found.normalisation.mean == tuple(MEAN)


def test_model_meta_json_gives_sizes_hash_and_thresholds(tmp_path):
    document = {"sequence_length": 1, "feature_count": 4, "spec_hash": "ab" * 32, "opset": 17,
                "thresholds": {"buy": 0.6}}  # fmt: skip
    found = folder(tmp_path / "m", None, document)
    assert (found.spec_sha256, found.thresholds) == ("ab" * 32, {"buy": 0.6})
    assert (found.normalisation.where, found.feature_names, found.steps) == ("graph", (), 0)


def test_a_lone_file_is_enough(tmp_path):
    (tmp_path / "theirs.onnx").write_bytes(binary())
    found = read_folder(tmp_path / "theirs.onnx")
    assert (found.kind, found.classes) == ("binary", ("UP",))


@pytest.mark.parametrize(
    ("actions", "kind", "classes"),
    [
        (["long", "flat", "short"], "classifier3", ("BUY", "HOLD", "SELL")),
        ([name.lower() for name in ACTIONS8], "discrete8", ACTIONS8),
    ],
)
def test_actions_in_other_words(tmp_path, actions, kind, classes):
    found = folder(tmp_path / "m", {"feature_names": FEATURES, "actions": actions})
    assert (found.kind, found.classes) == (kind, classes)


@pytest.mark.parametrize(
    ("metadata", "meta", "code"),
    [
        ({"feature_names": FEATURES[:3]}, None, "model.features"),
        ({"feature_names": ["a", "a", "c", "d"]}, None, "model.features"),
        ({"feature_names": FEATURES}, {"feature_count": 5}, "model.features"),
        (None, {"opset": 15}, "model.contract"),
        ({"feature_names": FEATURES, "mean": MEAN}, None, "model.contract"),
        ({"feature_names": FEATURES, "mean": MEAN, "std": STD[:3]}, None, "model.contract"),
        ({"feature_names": FEATURES, "mean": MEAN, "std": [0, 1, 1, 1]}, None, "model.contract"),
        ({"feature_names": FEATURES}, {"normalisation": "metadata"}, "model.contract"),
        ({"feature_names": FEATURES, "actions": ["up", "down", "flat"]}, None, "model.contract"),
        ({"feature_names": FEATURES, "actions": {"x": "buy"}}, None, "model.metadata"),
        ({"feature_names": []}, None, "model.metadata"),
        ({"feature_names": "a"}, None, "model.metadata"),
    ],
)
def test_fault_M15_what_contradicts_is_refused(tmp_path, metadata, meta, code):
    with pytest.raises(ModelRefused) as caught:
        folder(tmp_path / "m", metadata, meta)
    assert caught.value.code == code
    assert "\n" not in str(caught.value)


def test_normalisation_in_the_graph_and_in_the_metadata_is_refused(tmp_path):
    document = {"feature_names": FEATURES, "mean": MEAN, "std": STD}
    with pytest.raises(ModelRefused, match="normalised twice"):
        folder(tmp_path / "m", document, None, normalising())
    found = folder(tmp_path / "m", document, {"normalisation": "graph"}, normalising())
    assert found.normalisation.where == "graph"
    found = folder(tmp_path / "m", document, {"normalisation": "metadata"}, normalising())
    assert found.normalisation.where == "metadata"


def test_fault_M05_a_link_in_the_folder_is_not_followed(tmp_path):
    (tmp_path / "elsewhere.json").write_text("{}")
    folder(tmp_path / "m")
    (tmp_path / "m" / "metadata.json").symlink_to(tmp_path / "elsewhere.json")
    with pytest.raises(ModelRefused) as caught:
        read_folder(tmp_path / "m")
    assert caught.value.code == "model.path"
