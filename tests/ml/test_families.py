"""Each family's own file answers as its library did; flipped bits are refused."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from ml import registry
from ml.importing import Foreign, import_model
from ml.loading import load_model
from ml.model_interface import ModelSpec, Trust
from ml.refusal import ModelRefused
from ml.safe_files import sha256
from tests.ml.conftest import toy_spec
from tests.ml.families import catalogue
from tests.ml.families.catalogue import TOLERANCE
from tests.ml.families.make import HERE, KIND_FILES, main

LIBRARY = {"sklearn": "skops", "pickle": "sklearn"}
OWN = [name for name in KIND_FILES if name != "pickle"]
HEAVY = ("logistic",)  # the same library as the forest: only in the long form


def golden(name: str) -> tuple[np.ndarray, np.ndarray]:
    return catalogue.golden("logistic" if name == "pickle" else name)


def present(name: str) -> bool:
    kind = KIND_FILES[name][0]
    return importlib.util.find_spec(LIBRARY.get(kind, kind)) is not None


def own_file(name: str, **words) -> tuple:
    kind, file = KIND_FILES[name]
    return load_model(ModelSpec(HERE / file, kind, **words))


def test_the_fixtures_are_small():
    for name in catalogue.FAMILIES:
        files = list(HERE.glob(f"{name}.*"))
        assert len(files) >= 2, name
        assert sum(path.stat().st_size for path in files) < 100_000, name


def test_fault_M02_one_flipped_bit_of_any_file_is_refused_before_it_is_loaded(tmp_path):
    files = {file: kind for kind, file in KIND_FILES.values()}
    files |= {f"{name}.onnx": "onnx" for name in catalogue.FAMILIES}
    files["cnn.pt"] = "torch"
    for file, kind in files.items():
        data = bytearray((HERE / file).read_bytes())
        digest = sha256(bytes(data))
        data[len(data) // 3] ^= 4
        (tmp_path / file).write_bytes(data)
        with pytest.raises(ModelRefused) as caught:
            load_model(ModelSpec(tmp_path / file, kind, sha256=digest, trust=Trust(pickle=True)))
        assert caught.value.code == "model.hash", file


@pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=pytest.mark.slow) if n in HEAVY else n for n in OWN],
)
def test_its_own_file_answers_as_the_library_did(name):
    if not present(name):
        with pytest.raises(ModelRefused, match=r"not installed: run `") as caught:
            own_file(name)
        assert caught.value.code == "model.library"
        return
    x, y = golden(name)
    model, digest = own_file(name)
    assert digest == sha256((HERE / KIND_FILES[name][1]).read_bytes())
    assert np.abs(model.predict_proba(x) - y).max() <= TOLERANCE
    assert (model.predict(x) == y.argmax(axis=1)).all()
    info = model.get_model_info()
    assert (info["task"], info["features"]) == ("classifier", 4)
    shares = model.get_feature_importance()
    assert not shares or abs(sum(shares.values()) - 1) < 1e-6
    model.close()


@pytest.mark.parametrize(
    "name", ["lightgbm", *(pytest.param(n, marks=pytest.mark.slow) for n in ("xgboost", "forest"))]
)
def test_fault_M01_what_is_no_such_file_is_refused_in_one_line(name, tmp_path):
    if not present(name):
        pytest.skip("its library is not installed")
    kind, file = KIND_FILES[name]
    path = tmp_path / file
    path.write_bytes(b"\x80\x04 no model" * 20)
    with pytest.raises(ModelRefused) as caught:
        load_model(ModelSpec(path, kind))
    assert caught.value.code == "model.failed"
    assert str(caught.value).count("\n") == 0


def test_torch_says_which_command_helps_where_it_is_not_installed(tmp_path):
    if importlib.util.find_spec("torch") is not None:
        pytest.skip("torch is installed")
    path = tmp_path / "model.pt"
    path.write_bytes(b"PK\x03\x04")
    with pytest.raises(ModelRefused, match="run `make extras ARGS=deep`") as caught:
        load_model(ModelSpec(path, "torch"))
    assert caught.value.code == "model.library"


def test_another_kind_is_registered_checked_promoted_and_not_served_in_a_run(tmp_path):
    x, y = golden("lightgbm")
    data = (HERE / "lightgbm.txt").read_bytes()
    said = Foreign(model_id="Native", spec=toy_spec(), file_kind="lightgbm", rows=x, answers=y)
    entry = import_model(tmp_path, data, said)
    assert (entry.kind, entry.model_file, entry.status) == ("lightgbm", "model.txt", "candidate")
    assert [finding.ok for finding in registry.verify(tmp_path)] == [True]
    with pytest.raises(ModelRefused, match="export it to ONNX") as caught:
        registry.load(tmp_path, "Native", "1")
    assert caught.value.code == "model.kind"
    path = tmp_path / "Native" / "1" / "model.txt"
    path.write_bytes(path.read_bytes().replace(b"leaf_value=", b"leaf_value= ", 1))
    assert registry.verify(tmp_path)[0].code == "model.hash"


@pytest.mark.slow
def test_answers_of_another_source_are_refused(tmp_path):
    x, y = golden("lightgbm")
    data = (HERE / "lightgbm.txt").read_bytes()
    said = Foreign(
        model_id="Native", spec=toy_spec(), file_kind="lightgbm", rows=x, answers=y[:, ::-1]
    )
    with pytest.raises(ModelRefused) as caught:
        import_model(tmp_path, data, said)
    assert caught.value.code == "model.golden"
    assert not (tmp_path / "registry.json").exists()


def test_a_pickle_is_loaded_when_the_registry_names_it_and_the_rules_allow_it(tmp_path):
    x, y = golden("pickle")
    data = (HERE / "logistic.pkl").read_bytes()
    said = Foreign(model_id="Old", spec=toy_spec(), file_kind="pickle", rows=x, answers=y)
    with pytest.raises(ModelRefused, match="allow_pickle"):
        import_model(tmp_path, data, said)
    allowed = Trust(pickle=True, registry=tmp_path)
    with pytest.raises(ModelRefused):  # nothing is registered yet
        load_model(ModelSpec(HERE / "logistic.pkl", "pickle", trust=allowed))
    import_model(tmp_path, data, Foreign(**{**vars(said), "trust": allowed}))
    model, _ = load_model(ModelSpec(HERE / "logistic.pkl", "pickle", trust=allowed))
    assert np.abs(model.predict_proba(x) - y).max() <= TOLERANCE
    assert [f.code for f in registry.verify(tmp_path)] == ["model.trust"]
    assert [f.ok for f in registry.verify(tmp_path, trust=allowed)] == [True]
    registry.archive(tmp_path, "Old", "1", why="over")
    with pytest.raises(ModelRefused, match="names no pickle"):
        load_model(ModelSpec(HERE / "logistic.pkl", "pickle", trust=allowed))


@pytest.mark.slow
def test_the_scripts_make_models_that_answer_like_their_sources(tmp_path):
    """Of networks only that: what they learn differs in its last digits from one CPU to another."""
    made = main(tmp_path)
    assert {"lightgbm", "sklearn", "xgboost"} <= set(made)
    assert ("torch" in made) == (importlib.util.find_spec("torch") is not None)
    for path in sorted(tmp_path.glob("*.npz")):
        name = path.stem
        with np.load(path) as new, np.load(Path(HERE) / path.name) as old:
            assert new["x"].tobytes() == old["x"].tobytes(), name
            if name not in ("ppo", "sac", *catalogue.NETWORKS):
                assert np.abs(new["y"] - old["y"]).max() < 1e-3, name
            spec = ModelSpec(tmp_path / f"{name}.onnx", task=catalogue.task(name))
            model, _ = load_model(spec)
            ask = model.predict_proba if spec.task == "classifier" else model.predict
            found = ask(new["x"]).reshape(new["y"].shape)
            assert np.abs(found - new["y"]).max() <= catalogue.tolerance(name), name
