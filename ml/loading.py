"""Loads a model file of any kind behind the one interface: bytes read once, hashed, then loaded.

ONNX is loaded in this process; every other kind in a worker, so that its library, its crashes and
its hangs stay there.
"""

import os
import weakref
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from ml.artifact import LoadedModel
from ml.manifest import CLASSED, MAX_BYTES, NETWORK
from ml.model_interface import KINDS, NO_TRUST, Model, ModelSpec, Trust
from ml.onnx_model import OnnxModel
from ml.refusal import ModelRefused
from ml.safe_files import open_folder, read_bounded, sha256
from ml.worker_model import WorkerModel

_CACHE: "weakref.WeakValueDictionary[Any, Any]" = weakref.WeakValueDictionary()


def load_model(spec: ModelSpec) -> tuple[Model, str]:
    """Load a model file.

    The same bytes under the same words give the same object as long as someone holds it.

    Args:
        spec: path, kind, and what else must be said.
    Returns:
        The model and the sha256 of its bytes.
    Raises:
        ModelRefused: `model.kind`, `model.missing`, `model.path`, `model.hash`, `model.trust`,
            `model.unsafe`, `model.invalid`, `model.contract`, `model.library`, `model.failed`,
            `model.late`, `runtime.missing`.
    """
    if spec.kind not in KINDS:
        text = f"kind {spec.kind!r} is not known; known are {', '.join(KINDS)}"
        raise ModelRefused("model.kind", f"{text} (docs/models.md)")
    path = Path(spec.path)
    with open_folder(path.parent) as folder:
        data = read_bounded(folder, path.name, MAX_BYTES["model.onnx"], path.name)
    return load_bytes(data, replace(spec, path=path))


def load_bytes(
    data: bytes, spec: ModelSpec, *, named: Collection[str] = (), network: bytes | None = None
) -> tuple[Model, str]:
    """Load a model of bytes that were read already; see load_model.

    Args:
        data: the file.
        spec: what is said of it.
        named: hashes of pickles and networks that a registry entry at hand names.
        network: torch: the file of the network's class where it was read already.
    """
    digest = sha256(data)
    if spec.sha256 and digest != spec.sha256:
        text = f"{spec.path.name}: not the registered bytes (sha256 differs)"
        raise ModelRefused("model.hash", f"{text}; restore it or register it as a new version")
    _refuse_code(spec, digest, named)
    source = _network_source(spec, named, network)
    key = (digest, replace(spec, path=Path(spec.path.name)), source, os.getpid())
    model = _CACHE.get(key)
    if model is None:
        if spec.kind == "onnx":
            model = OnnxModel(data, spec, _importance(spec.path))
        else:
            model = WorkerModel(data, spec, source)
        _CACHE[key] = model
    return model, digest


class Asked:
    """A model of any kind, answering rows as a session does."""

    def __init__(self, model: Model, output_kind: str) -> None:
        self._call = model.predict_proba if output_kind in CLASSED else model.predict
        self._binary = output_kind == "binary"

    def run_rows(self, rows: np.ndarray) -> np.ndarray:
        """Answer float32[n, F] with float32[n, C]."""
        found = np.asarray(self._call(rows), np.float32).reshape(len(rows), -1)
        return served_columns(found) if self._binary else np.ascontiguousarray(found)


def served_columns(answers: np.ndarray) -> np.ndarray:
    """Bring a library's answers into float32[n, C]: of two classes, the second is what is served.

    >>> served_columns(np.array([[0.25, 0.75]])).tolist()
    [[0.75]]
    """
    found = np.asarray(answers, np.float32).reshape(len(answers), -1)
    return np.ascontiguousarray(found[:, 1:] if found.shape[1] == 2 else found)


def spec_of(loaded: LoadedModel, trust: Trust = NO_TRUST) -> ModelSpec:
    """Return how a registered version is loaded through the one interface."""
    kept = loaded.entry.normalisation
    return ModelSpec(
        path=Path(loaded.entry.model_file),
        kind=loaded.entry.kind,
        sha256=loaded.sha256,
        feature_names=loaded.entry.input_features,
        normalise=(kept.mean, kept.std) if kept.where == "metadata" else None,
        task="classifier" if loaded.output_kind in CLASSED else "regressor",
        factory=f"{NETWORK}:{loaded.entry.network}" if loaded.entry.network else "",
        sequence_length=loaded.sequence_length,
        trust=trust,
    )


