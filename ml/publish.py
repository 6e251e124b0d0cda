"""From a trained model to a registered version: files, hashes, metadata, entry."""

import importlib.metadata
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from features.identity import kernel_identity
from features.spec import FeatureSpec
from ml import golden as golden_rows
from ml.artifact import normalise_arrays
from ml.golden import Golden
from ml.loading import Asked, load_bytes
from ml.manifest import (
    CLASSED,
    CLASSES,
    MODEL_FILES,
    NETWORK,
    SCHEMA_VERSION,
    Change,
    Entry,
    Kind,
    Metadata,
    Normalisation,
    OutputKind,
    OutputSchema,
    Status,
    TrainingData,
    row_shape,
    to_json,
)
from ml.model_interface import NO_TRUST, ModelSpec, Trust
from ml.placement import Wish, placement_of
from ml.refusal import ModelRefused
from ml.registry import entries, next_version, register
from ml.runtime.session import OrtModel
from ml.safe_files import sha256

LIBRARIES = ("lightgbm", "numpy", "onnx", "onnxmltools", "onnxruntime", "scikit-learn", "scipy")
LATENCY_RUNS = 400
WORKER_RUNS = 40
LATENCY_WITHIN_S, LATENCY_LEAST = 2.0, 16  # of a slow model fewer runs are timed


@dataclass(frozen=True, kw_only=True)
class Draft:
    """What a recipe knows of its model before it has files."""

    model_id: str
    task: str
    spec: FeatureSpec
    training_data: TrainingData
    cadence: str
    horizon: str
    normalisation: Normalisation
    output: str
    opset: int
    kind: OutputKind = "classifier3"
    classes: tuple[str, ...] = CLASSES
    words: Mapping[str, Any] = field(default_factory=dict)  # what else OutputSchema takes
    file_kind: Kind = "onnx"
    network: str = ""  # torch: the class of a state dict; empty for TorchScript
    network_bytes: bytes = b""  # the file that holds it
    version: str = ""  # empty takes the next number
    status: Status = "candidate"
    owner: str = "tickgate"
    parent: str | None = None
    min_confidence: float = 0.0
    trust: Trust = NO_TRUST
    placement: Wish = "auto"  # by its latency and the budget of its cadence
    sequence_length: int = 0  # rows of a window; 0: it reads single rows

    @property
    def schema(self) -> OutputSchema:
        """What the output is; `words` may hold lists, as JSON has them."""
        said = {"name": self.output, "kind": self.kind, "classes": self.classes, **self.words}
        try:
            return msgspec.convert(said, OutputSchema)
        except msgspec.ValidationError as error:
            raise ModelRefused("model.contract", f"{self.model_id}: output: {error}") from None


def properties(spec: FeatureSpec, dataset_sha256: str, classes: tuple[str, ...]) -> dict[str, str]:
    """Return the small texts kept inside model.onnx; nothing in them depends on time or place."""
    return {
        "schema_version": str(SCHEMA_VERSION),
        "feature_names": msgspec.json.encode(list(spec.names)).decode(),
        "feature_spec_sha256": spec.sha256,
        "classes": msgspec.json.encode(list(classes)).decode(),
        "dataset_sha256": dataset_sha256,
    }


