"""TickMLP: a small network on tick features, for decisions every few hundred milliseconds."""

import dataclasses
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from engine.errors import DataError
from features.spec import FeatureSpec
from ml.golden_tape import with_slice
from ml.manifest import CLASSES, Normalisation, Status
from ml.publish import Draft, Trained, properties, publish
from ml.safe_files import sha256
from ml.training.calibrate import fit_temperature, softmax
from ml.training.card import card
from ml.training.golden_rows import golden_rows
from ml.training.labels import future_move
from ml.training.network import Fit, Network, fit_network
from ml.training.onnx_graph import OPSET, OUTPUT, network_to_onnx
from ml.training.rows import FeatureRows, Samples, Source, join
from ml.training.study import (
    Outcome,
    Parts,
    Progress,
    TrainResult,
    common_facts,
    common_meta,
    cut,
    examine,
    training_data,
)

MODEL_ID = "TickMLP"
PURPOSE = "Advises SELL, HOLD or BUY on the touch, every few hundred milliseconds."
NS_PER_MS = 1_000_000
MAX_TRAIN_ROWS = 400_000


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Label, network and report; all of it is written to model.meta.json."""

    cadence_ms: int = 250  # the rows' own distance, for the registry
    horizon_ms: int = 5000
    hidden: tuple[int, ...] = (32, 16)
    epochs: int = 30
    batch: int = 256
    rate: float = 1e-3
    decay: float = 1e-5
    patience: int = 5
    seed: int = 42
    threshold: float = 0.6  # of the economic figures
    cost_bps: float = 4.0  # of a round trip beside the half spread that the label pays

    def check(self) -> None:
        """Refuse settings out of range.

        Raises:
            DataError: naming the setting, its value and what is allowed.
        """
        for name in "cadence_ms horizon_ms epochs batch rate patience".split():
            if not getattr(self, name) > 0:
                raise DataError(f"{name} is {getattr(self, name)}, it must be above 0")
        if not self.hidden or any(not 1 <= size <= 512 for size in self.hidden):
            raise DataError(f"hidden is {self.hidden}, it must be 1 to 512 units a layer")
        if not 0 <= self.threshold <= 1:
            raise DataError(f"threshold is {self.threshold}, it must be between 0 and 1")


@dataclass(frozen=True)
class Scaled:
    """The trained source model, its numbers rounded to float32 as the graph holds them."""

    network: Network
    mean: np.ndarray
    scale: np.ndarray
    temperature: float
    losses: list[float]

    def predict(self, x: np.ndarray) -> np.ndarray:
        """Return calibrated probabilities, float32[n, F] to float32[n, 3]; NaN gives NaN."""
        rows = (np.asarray(x, np.float64) - self.mean) * self.scale
        answers = softmax(self.network.scores(rows) / self.temperature).astype(np.float32)
        answers[~np.isfinite(rows).all(axis=1)] = np.nan
        return answers


def label_rows(rows: FeatureRows, settings: Settings) -> Samples:
    """Label the rows of every instrument and keep those that are warm and have a label.

    Args:
        rows: at a fixed cadence, the touch beside each.
        settings: the horizon.
    Raises:
        DataError: no row is left.
    """
    parts = []
    for instrument in np.unique(rows.instrument):
        own = np.flatnonzero(rows.instrument == instrument)
        ts = rows.ts[own]
        found = future_move(
            ts, rows.bid[own], rows.ask[own], horizon_ns=settings.horizon_ms * NS_PER_MS
        )
        kept = np.flatnonzero(rows.valid[own] & (found.label >= 0))
        parts.append(
            Samples(
                ts[kept],
                ts[found.end[kept]],
                rows.x[own][kept],
                found.label[kept],
                found.long_return[kept],
                found.short_return[kept],
            )
        )
    if not sum(len(part) for part in parts):
        raise DataError(
            "no row has all features warm and a label: give more data, or features that the data "
            "has inputs for"
        )
    return join(parts)


def fit(parts: Parts, settings: Settings, progress: Progress) -> Scaled:
    """Normalise, train with early stopping, and calibrate on the validation part."""
    chosen = np.linspace(0, len(parts.train) - 1, min(len(parts.train), MAX_TRAIN_ROWS)).astype(int)
    x = parts.train.x[chosen].astype(np.float64)
    mean = _float32(x.mean(axis=0))
    spread = x.std(axis=0)
    scale = _float32(np.where(spread > 0, 1.0 / np.where(spread > 0, spread, 1.0), 0.0))
    numbers = {f.name: getattr(settings, f.name) for f in dataclasses.fields(Fit)}
    held = (parts.validation.x - mean) * scale
    network, losses = fit_network(
        ((x - mean) * scale, parts.train.label[chosen]),
        (held, parts.validation.label),
        Fit(**numbers),
        progress=progress,
    )
    network = Network(
        tuple(_float32(weight) for weight in network.weights),
        tuple(_float32(bias) for bias in network.biases),
    )
    temperature = fit_temperature(network.scores(held), parts.validation.label)
    return Scaled(network, mean, scale, temperature, losses)


def _float32(values: np.ndarray) -> np.ndarray:
    return values.astype(np.float32).astype(np.float64)


def importance(model: Scaled, parts: Parts, names: tuple[str, ...]) -> dict[str, float]:
    """Return how much the mean answer moves when one feature is set to its mean, as shares."""
    x = parts.validation.x[:: max(1, len(parts.validation) // 4000)]
    plain = model.predict(x)
    moved = []
    for column in range(x.shape[1]):
        changed = x.copy()
        changed[:, column] = model.mean[column]
        moved.append(float(np.abs(model.predict(changed) - plain).mean()))
    total = sum(moved) or 1.0
    return {name: round(value / total, 4) for name, value in zip(names, moved, strict=True)}


def train(
    rows: FeatureRows,
    spec: FeatureSpec,
    source: Source,
    *,
    out_dir: Path,
    settings: Settings | None = None,
    model_id: str = MODEL_ID,
    version: str = "",
    status: Status = "candidate",
    replace: bool = False,
    extra_meta: Mapping[str, Any] | None = None,
    progress: Progress = lambda stage, share: None,
) -> TrainResult:
    """Label, split, train, calibrate, test against baselines, export and register.

    The arguments are those of signal_classifier.train; the same rows and settings give the same
    bytes of model.onnx.

    Raises:
        DataError: too few rows, or a setting out of range.
        ModelRefused: the finished model fails a check of the registry; nothing is written.
    """
    began = time.perf_counter()
    settings = settings or Settings()
    settings.check()
    progress("labels", 0.0)
    parts = cut(label_rows(rows, settings), settings.horizon_ms * NS_PER_MS)
    model = fit(parts, settings, progress)
    progress("test", 0.0)
    answers = model.predict(parts.test.x)
    report = {"threshold": settings.threshold, "cost_bps": settings.cost_bps}
    outcome = examine(parts, answers, seed=settings.seed, **report)
    progress("export", 0.0)
    trained = _trained(model, parts, outcome, settings, spec=spec, source=source)
    trained = dataclasses.replace(trained, meta={**trained.meta, **(extra_meta or {})})
    draft = Draft(
        model_id=model_id,
        version=version,
        status=status,
        task="future_move_classification",
        spec=spec,
        training_data=training_data(parts, source),
        cadence=f"every:{settings.cadence_ms}ms",
        horizon=f"{settings.horizon_ms} ms",
        normalisation=Normalisation(where="graph"),
        output=OUTPUT,
        opset=OPSET,
    )
    entry = publish(out_dir, draft, trained, replace=replace)
    progress("export", 1.0)
    folder = out_dir / entry.model_id / entry.version
    seconds = time.perf_counter() - began
    return TrainResult(entry, folder, outcome.test, outcome.economics, parts.sizes, seconds)


def _trained(
    model: Scaled,
    parts: Parts,
    outcome: Outcome,
    settings: Settings,
    *,
    spec: FeatureSpec,
    source: Source,
) -> Trained:
    """Export the network and write what goes beside it."""
    data = network_to_onnx(
        model.network.weights,
        model.network.biases,
        mean=model.mean,
        scale=model.scale,
        temperature=model.temperature,
        properties=properties(spec, source.sha256, CLASSES),
    )
    weights = importance(model, parts, spec.names)
    layers = "-".join(str(size) for size in (len(spec), *settings.hidden, len(CLASSES)))
    facts = [
        *common_facts(parts, source),
        ("label", f"middle after {settings.horizon_ms} ms above the ask or below the bid"),
        ("network", f"{layers}, Relu, {len(model.losses)} epochs of at most {settings.epochs}"),
        ("normalisation", "inside the graph"),
        ("calibration", f"temperature {model.temperature:.4f}, inside the graph"),
        ("seed", str(settings.seed)),
    ]
    text = card(
        "{name}",
        purpose=PURPOSE,
        source=source,
        facts=facts,
        test=outcome.test,
        economics=outcome.economics,
        importance=weights,
    )
    meta = common_meta(parts, outcome) | {
        "recipe": "tick_mlp",
        "settings": dataclasses.asdict(settings),
        "temperature": model.temperature,
        "validation_log_loss": [round(loss, 6) for loss in model.losses],
        "feature_importance": weights,
    }
    golden = golden_rows(parts.train.x, model.predict, seed=settings.seed)
    arrays = (*model.network.weights, *model.network.biases, model.mean, model.scale)
    return Trained(
        onnx_bytes=data,
        golden=with_slice(golden, spec),
        source_sha256=sha256(b"".join(a.astype("<f8").tobytes() for a in arrays)),
        meta=meta,
        card=text,
        metrics=outcome.registry_metrics,
    )
