"""Takes a model made elsewhere into the registry, so that it is checked and kept like our own."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from features.spec import FeatureSpec
from ml.golden import Golden
from ml.golden_tape import with_slice
from ml.manifest import (
    CLASSES,
    MAX_BYTES,
    Entry,
    Kind,
    Normalisation,
    OutputKind,
    TrainingData,
    check_normalisation,
    check_output,
    row_shape,
)
from ml.model_interface import NO_TRUST, Trust
from ml.onnx_scan import OPSET, scan
from ml.placement import Wish
from ml.publish import Draft, Trained, open_asked, open_bound, publish
from ml.refusal import ModelRefused
from ml.safe_files import open_folder, read_bounded, sha256

GOLDEN_ROWS = 256
UNKNOWN_DATA = TrainingData(name="unknown", sha256="0" * 64)
FIXED_CLASSES = {
    "binary": ("UP",),
    "regressor": ("VALUE",),
    "size": ("SIZE",),
    "action": ("ACTION",),
}
IN_GRAPH = Normalisation(where="graph")


@dataclass(frozen=True, kw_only=True)
class Foreign:
    """What must be said of a model made elsewhere.

    Attributes:
        model_id: a plain name.
        spec: the features it reads, in the order of its input.
        kind: what the output is (manifest.OutputKind): `classifier3` (float32[n, 3]), `binary`
            (float32[n, 1], probability of up), ...
        classes: order of the columns of classifier3, quantiles and discrete8; else ignored.
        words: what else its OutputSchema takes: dead_band, scale, horizons, levels, sizes.
        file_kind: onnx, lightgbm, xgboost, catboost, sklearn, torch, pickle.
        network, network_bytes: torch: the class that a state dict belongs to, and the Python file
            that holds it; empty for TorchScript.
        output: name of an ONNX file's output; empty takes the last one.
        normalisation: where inputs are normalised; `metadata` with mean and std, or `graph`.
        cadence: when it is asked, for the reader.
        horizon: what it predicts, for the reader.
        owner: who is answerable for it.
        placement: in the hot path or on a thread; `auto` goes by its time and cadence.
        sequence_length: rows of the window that it reads; 0 for single rows.
        rows: float32[n, F] typical inputs for the golden rows, float32[n, steps, F] of a sequence
            model; None draws normal ones.
        answers: float32[n, C] what its source says of `rows`; None takes this runtime's answers,
            which then prove only that the runtime stays the same.
        metrics: its figures, such as test_log_loss.
        meta: more for model.meta.json.
        training_data: what it was trained on, where that is known.
        parent: ID:VERSION that it descends of.
        min_confidence: below it its advice is HOLD.
        trust: what may run code, for kinds that do.
    """

    model_id: str
    spec: FeatureSpec
    kind: OutputKind = "classifier3"
    classes: tuple[str, ...] = CLASSES
    words: Mapping[str, Any] = field(default_factory=dict)
    file_kind: Kind = "onnx"
    network: str = ""
    network_bytes: bytes = b""
    output: str = ""
    normalisation: Normalisation = IN_GRAPH
    version: str = ""
    cadence: str = ""
    horizon: str = ""
    owner: str = "imported"
    placement: Wish = "auto"
    note: str = "Made elsewhere. Its training data is not known to this registry."
    sequence_length: int = 0
    rows: np.ndarray | None = None
    answers: np.ndarray | None = None
    metrics: Mapping[str, float] = field(default_factory=dict)
    meta: Mapping[str, Any] = field(default_factory=dict)
    training_data: TrainingData = UNKNOWN_DATA
    parent: str | None = None
    min_confidence: float = 0.0
    trust: Trust = NO_TRUST


def import_onnx(root: Path, data: bytes, foreign: Foreign) -> Entry:
    """Register an ONNX file as a candidate; see import_model."""
    return import_model(root, data, foreign)


def register(
    root: Path,
    name: str,
    version: str,
    path: Path,
    *,
    config: Foreign,
    metrics: Mapping[str, float],
) -> Entry:
    """Register a file of any kind under a name and version, as a candidate.

    Args:
        root: the artifacts folder.
        name: the model id; stands for the one in `config`.
        version: empty takes the next number.
        path: the file.
        config: what is said of it.
        metrics: its figures.
    Raises:
        ModelRefused: the file, or what is said of it, does not fit; nothing is written.
    """
    with open_folder(path.parent) as folder:
        data = read_bounded(folder, path.name, MAX_BYTES["model.onnx"], path.name)
    said = replace(config, model_id=name, version=version, metrics=metrics)
    return import_model(root, data, said)


def import_model(root: Path, data: bytes, foreign: Foreign) -> Entry:
    """Register a file of any kind as a candidate.

    Args:
        root: the artifacts folder.
        data: the file.
        foreign: what is said of it.
    Raises:
        ModelRefused: the file, or what is said of it, does not fit; nothing is written.
    """
    output = foreign.output
    if foreign.file_kind == "onnx":
        output = output or scan(data).outputs[-1].name
    draft = Draft(
        model_id=foreign.model_id,
        version=foreign.version,
        task="imported",
        spec=foreign.spec,
        training_data=foreign.training_data,
        cadence=foreign.cadence,
        horizon=foreign.horizon,
        normalisation=foreign.normalisation,
        output=output or "answers",
        opset=OPSET if foreign.file_kind == "onnx" else 0,
        kind=foreign.kind,
        classes=FIXED_CLASSES.get(foreign.kind, foreign.classes),
        words=foreign.words,
        file_kind=foreign.file_kind,
        network=foreign.network,
        network_bytes=foreign.network_bytes,
        owner=foreign.owner,
        parent=foreign.parent,
        min_confidence=foreign.min_confidence,
        trust=foreign.trust,
        placement=foreign.placement,
        sequence_length=foreign.sequence_length,
    )
    check_output(draft.schema, foreign.model_id)
    worker = None if foreign.file_kind == "onnx" else open_asked(draft, data)
    said_by = "this runtime" if foreign.answers is None else "its source"
    card = f"# {{name}}\n\n{foreign.note}\n\nGolden answers were given by {said_by}.\n"
    trained = Trained(
        onnx_bytes=data,
        golden=_golden(data, foreign, draft),
        source_sha256=sha256(data),
        meta={"recipe": "imported", "golden_answers": said_by, **foreign.meta},
        card=card.encode(),
        metrics=foreign.metrics,
    )
    registered = publish(root, draft, trained)
    del worker
    return registered


def _golden(data: bytes, foreign: Foreign, draft: Draft) -> Golden:
    """Choose golden rows and answer them, by the source where its answers are given."""
    width = len(foreign.spec)
    shape = row_shape(foreign.sequence_length, width)
    rows = foreign.rows
    if rows is None:
        rows = np.random.default_rng(42).standard_normal((GOLDEN_ROWS, *shape))
    rows = np.ascontiguousarray(rows[:GOLDEN_ROWS], np.float32)
    if rows.shape[1:] != shape:
        text = f"rows for the golden answers have shape {list(rows.shape)}"
        text += f", expected n of {list(shape)}"
        raise ModelRefused("model.contract", text)
    check_normalisation(foreign.normalisation, width, foreign.model_id)
    answers = foreign.answers
    if answers is None:
        onnx = foreign.file_kind == "onnx"
        model = open_bound(draft, data) if onnx else open_asked(draft, data)
        answers = model.run_rows(rows)
    return with_slice(
        Golden(
            x=rows,
            y=np.ascontiguousarray(answers[:GOLDEN_ROWS], np.float32),
            tape_rows=np.zeros((0, 64), np.uint8),
            tape_at=np.zeros(0, np.int64),
            tape_x=np.zeros((0, width), np.float32),
        ),
        foreign.spec,
    )