def utc_text(ts_ns: int) -> str:
    """Return an ISO time of int64 ns.

    >>> utc_text(1_700_000_000_000_000_000)
    '2023-11-14T22:13:20Z'
    """
    return datetime.fromtimestamp(ts_ns // 1_000_000_000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def libraries() -> dict[str, str]:
    """Return the versions of what trains and serves, of those that are installed."""
    found = {}
    for name in LIBRARIES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def features_commit() -> str:
    """Return the last commit that touched features/, or `unknown` outside of a clone."""
    command = ["git", "log", "-1", "--format=%H", "--", "features"]
    root = Path(__file__).resolve().parents[1]
    try:
        done = subprocess.run(
            command, check=False, cwd=root, capture_output=True, text=True, timeout=10
        )
    except (OSError, subprocess.SubprocessError):
        return "unknown"
    return done.stdout.strip() or "unknown"


@dataclass(frozen=True, kw_only=True)
class Trained:
    """What training gives.

    Attributes:
        onnx_bytes: the file of the model; of another kind where `Draft.file_kind` says so.
        golden: rows with the source's answers.
        source_sha256: hash of the source model (LightGBM text, weights).
        meta: content of model.meta.json: settings, label, split, figures, importance.
        card: model_card.md, with `{name}` where ID:VERSION goes.
        metrics: few figures for the registry.
    """

    onnx_bytes: bytes
    golden: Golden
    source_sha256: str
    meta: Mapping[str, Any]
    card: bytes
    metrics: Mapping[str, float]


def publish(root: Path, draft: Draft, trained: Trained, *, replace: bool = False) -> Entry:
    """Write a version's files and register it, everything or nothing.

    When `replace` finds the same model.onnx registered, its dates, commit, status, history and
    latency stay, so that a rebuild of the same model changes no byte.

    Args:
        root: the artifacts folder.
        draft: what the recipe knows.
        trained: what training gave.
        replace: allow the version to exist.
    Returns:
        The registered entry.
    Raises:
        ModelRefused: a check of the registry failed; nothing was written.
    """
    version = draft.version or next_version(root, draft.model_id)
    model_hash = sha256(trained.onnx_bytes)
    worker = None if draft.file_kind == "onnx" else open_asked(draft, trained.onnx_bytes)
    same = _registered(root, draft.model_id, version, model_hash) if replace else None
    claims = _claims(draft, version, same)
    files = _files(draft, trained, claims)
    latency = same.latency_us if same else median_latency_us(draft, trained)
    change = Change(at=claims["created_at"], by=draft.owner, status=draft.status, why="registered")
    entry = Entry(
        status=same.status if same else draft.status,
        sha256=model_hash,
        files={},
        input_features=draft.spec.names,
        owner=draft.owner,
        metrics=dict(trained.metrics),
        thresholds={"min_confidence": draft.min_confidence},
        parent=draft.parent,
        optimisation="all",
        placement=placement_of(draft.cadence, latency, draft.placement),
        latency_us=latency,
        history=same.history if same else (change,),
        kind=draft.file_kind,
        network=draft.network,
        **claims,
    )
    registered = register(root, entry, files, replace=replace, trust=draft.trust)
    del worker  # held so that latency, golden rows and checks are asked of one process
    return registered


def _claims(draft: Draft, version: str, same: Entry | None) -> dict[str, Any]:
    """Return what stands in the registry and in metadata.json alike."""
    return {
        "model_id": draft.model_id,
        "version": version,
        "task": draft.task,
        "feature_spec_sha256": draft.spec.sha256,
        "kernel_identity": kernel_identity(draft.spec),
        "output_schema": draft.schema,
        "normalisation": draft.normalisation,
        "training_data": draft.training_data,
        "cadence": draft.cadence,
        "horizon": draft.horizon,
        "sequence_length": draft.sequence_length,
        "created_at": same.created_at if same else utc_text(time.time_ns()),
        "commit": same.commit if same else features_commit(),
    }


def _files(draft: Draft, trained: Trained, claims: Mapping[str, Any]) -> dict[str, bytes]:
    """Return the bytes of all files of a version."""
    golden_bytes = golden_rows.pack(trained.golden)
    metadata = Metadata(
        schema_version=SCHEMA_VERSION,
        feature_names=draft.spec.names,
        opset=draft.opset,
        golden_sha256=sha256(golden_bytes),
        source_model_sha256=trained.source_sha256,
        libraries=libraries(),
        **claims,
    )
    name = f"{claims['model_id']}:{claims['version']}"
    return {
        MODEL_FILES[draft.file_kind]: trained.onnx_bytes,
        **({NETWORK: draft.network_bytes} if draft.network else {}),
        "metadata.json": to_json(metadata),
        "model.meta.json": to_json(dict(trained.meta)),
        "feature_spec.json": draft.spec.to_json(),
        "golden.npz": golden_bytes,
        "model_card.md": trained.card.replace(b"{name}", name.encode()),
    }


def _registered(root: Path, model_id: str, version: str, model_sha256: str) -> Entry | None:
    """Return the entry when this very model stands in the registry already."""
    if not (root / "registry.json").exists():
        return None
    for entry in entries(root):
        if (entry.model_id, entry.version, entry.sha256) == (model_id, version, model_sha256):
            return entry
    return None


def median_latency_us(draft: Draft, trained: Trained) -> float:
    """Measure the median time of one row, with another row each time.

    ONNX in this runtime, other kinds in their worker, way there and back included.
    """
    rows = trained.golden.x
    ask = _asker(draft, trained.onnx_bytes, rows)
    taken = []
    until = time.monotonic() + LATENCY_WITHIN_S
    for k in range(LATENCY_RUNS if draft.file_kind == "onnx" else WORKER_RUNS):
        if k >= LATENCY_LEAST and time.monotonic() > until:
            break
        start = time.perf_counter_ns()
        ask(k % len(rows))
        taken.append(time.perf_counter_ns() - start)
    return round(float(np.median(taken)) / 1000, 1)


def _asker(draft: Draft, data: bytes, rows: np.ndarray) -> Callable[[int], Any]:
    """Return what evaluates one row by its number."""
    if draft.file_kind != "onnx":
        model = open_asked(draft, data)
        return lambda k: model.run_rows(rows[k : k + 1])
    bound = open_bound(draft, data)

    def ask(k: int) -> None:
        bound.x[0] = rows[k]
        bound.run()

    return ask


def open_bound(draft: Draft, data: bytes) -> OrtModel:
    """Make a session of an ONNX draft over arrays of its own."""
    return OrtModel(
        data,
        x=np.zeros((1, *row_shape(draft.sequence_length, len(draft.spec))), np.float32),
        y=np.zeros((1, draft.schema.columns), np.float32),
        output=draft.output,
        normalise=normalise_arrays(draft.normalisation),
    )


def open_asked(draft: Draft, data: bytes) -> Asked:
    """Start the worker of a draft of another kind; who holds it shares it with later checks."""
    kept, digest = draft.normalisation, sha256(data)
    spec = ModelSpec(
        path=Path(MODEL_FILES[draft.file_kind]),
        kind=draft.file_kind,
        sha256=digest,
        feature_names=draft.spec.names,
        normalise=(kept.mean, kept.std) if kept.where == "metadata" else None,
        task="classifier" if draft.kind in CLASSED else "regressor",
        factory=f"{NETWORK}:{draft.network}" if draft.network else "",
        sequence_length=draft.sequence_length,
        trust=draft.trust,
    )
    named = {digest, sha256(draft.network_bytes)}
    model, _ = load_bytes(data, spec, named=named, network=draft.network_bytes)
    return Asked(model, draft.kind)
