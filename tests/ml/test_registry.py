"""The registry refuses what is not what it says, keeps its last good view, changes atomically."""

import json
import os
from pathlib import Path

import msgspec
import numpy as np
import pytest

from ml import registry
from ml.manifest import FILES, read_registry_bytes, to_json
from ml.refusal import ModelRefused
from ml.safe_files import sha256

FOLDER = "SignalClassifier/1"


def edit(root: Path, change, *, name: str = "metadata.json", sign: bool = True) -> None:
    """Change a JSON file of SignalClassifier:1, and its hash in the registry when `sign`."""
    path = root / FOLDER / name
    document = json.loads(path.read_bytes())
    change(document)
    path.write_text(json.dumps(document))
    if sign:
        resign(root, name)


def resign(root: Path, name: str) -> None:
    """Write the present hash of one file into the registry, as an insider could."""
    document = json.loads((root / "registry.json").read_bytes())
    value = sha256((root / FOLDER / name).read_bytes())
    document["entries"][0]["files"][name] = value
    if name == "model.onnx":
        document["entries"][0]["sha256"] = value
    (root / "registry.json").write_text(json.dumps(document))


def edit_registry(root: Path, change) -> None:
    """Change registry.json by hand."""
    document = json.loads((root / "registry.json").read_bytes())
    change(document)
    (root / "registry.json").write_text(json.dumps(document))


def refused(root: Path, model_id: str = "SignalClassifier", version: str = "production"):
    """Return the refusal of a load."""
    with pytest.raises(ModelRefused) as caught:
        registry.check(registry.load(root, model_id, version))
    assert "\n" not in str(caught.value)
    return caught.value


def test_a_trained_model_loads_and_its_golden_rows_hold(root):
    loaded = registry.load(root, "SignalClassifier")
    registry.check(loaded)
    assert loaded.classes == ("SELL", "HOLD", "BUY")
    assert loaded.output_kind == "classifier3"
    assert loaded.sha256 == sha256((root / FOLDER / "model.onnx").read_bytes())
    assert [finding.ok for finding in registry.verify(root)] == [True, True]


@pytest.mark.parametrize("data", [b"", b"\x80\x04pickle", bytes(1000)])
def test_fault_M01_other_bytes_are_refused(root, data):
    (root / FOLDER / "model.onnx").write_bytes(data)
    assert refused(root).code == "model.hash"
    resign(root, "model.onnx")
    assert refused(root).code == "model.invalid"


def test_fault_M01_a_truncated_model_is_refused(root):
    path = root / FOLDER / "model.onnx"
    path.write_bytes(path.read_bytes()[:-100])
    resign(root, "model.onnx")
    assert refused(root).code == "model.invalid"


@pytest.mark.parametrize("name", FILES)
def test_fault_M02_one_flipped_bit_of_any_file_is_refused(root, name):
    path = root / FOLDER / name
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    error = refused(root)
    assert error.code == "model.hash"
    assert name in str(error)


def test_fault_M02_changed_weights_with_a_changed_hash_fail_the_golden_rows(root):
    loaded = registry.load(root, "TickMLP", "1")
    data = bytearray(loaded.model_bytes)
    name = data.index(b"bias_1")
    at = data.index(b"J\x0c", name) + 2  # raw_data of the last layer's three biases
    data[at : at + 4] = np.float32(0.3).tobytes()
    entry = msgspec.structs.replace(loaded.entry, version="2", status="candidate")
    folder = root / "TickMLP" / "1"
    files = {name: (folder / name).read_bytes() for name in FILES} | {"model.onnx": bytes(data)}
    meta = json.loads(files["metadata.json"]) | {"version": "2"}
    files["metadata.json"] = json.dumps(meta).encode()
    with pytest.raises(ModelRefused) as caught:
        registry.register(root, entry, files)
    assert caught.value.code == "model.golden"
    assert not (root / "TickMLP" / "2").exists()


def test_fault_M03_the_bytes_hashed_are_the_bytes_served(root):
    loaded = registry.load(root, "SignalClassifier")
    (root / FOLDER / "model.onnx").write_bytes(b"swapped after the hash")
    registry.check(loaded)
    assert sha256(loaded.model_bytes) == loaded.sha256


def test_fault_M03_and_M05_a_link_in_place_of_a_file_is_not_followed(root, tmp_path):
    path = root / FOLDER / "model.onnx"
    other = tmp_path / "other.onnx"
    path.rename(other)
    path.symlink_to(other)
    assert refused(root).code == "model.path"


