"""Takes an ONNX file made elsewhere into the registry, so that it can be served like our own."""

import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from features.identity import kernel_identity
from features.spec import FeatureSpec
from ml import golden as golden_rows
from ml.golden import Golden
from ml.manifest import (
    CLASSES,
    SCHEMA_VERSION,
    Change,
    Entry,
    Metadata,
    Normalisation,
    OutputKind,
    OutputSchema,
    TrainingData,
    to_json,
)
from ml.onnx_scan import OPSET, scan
from ml.refusal import ModelRefused
from ml.registry import next_version, register
from ml.runtime.session import OrtModel
from ml.safe_files import sha256

GOLDEN_ROWS = 256
LATENCY_RUNS = 400


@dataclass(frozen=True, kw_only=True)
class Foreign:
    """What must be said of a model made elsewhere.

    Attributes:
        model_id: a plain name.
        spec: the features it reads, in the order of its input.
        kind: `classifier3` (float32[n, 3]) or `binary` (float32[n, 1], probability of up).
        classes: order of the three columns; ignored for binary.
        output: name of its output; empty takes the last one.
        normalisation: where inputs are normalised; `metadata` with mean and std, or `graph`.
        cadence: when it is asked, for the reader.
        horizon: what it predicts, for the reader.
        owner: who is answerable for it.
        rows: float32[n, F] typical inputs for the golden rows; None draws normal ones.
        answers: float32[n, C] what its source says of `rows`; None takes this runtime's answers,
            which then prove only that the runtime stays the same.
    """

    model_id: str
    spec: FeatureSpec
    kind: OutputKind = "classifier3"
    classes: tuple[str, ...] = CLASSES
    output: str = ""
    normalisation: Normalisation = Normalisation(where="graph")
    version: str = ""
    cadence: str = ""
    horizon: str = ""
    owner: str = "imported"
    note: str = "Made elsewhere. Its training data is not known to this registry."
    rows: np.ndarray | None = None
    answers: np.ndarray | None = None


def import_onnx(root: Path, data: bytes, foreign: Foreign) -> Entry:
    """Register an ONNX file as a candidate.

    Args:
        root: the artifacts folder.
        data: the file.
        foreign: what is said of it.
    Raises:
        ModelRefused: the file, or what is said of it, does not fit; nothing is written.
    """
    declared = scan(data)
    if not declared.outputs:
        raise ModelRefused("model.contract", "model.onnx: no output")
    classes = foreign.classes if foreign.kind == "classifier3" else ("UP",)
    name = foreign.output or declared.outputs[-1].name
    schema = OutputSchema(name=name, kind=foreign.kind, classes=classes)
    golden, latency = _golden(data, foreign, schema)
    packed = golden_rows.pack(golden)
    version = foreign.version or next_version(root, foreign.model_id)
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    claims = {
        "model_id": foreign.model_id,
        "version": version,
        "task": "imported",
        "feature_spec_sha256": foreign.spec.sha256,
        "kernel_identity": kernel_identity(foreign.spec),
        "output_schema": schema,
        "normalisation": foreign.normalisation,
        "training_data": TrainingData(name="unknown", sha256="0" * 64),
        "cadence": foreign.cadence,
        "horizon": foreign.horizon,
        "created_at": now,
        "commit": "unknown",
    }
    metadata = Metadata(
        schema_version=SCHEMA_VERSION,
        feature_names=foreign.spec.names,
        opset=OPSET,
        golden_sha256=sha256(packed),
        source_model_sha256=sha256(data),
        libraries={},
        **claims,
    )
    source = "source" if foreign.answers is not None else "this runtime"
    card = f"# {foreign.model_id}:{version}\n\n{foreign.note}\n\nGolden answers: {source}.\n"
    files = {
        "model.onnx": data,
        "metadata.json": to_json(metadata),
        "model.meta.json": to_json({"recipe": "imported", "golden_answers": source}),
        "feature_spec.json": foreign.spec.to_json(),
        "golden.npz": packed,
        "model_card.md": card.encode(),
    }
    entry = Entry(
        status="candidate",
        sha256=sha256(data),
        files={},
        input_features=foreign.spec.names,
        owner=foreign.owner,
        metrics={},
        thresholds={"min_confidence": 0.0},
        parent=None,
        optimisation="all",
        placement="inline",
        latency_us=latency,
        history=(Change(at=now, by=foreign.owner, status="candidate", why="imported"),),
        **claims,
    )
    return register(root, entry, files)


def _golden(data: bytes, foreign: Foreign, schema: OutputSchema) -> tuple[Golden, float]:
    """Choose golden rows, answer them, and time single rows (median, us)."""
    width = len(foreign.spec)
    rows = foreign.rows
    if rows is None:
        rows = np.random.default_rng(42).standard_normal((GOLDEN_ROWS, width))
    rows = np.ascontiguousarray(rows[:GOLDEN_ROWS], np.float32)
    if rows.ndim != 2 or rows.shape[1] != width:
        text = f"rows for the golden answers have shape {list(rows.shape)}, expected [n, {width}]"
        raise ModelRefused("model.contract", text)
    kept = foreign.normalisation
    normalise = None
    if kept.where == "metadata":
        scale = 1.0 / np.asarray(kept.std, np.float64)
        normalise = (np.asarray(kept.mean, np.float32), scale.astype(np.float32))
    model = OrtModel(
        data,
        x=np.zeros((1, width), np.float32),
        y=np.zeros((1, schema.columns), np.float32),
        output=schema.name,
        normalise=normalise,
    )
    answers = model.run_rows(rows) if foreign.answers is None else foreign.answers[:GOLDEN_ROWS]
    taken = []
    for k in range(LATENCY_RUNS):
        model.x[0] = rows[k % len(rows)]
        start = time.perf_counter_ns()
        model.run()
        taken.append(time.perf_counter_ns() - start)
    golden = Golden(
        x=rows,
        y=np.ascontiguousarray(answers, np.float32),
        tape_rows=np.zeros((0, 64), np.uint8),
        tape_at=np.zeros(0, np.int64),
        tape_x=np.zeros((0, width), np.float32),
    )
    return golden, round(float(np.median(taken)) / 1000, 1)