def model_of(loaded: LoadedModel, trust: Trust = NO_TRUST) -> Asked:
    """Load a registered version of any kind to be asked rows."""
    named = {loaded.sha256, sha256(loaded.network)}
    spec = spec_of(loaded, trust)
    model, _ = load_bytes(loaded.model_bytes, spec, named=named, network=loaded.network)
    return Asked(model, loaded.output_kind)


def read_network(folder: Path, factory: str) -> tuple[str, bytes]:
    """Read the file that `net.py:Net` names; return the class's name and the file's bytes.

    Raises:
        ModelRefused: `model.path`, `model.missing`.
    """
    file, colon, name = factory.rpartition(":")
    if not colon or not name.isidentifier():
        raise ModelRefused("model.path", f"factory {factory!r}; write net.py:Net")
    with open_folder(folder) as opened:
        return name, read_bounded(opened, file, MAX_BYTES[NETWORK], file)


def _refuse_code(spec: ModelSpec, digest: str, named: Collection[str]) -> None:
    """Refuse what runs code while it is loaded, unless somebody has allowed it.

    Raises:
        ModelRefused: `model.trust`.
    """
    shown = spec.path.name
    if spec.kind == "pickle":
        if not spec.trust.pickle:
            text = f"{shown}: loading a pickle runs its code, and nothing allows it"
            raise ModelRefused("model.trust", f"{text}; set allow_pickle in config/governance.yaml")
        if digest not in named and digest not in _named(spec.trust.registry, "pickle"):
            text = f"{shown}: the registry names no pickle of this sha256"
            raise ModelRefused("model.trust", f"{text}; `lab.py models register` it first")
    if spec.kind == "custom" or (spec.kind == "torch" and spec.factory):
        if not spec.trust.custom:
            text = f"{shown}: loading it runs a Python file, and nothing allows it"
            raise ModelRefused("model.trust", f"{text}; set allow_custom in config/governance.yaml")
        if not spec.factory:
            raise ModelRefused("model.trust", f"{shown}: say which class: ModelSpec(factory=...)")


def _network_source(spec: ModelSpec, named: Collection[str], network: bytes | None) -> str:
    """Return the text of the file that holds a torch network's class; empty for other models.

    Raises:
        ModelRefused: `model.trust` for a file that the registry does not name.
    """
    if spec.kind != "torch" or not spec.factory:
        return ""
    if network is None:
        _, network = read_network(spec.path.parent, spec.factory)
    digest = sha256(network)
    if digest not in named and digest not in _named(spec.trust.registry, "torch"):
        text = f"{spec.factory}: the registry names no network of this sha256"
        raise ModelRefused("model.trust", f"{text}; `lab.py models register` it first")
    try:
        return network.decode("utf-8")
    except UnicodeDecodeError:
        raise ModelRefused("model.path", f"{spec.factory}: no Python file in UTF-8") from None


def _named(root: Path | None, kind: str) -> set[str]:
    """Return the hashes of what runs code that a registry names and has not archived."""
    from ml.registry import entries

    try:
        known = entries(root) if root is not None else ()
    except ModelRefused as error:
        if error.code != "model.missing":
            raise
        known = ()  # no registry is there yet
    own = [e for e in known if e.kind == kind and e.status != "archived"]
    if kind == "torch":
        return {e.files[NETWORK] for e in own if e.network}
    return {e.sha256 for e in own}


def _importance(path: Path) -> dict[str, float]:
    """Read the importance from model.meta.json beside the file; nothing when there is none."""
    try:
        with open_folder(path.parent) as folder:
            name = "model.meta.json"
            data = read_bounded(folder, name, MAX_BYTES[name], name)
        found = msgspec.json.decode(data)
        return msgspec.convert(found.get("feature_importance", {}), dict[str, float])
    except (ModelRefused, msgspec.MsgspecError, AttributeError):
        return {}