def test_fault_M05_a_link_in_place_of_a_folder_is_not_followed(root, tmp_path):
    (root / FOLDER).rename(tmp_path / "elsewhere")
    (root / FOLDER).symlink_to(tmp_path / "elsewhere")
    assert refused(root).code == "model.path"


def test_fault_M05_a_fifo_does_not_block_the_load(root):
    path = root / FOLDER / "golden.npz"
    path.unlink()
    os.mkfifo(path)
    assert refused(root).code == "model.path"


@pytest.mark.parametrize("name", ["../x", "/etc", "a/b", "", ".hidden", "a..b", "x" * 65, "a\nb"])
def test_fault_M05_names_that_leave_the_folder_are_refused(root, name):
    with pytest.raises(ModelRefused) as caught:
        registry.load(root, name)
    assert caught.value.code == "model.path"
    edit_registry(root, lambda d: d["entries"][0].update(model_id=name))
    with pytest.raises(ModelRefused) as caught:
        read_registry_bytes((root / "registry.json").read_bytes())
    assert caught.value.code == "model.path"


def test_fault_M13_a_renamed_feature_is_named(root):
    def rename(document):
        document["features"][1]["name"] = "rsi_7"

    edit(root, rename, name="feature_spec.json")
    error = refused(root)
    assert error.code == "model.features"
    assert "missing: rsi_7" in str(error) or "extra: rsi_14" in str(error)


def test_fault_M13_reordered_features_are_named(root):
    edit(root, lambda d: d["features"].reverse(), name="feature_spec.json")
    error = refused(root)
    assert error.code == "model.features"
    assert "reordered" in str(error)


def test_fault_M13_a_feature_named_twice_is_refused(root):
    edit(root, lambda d: d["features"].append(d["features"][0]), name="feature_spec.json")
    assert refused(root).code == "model.features"


def test_fault_M13_a_changed_parameter_is_refused(root):
    edit(root, lambda d: d["features"][2].update(params={"span": 5}), name="feature_spec.json")
    assert refused(root).code == "model.features"


def test_fault_M13_changed_feature_code_is_refused(root, monkeypatch):
    import features.identity

    monkeypatch.setattr(features.identity, "kernel_identity", lambda spec: "0" * 64)
    error = refused(root)
    assert error.code == "model.kernel"
    assert "train it again" in str(error)


def test_fault_M14_other_training_data_than_registered_is_refused(root):
    edit(root, lambda d: d["training_data"].update(sha256="0" * 64))
    assert refused(root).code == "model.metadata"


@pytest.mark.parametrize(
    "change",
    [
        lambda d: d.update(surprise=1),
        lambda d: d.pop("opset"),
        lambda d: d.update(opset="17"),
        lambda d: d.update(schema_version=99),
        lambda d: d.update(feature_names=[]),
    ],
)
def test_fault_M15_malformed_metadata_is_refused(root, change):
    edit(root, change)
    assert refused(root).code == "model.metadata"


@pytest.mark.parametrize("data", [b"", b"{", b"[" * 100_000, b"\xff\xfe", b'{"a": NaN}'])
def test_fault_M15_metadata_that_is_no_json_is_refused(root, data):
    (root / FOLDER / "metadata.json").write_bytes(data)
    resign(root, "metadata.json")
    assert refused(root).code == "model.metadata"


def test_fault_M15_a_huge_file_is_refused_before_it_is_read(root):
    with open(root / FOLDER / "metadata.json", "r+b") as file:
        file.truncate(1 << 30)  # sparse: costs nothing unless it is read
    assert refused(root).code == "model.metadata"


def test_fault_M15_missing_files_are_named(root):
    (root / FOLDER / "golden.npz").unlink()
    error = refused(root)
    assert error.code == "model.missing"
    assert "golden.npz" in str(error)


