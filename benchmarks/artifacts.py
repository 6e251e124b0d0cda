"""The benchmark's MLP as an artifact under build/, so that the engine serves it as any model."""

import hashlib
import shutil
from pathlib import Path

import numpy as np

from benchmarks import peer_models
from benchmarks.tick_features import TICK_SPEC
from ml.golden import Golden
from ml.manifest import Normalisation, TrainingData
from ml.publish import Draft, Trained, publish
from ml.refusal import ModelRefused
from ml.registry import check, load

FOLDER = Path("build") / "bench_artifacts"
MODEL_ID, VERSION = "BenchMLP", "1"
GOLDEN_ROWS = 64
CARD = b"# {name}\n\nFixed random weights. A load for benchmarks; it predicts nothing.\n"


def artifacts() -> Path:
    """Return a registry that holds the MLP, made anew when its features' code has changed."""
    try:
        check(load(FOLDER, MODEL_ID, VERSION))
    except (ModelRefused, OSError):
        shutil.rmtree(FOLDER, ignore_errors=True)
        FOLDER.mkdir(parents=True)
        _publish()
    return FOLDER


def _publish() -> None:
    """Write and register it; the golden answers come from a plain NumPy forward pass."""
    data = peer_models.make_all()["mlp"].read_bytes()
    rows = np.random.default_rng(3).normal(0, 1, (GOLDEN_ROWS, peer_models.INPUTS))
    x = rows.astype(np.float32)
    nothing = hashlib.sha256(b"").hexdigest()
    golden = Golden(
        x=x,
        y=forward(x),
        tape_rows=np.zeros((0, 64), np.uint8),
        tape_at=np.zeros(0, np.int64),
        tape_x=np.zeros((0, peer_models.INPUTS), np.float32),
    )
    draft = Draft(
        model_id=MODEL_ID,
        version=VERSION,
        task="benchmark",
        spec=TICK_SPEC,
        training_data=TrainingData(name="none", sha256=nothing),
        cadence="every_n:10",
        horizon="none",
        normalisation=Normalisation(where="none"),
        output="p",
        opset=17,
        kind="binary",
        classes=("UP",),
        status="production",
    )
    trained = Trained(
        onnx_bytes=data,
        golden=golden,
        source_sha256=hashlib.sha256(data).hexdigest(),
        meta={},
        card=CARD,
        metrics={},
    )
    publish(FOLDER, draft, trained)


def forward(x: np.ndarray) -> np.ndarray:
    """Evaluate the MLP with NumPy in float64.

    Args:
        x: float32[n, 10].
    Returns:
        float32[n, 1].
    """
    rng = np.random.default_rng(peer_models.SEEDS["mlp"])
    widths = peer_models.MLP_WIDTHS
    value = x.astype(np.float64)
    for rows, columns in zip(widths, widths[1:], strict=False):
        weights = (rng.normal(0, 1, (rows, columns)) / np.sqrt(rows)).astype(np.float32)
        value = value @ weights.astype(np.float64)
        if columns > 1:
            value = np.maximum(value, 0.0)
    return (1.0 / (1.0 + np.exp(-value))).astype(np.float32)
