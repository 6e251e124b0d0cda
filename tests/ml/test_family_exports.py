"""Each family's ONNX export: it answers as its source did, and a changed one is refused."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from ml import registry
from ml.importing import FIXED_CLASSES
from ml.loading import load_model, model_of
from ml.manifest import OutputSchema
from ml.model_interface import ModelSpec
from ml.outputs import advise
from ml.refusal import ModelRefused
from ml.safe_files import sha256
from tests.ml.families.catalogue import (
    FAMILIES,
    HERE,
    HORIZONS,
    LEVELS,
    SAID,
    golden,
    register,
    said_of,
    task,
    tolerance,
)
from tests.ml.families.make import READS_NAN

WORDS = SAID["tft"]["words"]
LONG = (
    "lightgbm",
    "xgboost",
    "catboost",
    "forest",
    "logistic",
    "mlp",
    "lstm",
    "transformer",
    "sac",
)
SHORT_FIRST = [  # CI has a window, quantiles and an agent; `make test-all` has every family
    pytest.param(name, marks=pytest.mark.slow) if name in LONG else name for name in FAMILIES
]


@pytest.mark.parametrize("name", FAMILIES)
def test_the_export_answers_as_its_source_did(name):
    x, y = golden(name)
    model, digest = load_model(ModelSpec(HERE / f"{name}.onnx", task=task(name)))
    assert digest == sha256((HERE / f"{name}.onnx").read_bytes())
    ask = model.predict_proba if task(name) == "classifier" else model.predict
    together = ask(x).reshape(y.shape)
    alone = np.concatenate([ask(x[k : k + 1]).reshape(1, -1) for k in range(len(x))])
    for found in (together, alone):
        assert np.abs(found - y).max() <= tolerance(name)
        assert (found.argmax(axis=1) == y.argmax(axis=1)).all()
    assert np.isnan(x).any() == (name in READS_NAN)
    info = model.get_model_info()
    assert (info["opsets"].get("", 17), info["features"]) == (17, 4)
    assert info["steps"] == (x.shape[1] if x.ndim == 3 else 0)


@pytest.mark.parametrize("name", FAMILIES)
def test_answers_differ_and_become_advice_of_more_than_one_kind(name):
    _, y = golden(name)
    assert (y.std(axis=0) > 0).all()
    said = said_of(name)
    classes = FIXED_CLASSES.get(said.kind, said.classes)
    form = OutputSchema(name="y", kind=said.kind, classes=classes, **said.words)
    assert len({advise(form, row).action for row in y}) > 1


def test_tft_quantiles_never_cross():
    _, y = golden("tft")
    assert (np.diff(y.reshape(len(y), 2, 3), axis=2) > 0).all()


def test_a_window_of_another_length_is_refused():
    model, _ = load_model(ModelSpec(HERE / "lstm.onnx"))
    x, _ = golden("lstm")
    with pytest.raises(ModelRefused, match=r"\[n, 8, 4\]"):
        model.predict_proba(x[:, 1:])


class Broken:
    """A copy of a registered version in which one thing is changed, hashes made to fit again."""

    def __init__(self, root: Path, folder: Path, name: str) -> None:
        self.root, self.name = folder / "artifacts", name
        shutil.copytree(root / name, self.root / name)
        shutil.copy(root / "registry.json", self.root / "registry.json")

    def file(self, name: str, change: Callable[[bytes], bytes], sign: bool = True) -> str:
        """Change one file, and sign it where that is asked; return the code of the refusal."""
        path = self.root / self.name / "1" / name
        path.write_bytes(change(path.read_bytes()))
        if sign:
            self._entry(lambda entry: self._sign(entry, name, sha256(path.read_bytes())))
        return self.refusal()

    def claims(self, change: Callable[[dict], None]) -> str:
        """Change what registry.json and metadata.json both claim."""
        self._entry(change)
        return self.json("metadata.json", change)

    def json(self, name: str, change: Callable[[dict], None]) -> str:
        """Change one JSON file."""

        def changed(data: bytes) -> bytes:
            document = json.loads(data)
            change(document)
            return json.dumps(document).encode()

        return self.file(name, changed)

    def graph(self, change: Callable[[onnx.ModelProto], Any]) -> str:
        """Change the ONNX file."""

        def changed(data: bytes) -> bytes:
            model = onnx.load_from_string(data)
            change(model)
            return model.SerializeToString()

        return self.file("model.onnx", changed)

    def refusal(self) -> str:
        with pytest.raises(ModelRefused) as caught:
            registry.check(registry.load(self.root, self.name, "1"))
        assert "\n" not in str(caught.value)
        return caught.value.code

    def _entry(self, change: Callable[[dict], None]) -> None:
        path = self.root / "registry.json"
        document = json.loads(path.read_bytes())
        change(next(e for e in document["entries"] if e["model_id"] == self.name))
        path.write_text(json.dumps(document))

    @staticmethod
    def _sign(entry: dict, name: str, digest: str) -> None:
        entry["files"][name] = digest
        if name == "model.onnx":
            entry["sha256"] = digest


def flipped(data: bytes) -> bytes:
    changed = bytearray(data)
    changed[len(changed) // 3] ^= 4
    return bytes(changed)


def renamed(document: dict) -> None:
    document["feature_names"][0] = "returns_2"


def reordered(document: dict) -> None:
    names = document["feature_names"]
    names[0], names[1] = names[1], names[0]


def other_parameter(document: dict) -> None:
    document["features"][1] = {"name": document["features"][1]["name"], "params": {"span": 15}}


def other_kernel(document: dict) -> None:
    document["kernel_identity"] = "0" * 64


def wider(model: onnx.ModelProto) -> None:
    model.graph.input[0].type.tensor_type.shape.dim[-1].dim_value = 5


def fewer_answers(model: onnx.ModelProto) -> None:
    model.graph.output[-1].type.tensor_type.shape.dim[-1].dim_value = 2


def double(model: onnx.ModelProto) -> None:
    model.graph.input[0].type.tensor_type.elem_type = onnx.TensorProto.DOUBLE


def outside(model: onnx.ModelProto) -> None:
    tensor = model.graph.initializer.add(name="far", data_type=onnx.TensorProto.FLOAT, dims=[1])
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="far.bin")


CHANGES: dict[str, tuple[str, Callable[[Broken], str]]] = {
    "a byte is flipped": ("model.hash", lambda b: b.file("model.onnx", flipped, sign=False)),
    "a feature is renamed": ("model.features", lambda b: b.json("metadata.json", renamed)),
    "features are reordered": ("model.features", lambda b: b.json("metadata.json", reordered)),
    "the spec differs": ("model.features", lambda b: b.json("feature_spec.json", other_parameter)),
    "the kernel differs": ("model.kernel", lambda b: b.claims(other_kernel)),
    "the input is wider": ("model.contract", lambda b: b.graph(wider)),
    "there are fewer answers": ("model.contract", lambda b: b.graph(fewer_answers)),
    "the type is another": ("model.contract", lambda b: b.graph(double)),
    "data lies outside": ("model.unsafe", lambda b: b.graph(outside)),
}


@pytest.fixture(scope="module")
def family_root(tmp_path_factory) -> Callable[[str], Path]:
    """Return the artifacts folder in which a family is registered when it is first asked for."""
    root = tmp_path_factory.mktemp("families") / "artifacts"
    known: set[str] = set()

    def registered(name: str) -> Path:
        if name not in known:
            entry = register(root, name)
            assert entry.status == "candidate"
            known.add(name)
        return root

    return registered


@pytest.mark.parametrize("name", SHORT_FIRST)
def test_a_registered_family_is_checked_and_each_change_of_it_refused(name, family_root, tmp_path):
    root = family_root(name)
    loaded = registry.load(root, name, "1")
    registry.check(loaded)
    assert loaded.sequence_length == (8 if golden(name)[0].ndim == 3 else 0)
    for at, (what, (code, change)) in enumerate(CHANGES.items()):
        assert change(Broken(root, tmp_path / str(at), name)) == code, what


@pytest.mark.parametrize("name", ["tft", "ppo"])
def test_a_registered_version_is_asked_for_every_column(name, family_root):
    """As `lab.py models predict` asks: of eight actions the scores, not the number of the best."""
    root = family_root(name)
    x, y = golden(name)
    found = model_of(registry.load(root, name, "1")).run_rows(x)
    assert found.shape == y.shape
    assert np.abs(found - y).max() <= tolerance(name)


@pytest.mark.parametrize("name", SHORT_FIRST)
def test_golden_answers_of_another_source_are_refused(name, tmp_path):
    _, y = golden(name)
    with pytest.raises(ModelRefused) as caught:
        register(tmp_path / "artifacts", name, answers=np.roll(y, 1, axis=0))
    assert caught.value.code == "model.golden"
    assert not (tmp_path / "artifacts" / "registry.json").exists()


def test_what_an_output_is_may_be_said_in_json_and_is_checked(tmp_path):
    words = {
        key: list(value) if isinstance(value, tuple) else value for key, value in WORDS.items()
    }
    entry = register(tmp_path / "artifacts", "tft", words=words)
    assert (entry.output_schema.horizons, entry.output_schema.levels) == (HORIZONS, LEVELS)
    with pytest.raises(ModelRefused, match="dead_bnd") as caught:
        register(tmp_path / "other", "tft", words=words | {"dead_bnd": 1.0})
    assert caught.value.code == "model.contract"
