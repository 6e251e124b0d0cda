"""Takes an ONNX file made elsewhere into the registry, so that it can be served like our own."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from features.spec import FeatureSpec
from ml.artifact import normalise_arrays
from ml.golden import Golden
from ml.manifest import (
    CLASSES,
    Entry,
    Normalisation,
    OutputKind,
    OutputSchema,
    TrainingData,
    check_normalisation,
)
from ml.onnx_scan import OPSET, scan
from ml.placement import Wish
from ml.publish import Draft, Trained, publish
from ml.refusal import ModelRefused
from ml.runtime.session import OrtModel
from ml.safe_files import sha256

GOLDEN_ROWS = 256
IN_GRAPH = Normalisation(where="graph")


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
        placement: in the hot path or on a thread; `auto` goes by its time and cadence.
        rows: float32[n, F] typical inputs for the golden rows; None draws normal ones.
        answers: float32[n, C] what its source says of `rows`; None takes this runtime's answers,
            which then prove only that the runtime stays the same.
    """

    model_id: str
    spec: FeatureSpec
    kind: OutputKind = "classifier3"
    classes: tuple[str, ...] = CLASSES
    output: str = ""
    normalisation: Normalisation = IN_GRAPH
    version: str = ""
    cadence: str = ""
    horizon: str = ""
    owner: str = "imported"
    placement: Wish = "auto"
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
    classes = foreign.classes if foreign.kind == "classifier3" else ("UP",)
    draft = Draft(
        model_id=foreign.model_id,
        version=foreign.version,
        task="imported",
        spec=foreign.spec,
        training_data=TrainingData(name="unknown", sha256="0" * 64),
        cadence=foreign.cadence,
        horizon=foreign.horizon,
        normalisation=foreign.normalisation,
        output=foreign.output or declared.outputs[-1].name,
        opset=OPSET,
        kind=foreign.kind,
        classes=classes,
        owner=foreign.owner,
        placement=foreign.placement,
    )
    said_by = "this runtime" if foreign.answers is None else "its source"
    card = f"# {{name}}\n\n{foreign.note}\n\nGolden answers were given by {said_by}.\n"
    trained = Trained(
        onnx_bytes=data,
        golden=_golden(data, foreign, draft),
        source_sha256=sha256(data),
        meta={"recipe": "imported", "golden_answers": said_by},
        card=card.encode(),
        metrics={},
    )
    return publish(root, draft, trained)


def _golden(data: bytes, foreign: Foreign, draft: Draft) -> Golden:
    """Choose golden rows and answer them, by the source where its answers are given."""
    width = len(foreign.spec)
    rows = foreign.rows
    if rows is None:
        rows = np.random.default_rng(42).standard_normal((GOLDEN_ROWS, width))
    rows = np.ascontiguousarray(rows[:GOLDEN_ROWS], np.float32)
    if rows.ndim != 2 or rows.shape[1] != width:
        text = f"rows for the golden answers have shape {list(rows.shape)}, expected [n, {width}]"
        raise ModelRefused("model.contract", text)
    check_normalisation(foreign.normalisation, width, foreign.model_id)
    answers = foreign.answers
    if answers is None:
        columns = OutputSchema(name=draft.output, kind=draft.kind, classes=draft.classes).columns
        model = OrtModel(
            data,
            x=np.zeros((1, width), np.float32),
            y=np.zeros((1, columns), np.float32),
            output=draft.output,
            normalise=normalise_arrays(foreign.normalisation),
        )
        answers = model.run_rows(rows)
    return Golden(
        x=rows,
        y=np.ascontiguousarray(answers[:GOLDEN_ROWS], np.float32),
        tape_rows=np.zeros((0, 64), np.uint8),
        tape_at=np.zeros(0, np.int64),
        tape_x=np.zeros((0, width), np.float32),
    )
