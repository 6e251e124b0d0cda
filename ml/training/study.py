"""What every recipe does with its samples after the labels: cut, test, describe."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ml.manifest import CLASSES, Entry, TrainingData
from ml.publish import utc_text
from ml.training.baselines import baselines
from ml.training.metrics import economics, scores
from ml.training.rows import Samples, Source
from ml.training.splits import Split, split_by_time

Progress = Callable[[str, float], None]
Figures = Mapping[str, float]


@dataclass(frozen=True)
class TrainResult:
    """What a training run leaves.

    Attributes:
        entry: the registry entry.
        folder: where its files are.
        test: name -> figures on the test part; `model` first, then the baselines.
        economics: what its advice was worth on the test part.
        rows: training, validation and test rows.
        seconds: wall time.
    """

    entry: Entry
    folder: Path
    test: Mapping[str, Figures]
    economics: Figures
    rows: tuple[int, int, int]
    seconds: float


@dataclass(frozen=True)
class Parts:
    """Labelled samples and the three parts they were cut into."""

    samples: Samples
    split: Split
    embargo_ns: int
    train: Samples
    validation: Samples
    test: Samples

    @property
    def sizes(self) -> tuple[int, int, int]:
        """Rows of training, validation and test."""
        return len(self.train), len(self.validation), len(self.test)


def cut(samples: Samples, embargo_ns: int) -> Parts:
    """Split samples by time.

    Raises:
        DataError: a part would be too small.
    """
    split = split_by_time(samples.ts, samples.end_ts, embargo_ns=embargo_ns)
    return Parts(samples, split, embargo_ns, *(samples.take(index) for index in split[:3]))


@dataclass(frozen=True)
class Outcome:
    """What the test part said: figures of the model and the baselines, and what advice earned."""

    test: dict[str, Figures]
    economics: Figures

    @property
    def registry_metrics(self) -> dict[str, float]:
        """The few figures that stand in the registry."""
        found = {f"test_{name}": value for name, value in self.test["model"].items()}
        losses = [figures["log_loss"] for name, figures in self.test.items() if name != "model"]
        return found | {"best_baseline_log_loss": min(losses)}


def examine(
    parts: Parts, answers: np.ndarray, *, seed: int, threshold: float, cost_bps: float
) -> Outcome:
    """Compare the model's answers on the test part with those of the baselines.

    Args:
        answers: float[n, 3], probabilities of the test rows.
        seed: of the logistic regression.
        threshold: confidence from which on advice counts in the economic figures.
        cost_bps: of a round trip.
    """
    found: dict[str, Figures] = {"model": scores(answers, parts.test.label)}
    for name, probability in baselines(parts.train, parts.test, seed=seed).items():
        found[name] = scores(probability, parts.test.label)
    worth = economics(answers, parts.test, threshold=threshold, cost_bps=cost_bps)
    return Outcome(found, worth)


def class_shares(label: np.ndarray) -> dict[str, float]:
    """Return how often each class occurs, 0..1."""
    counts = np.bincount(label, minlength=len(CLASSES)) / max(1, len(label))
    return {name: round(float(c), 6) for name, c in zip(CLASSES, counts, strict=True)}


def training_data(parts: Parts, source: Source) -> TrainingData:
    """Describe the training part for the registry."""
    return TrainingData(
        name=source.name,
        sha256=source.sha256,
        rows=len(parts.train),
        start=utc_text(int(parts.train.ts[0])),
        end=utc_text(int(parts.train.ts[-1])),
    )


def common_facts(parts: Parts, source: Source) -> list[tuple[str, str]]:
    """Return the card's facts about data and parts."""
    first, last = utc_text(int(parts.samples.ts[0])), utc_text(int(parts.samples.ts[-1]))
    cuts = " and ".join(utc_text(moment) for moment in parts.split.boundaries)
    shares = class_shares(parts.samples.label)
    sizes = dict(zip(("train", "validation", "test"), parts.sizes, strict=True))
    return [
        ("training data", f"{source.name}, sha256 {source.sha256[:16]}"),
        ("span", f"{first} to {last}"),
        ("rows", ", ".join(f"{count} {name}" for name, count in sizes.items())),
        ("cuts", f"{cuts}, embargo {parts.embargo_ns / 1e9:g} s"),
        ("classes", ", ".join(f"{name} {100 * share:.1f} %" for name, share in shares.items())),
    ]


def common_meta(parts: Parts, outcome: Outcome) -> dict[str, Any]:
    """Return what model.meta.json says of data, parts and figures."""
    return {
        "class_shares": class_shares(parts.samples.label),
        "rows": dict(zip(("train", "validation", "test"), parts.sizes, strict=True)),
        "boundaries": [utc_text(moment) for moment in parts.split.boundaries],
        "embargo_ns": parts.embargo_ns,
        "test": outcome.test,
        "economics": outcome.economics,
    }