def test_fault_M16_a_torn_registry_falls_back_to_the_last_good_view(root):
    data = (root / "registry.json").read_bytes()
    (root / "registry.json").write_bytes(data[: len(data) // 2])
    view = registry.View(root)
    assert "last good view" in view.problem
    assert view.find("SignalClassifier").version == "1"
    (root / "registry.last.json").unlink()
    with pytest.raises(ModelRefused) as caught:
        registry.View(root)
    assert caught.value.code == "registry.torn"


def test_fault_M16_a_running_view_keeps_what_it_had(root):
    view = registry.View(root)
    edit_registry(root, lambda d: d["entries"][1].update(status="best"))
    assert view.refresh() is False
    assert "status" in view.problem
    assert view.find("TickMLP", "1").status == "candidate"
    edit_registry(root, lambda d: d["entries"][1].update(status="shadow"))
    assert view.refresh() is True
    assert view.find("TickMLP", "1").status == "shadow"


def test_fault_M16_two_productions_are_refused(root):
    def double(document):
        document["entries"].append(document["entries"][0] | {"version": "2"})

    edit_registry(root, double)
    error = refused(root)
    assert error.code == "registry.ambiguous"
    assert "SignalClassifier:1" in str(error)
    assert "SignalClassifier:2" in str(error)


def test_fault_M16_a_version_that_stands_twice_is_refused(root):
    edit_registry(root, lambda d: d["entries"].append(d["entries"][1]))
    assert refused(root).code == "registry.ambiguous"


def test_missing_things_are_named_with_what_there_is(root, tmp_path):
    assert "there are: SignalClassifier, TickMLP" in str(refused(root, "Nothing"))
    assert "it has: 1" in str(refused(root, "TickMLP", "9"))
    assert "models promote TickMLP:1" in str(refused(root, "TickMLP"))
    assert "make demo-models" in str(refused(tmp_path / "nowhere"))


def test_promotion_archives_the_one_before_and_says_who_and_why(root):
    folder = root / FOLDER
    entry = registry.View(root).find("SignalClassifier")
    files = {name: (folder / name).read_bytes() for name in FILES}
    meta = json.loads(files["metadata.json"]) | {"version": "2"}
    files["metadata.json"] = json.dumps(meta).encode()
    second = msgspec.structs.replace(entry, version="2", status="candidate", history=())
    registry.register(root, second, files)
    registry.promote(root, "SignalClassifier", "2", why="newer", by="eva")
    view = registry.View(root)
    assert view.find("SignalClassifier").version == "2"
    change = view.find("SignalClassifier").history[-1]
    assert (change.by, change.why, change.status) == ("eva", "newer", "production")
    assert view.find("SignalClassifier", "1").status == "archived"
    with pytest.raises(ModelRefused, match="production already"):
        registry.promote(root, "SignalClassifier", "2", why="again")
    registry.archive(root, "SignalClassifier", "2", why="done", by="eva")
    assert refused(root).code == "model.missing"


def test_a_bad_candidate_cannot_be_promoted_and_nothing_changes(root):
    (root / "TickMLP" / "1" / "model.onnx").write_bytes(b"broken")
    before = (root / "registry.json").read_bytes()
    with pytest.raises(ModelRefused):
        registry.promote(root, "TickMLP", "1", why="hope")
    assert (root / "registry.json").read_bytes() == before


def test_verifying_an_unknown_model_names_the_known(root):
    with pytest.raises(ModelRefused, match="there are: SignalClassifier, TickMLP"):
        registry.verify(root, "Nobody")
    with pytest.raises(ModelRefused, match="it has: 1"):
        registry.verify(root, "TickMLP", "8")
    assert [f.entry.name for f in registry.verify(root, "TickMLP")] == ["TickMLP:1"]


def test_a_version_cannot_be_called_like_a_status(root):
    entry = registry.View(root).find("SignalClassifier")
    files = {name: (root / FOLDER / name).read_bytes() for name in FILES}
    with pytest.raises(ModelRefused, match="is a status"):
        registry.register(root, msgspec.structs.replace(entry, version="production"), files)


def test_a_version_is_never_changed(root):
    entry = registry.View(root).find("SignalClassifier")
    files = {name: (root / FOLDER / name).read_bytes() for name in FILES}
    with pytest.raises(ModelRefused, match="never changed"):
        registry.register(root, entry, files)


@pytest.mark.parametrize("fails_at", range(1, 9))
def test_an_interrupted_registration_leaves_nothing_half_written(root, monkeypatch, fails_at):
    entry = registry.View(root).find("SignalClassifier")
    files = {name: (root / FOLDER / name).read_bytes() for name in FILES}
    meta = json.loads(files["metadata.json"]) | {"version": "2"}
    files["metadata.json"] = json.dumps(meta).encode()
    second = msgspec.structs.replace(entry, version="2", status="candidate")
    before = (root / "registry.json").read_bytes()
    calls = []
    replace = os.replace

    def interrupted(source, target):
        calls.append(target)
        if len(calls) == fails_at:
            raise KeyboardInterrupt
        replace(source, target)

    monkeypatch.setattr(os, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        registry.register(root, second, files)
    monkeypatch.undo()
    assert (root / "registry.json").read_bytes() == before
    assert not [p for p in (root / "SignalClassifier").iterdir() if p.name.startswith(".")]
    registry.register(root, second, files)
    assert all(finding.ok for finding in registry.verify(root))


def test_the_registry_is_written_as_it_is_read(root):
    data = (root / "registry.json").read_bytes()
    assert to_json(read_registry_bytes(data)) == data
