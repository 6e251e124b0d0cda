"""SignalClassifier: gradient-boosted trees on bar features, labelled by the triple barrier."""

import dataclasses
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightgbm as lgb
import numpy as np

from engine.errors import DataError
from features.spec import FeatureSpec
from ml.golden_tape import with_slice
from ml.manifest import CLASSES, Normalisation, Status
from ml.publish import Draft, Trained, properties, publish
from ml.safe_files import sha256
from ml.training.calibrate import fit_temperature
from ml.training.card import card
from ml.training.golden_rows import golden_rows
from ml.training.labels import ATR_BARS, triple_barrier
from ml.training.onnx_graph import (
    OPSET,
    OUTPUT,
    float32_thresholds,
    thresholds,
    tree_probabilities,
    trees_to_onnx,
)
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

MODEL_ID = "SignalClassifier"
PURPOSE = "Advises SELL, HOLD or BUY at the close of each bar of one minute."
MAX_STRETCH = 2  # times the horizon that its bars may span
TRAINING_THREADS = 2  # fixed: the order of sums may depend on it


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Label, trees and report; all of it is written to model.meta.json."""

    horizon: int = 20  # bars
    take_profit_atr: float = 2.0
    stop_loss_atr: float = 2.0
    trees: int = 500
    max_depth: int = 6
    learning_rate: float = 0.1
    row_share: float = 0.8
    column_share: float = 0.8
    min_child_weight: float = 1.0
    min_split_gain: float = 0.1
    l1: float = 0.1
    l2: float = 1.0
    patience: int = 50  # rounds without a better validation loss
    seed: int = 42
    threshold: float = 0.6  # of the economic figures
    cost_bps: float = 5.0  # of a round trip, in the economic figures

    def check(self) -> None:
        """Refuse settings out of range.

        Raises:
            DataError: naming the setting, its value and what is allowed.
        """
        above_zero = (
            "horizon take_profit_atr stop_loss_atr trees max_depth learning_rate row_share "
            "column_share patience"
        )
        for name in above_zero.split():
            if not getattr(self, name) > 0:
                raise DataError(f"{name} is {getattr(self, name)}, it must be above 0")
        for name in ("row_share", "column_share", "threshold"):
            if not 0 <= getattr(self, name) <= 1:
                raise DataError(f"{name} is {getattr(self, name)}, it must be between 0 and 1")
        for name in ("min_child_weight", "min_split_gain", "l1", "l2", "cost_bps"):
            if not getattr(self, name) >= 0:
                raise DataError(f"{name} is {getattr(self, name)}, it must not be below 0")
        if self.max_depth > 12:
            raise DataError(f"max_depth is {self.max_depth}, at most 12 are served inline")


def label_rows(rows: FeatureRows, settings: Settings) -> Samples:
    """Label the rows of every instrument and keep those that are warm and have a label.

    Args:
        rows: one row for each closed bar of each instrument.
        settings: horizon and barriers.
    Raises:
        DataError: no row is left.
    """
    parts = []  # bars can be missing (nights, gaps): a horizon stretched by them gives no label
    for instrument in np.unique(rows.instrument):
        own = np.flatnonzero((rows.instrument == instrument) & np.isfinite(rows.bar_close))
        if len(own) < settings.horizon + ATR_BARS + 2:
            continue
        found = triple_barrier(
            rows.bar_high[own],
            rows.bar_low[own],
            rows.bar_close[own],
            horizon=settings.horizon,
            take_profit_atr=settings.take_profit_atr,
            stop_loss_atr=settings.stop_loss_atr,
        )
        ts = rows.ts[own]
        kept = np.flatnonzero(rows.valid[own] & (found.label >= 0))
        longest = MAX_STRETCH * settings.horizon * bar_interval_ns(ts)
        kept = kept[ts[kept + settings.horizon] - ts[kept] <= longest]
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
    if not parts or not sum(len(part) for part in parts):
        raise DataError(
            "no bar has all features warm and a label: give more bars, or features that the data "
            "has inputs for"
        )
    return join(parts)


def bar_interval_ns(ts: np.ndarray) -> int:
    """Return the most common distance of two neighbouring moments, ns.

    >>> bar_interval_ns(np.array([0, 60, 60, 120, 300, 360]))
    60
    """
    steps = np.diff(np.unique(ts))
    values, counts = np.unique(steps, return_counts=True)
    return int(values[counts.argmax()])


def cadence_text(interval_ns: int) -> str:
    """Return how settings name a bar interval.

    >>> cadence_text(60_000_000_000), cadence_text(5_000_000_000)
    ('bar:1m', 'bar:5s')
    """
    seconds = interval_ns // 1_000_000_000
    for unit, size in (("d", 86_400), ("h", 3600), ("m", 60)):
        if seconds and seconds % size == 0:
            return f"bar:{seconds // size}{unit}"
    return f"bar:{seconds}s"


def fit_trees(
    train: Samples, validation: Samples, settings: Settings, progress: Progress
) -> tuple[lgb.Booster, list[float]]:
    """Train with early stopping on the validation part.

    Returns:
        The trees up to the best round, thresholds cured for float32, and the validation loss of
        every round.
    """
    parameters = {
        "objective": "multiclass",
        "num_class": len(CLASSES),
        "learning_rate": settings.learning_rate,
        "max_depth": settings.max_depth,
        "num_leaves": 2**settings.max_depth - 1,
        "bagging_fraction": settings.row_share,
        "bagging_freq": 1,
        "feature_fraction": settings.column_share,
        "min_sum_hessian_in_leaf": settings.min_child_weight,
        "min_gain_to_split": settings.min_split_gain,
        "lambda_l1": settings.l1,
        "lambda_l2": settings.l2,
        "seed": settings.seed,
        "deterministic": True,
        "force_row_wise": True,
        "num_threads": TRAINING_THREADS,
        "verbosity": -1,
    }

    def report(state: Any) -> None:
        progress("training", (state.iteration + 1) / settings.trees)

    losses: dict[str, Any] = {}
    data = lgb.Dataset(train.x.astype(np.float64), train.label)
    booster = lgb.train(
        parameters,
        data,
        num_boost_round=settings.trees,
        valid_sets=[lgb.Dataset(validation.x.astype(np.float64), validation.label, data)],
        valid_names=["validation"],
        callbacks=[
            lgb.early_stopping(settings.patience, verbose=False),
            lgb.record_evaluation(losses),
            report,
        ],
    )
    best = max(1, booster.best_iteration)
    cut = lgb.Booster(model_str=booster.model_to_string(num_iteration=best))
    return float32_thresholds(cut), [float(v) for v in losses["validation"]["multi_logloss"]]


def importance(booster: lgb.Booster, names: tuple[str, ...]) -> dict[str, float]:
    """Return each feature's share of the total gain, rounded to 6 decimals."""
    gain = booster.feature_importance("gain")
    total = float(gain.sum()) or 1.0
    return {name: round(float(g) / total, 6) for name, g in zip(names, gain, strict=True)}


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

    The same rows and settings give the same bytes of model.onnx.

    Args:
        rows: from the trading kernel, one for each closed bar.
        spec: the features of rows.x in order.
        source: what the rows were made of.
        out_dir: the artifacts folder.
        settings: None takes the defaults.
        extra_meta: more keys for model.meta.json.
        progress: called with a stage and its share, 0..1.
    Raises:
        DataError: too few rows, or a setting out of range.
        ModelRefused: the finished model fails a check of the registry; nothing is written.
    """
    began = time.perf_counter()
    settings = settings or Settings()
    settings.check()
    progress("labels", 0.0)
    samples = label_rows(rows, settings)
    interval = bar_interval_ns(samples.ts)
    parts = cut(samples, settings.horizon * interval)
    booster, losses = fit_trees(parts.train, parts.validation, settings, progress)
    progress("test", 0.0)
    raw = np.asarray(booster.predict(parts.validation.x.astype(np.float64), raw_score=True))
    trees = Trees(booster, fit_temperature(raw, parts.validation.label), losses)
    outcome = examine(
        parts,
        trees.predict(parts.test.x),
        seed=settings.seed,
        threshold=settings.threshold,
        cost_bps=settings.cost_bps,
    )
    progress("export", 0.0)
    trained = _trained(trees, parts, outcome, settings, spec=spec, source=source)
    trained = dataclasses.replace(trained, meta={**trained.meta, **(extra_meta or {})})
    draft = _draft(parts, settings, spec, source, interval)
    draft = dataclasses.replace(draft, model_id=model_id, version=version, status=status)
    entry = publish(out_dir, draft, trained, replace=replace)
    progress("export", 1.0)
    folder = out_dir / entry.model_id / entry.version
    seconds = time.perf_counter() - began
    return TrainResult(entry, folder, outcome.test, outcome.economics, parts.sizes, seconds)


def _draft(
    parts: Parts, settings: Settings, spec: FeatureSpec, source: Source, interval_ns: int
) -> Draft:
    """Say what the registry is told of the model."""
    return Draft(
        model_id=MODEL_ID,
        task="triple_barrier_classification",
        spec=spec,
        training_data=training_data(parts, source),
        cadence=cadence_text(interval_ns),
        horizon=f"{settings.horizon} bars",
        normalisation=Normalisation(where="none"),
        output=OUTPUT,
        opset=OPSET,
    )


@dataclass(frozen=True)
class Trees:
    """The trained source model: trees, temperature, and the validation loss of every round."""

    booster: lgb.Booster
    temperature: float
    losses: list[float]

    @property
    def rounds(self) -> int:
        """Boosting rounds kept; each has a tree for every class."""
        return int(self.booster.num_trees()) // len(CLASSES)

    def predict(self, x: np.ndarray) -> np.ndarray:
        """Return calibrated probabilities, float32[n, F] to float32[n, 3]."""
        return tree_probabilities(self.booster, self.temperature, x)


def _trained(
    trees: Trees,
    parts: Parts,
    outcome: Outcome,
    settings: Settings,
    *,
    spec: FeatureSpec,
    source: Source,
) -> Trained:
    """Export the trees and write what goes beside them."""
    weights = importance(trees.booster, spec.names)
    data = trees_to_onnx(
        trees.booster,
        features=len(spec),
        temperature=trees.temperature,
        properties=properties(spec, source.sha256, CLASSES),
    )
    golden = golden_rows(
        parts.train.x,
        trees.predict,
        thresholds=thresholds(trees.booster),
        seed=settings.seed,
    )
    barriers = f"profit {settings.take_profit_atr:g} ATR, stop {settings.stop_loss_atr:g} ATR"
    rounds = f"{trees.rounds} rounds of at most {settings.trees}"
    facts = [
        *common_facts(parts, source),
        ("label", f"triple barrier: {settings.horizon} bars, {barriers}"),
        ("trees", f"{trees.booster.num_trees()} in {rounds}, depth {settings.max_depth}"),
        ("calibration", f"temperature {trees.temperature:.4f}, inside the graph"),
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
        "recipe": "signal_classifier",
        "settings": dataclasses.asdict(settings),
        "atr_bars": ATR_BARS,
        "rounds": trees.rounds,
        "temperature": trees.temperature,
        "validation_log_loss": [round(loss, 6) for loss in trees.losses],
        "feature_importance": weights,
    }
    return Trained(
        onnx_bytes=data,
        golden=with_slice(golden, spec),
        source_sha256=sha256(trees.booster.model_to_string().encode()),
        meta=meta,
        card=text,
        metrics=outcome.registry_metrics,
    )
