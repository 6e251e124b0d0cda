"""Questions about versions: latest, best, two beside each other, who descends of whom."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from ml.artifact import LoadedModel
from ml.loading import model_of
from ml.manifest import PROBABILITIES, Entry, name_difference
from ml.model_interface import NO_TRUST, Trust
from ml.refusal import ModelRefused
from ml.registry import View, load_any

DRIFT_BINS = 10


def _own(root: Path, model_id: str, view: View | None) -> list[Entry]:
    registry = (view or View(root)).registry
    own = [entry for entry in registry.entries if entry.model_id == model_id]
    if not own:
        known = ", ".join(sorted({e.model_id for e in registry.entries})) or "none"
        raise ModelRefused("model.missing", f"no model {model_id!r}; there are: {known}")
    return own


def get_latest(
    root: Path, model_id: str, *, status: Sequence[str] = (), view: View | None = None
) -> Entry:
    """Return the version with the latest `created_at`; of equal ones the last registered.

    Args:
        root: the artifacts folder.
        model_id: whose.
        status: only versions of these; empty takes all that are not archived.
        view: a registry read before.
    Raises:
        ModelRefused: `model.missing`.
    """
    chosen = _chosen(_own(root, model_id, view), status)
    return max(enumerate(chosen), key=lambda pair: (pair[1].created_at, pair[0]))[1]


def get_best(
    root: Path,
    model_id: str,
    metric: str,
    *,
    better: str = "lower",
    status: Sequence[str] = (),
    view: View | None = None,
) -> Entry:
    """Return the version with the best value of a metric; of equal ones the first.

    Args:
        metric: a key of the entries' metrics.
        better: lower or higher.
        status: only versions of these; empty takes all that are not archived.
    Raises:
        ModelRefused: `model.missing`; no version has that metric, the message names those there.
    """
    chosen = _chosen(_own(root, model_id, view), status)
    having = [entry for entry in chosen if metric in entry.metrics]
    if not having:
        known = ", ".join(sorted({name for entry in chosen for name in entry.metrics})) or "none"
        text = f"no version of {model_id} has the metric {metric!r}; there are: {known}"
        raise ModelRefused("model.missing", text)
    pick = min if better == "lower" else max
    return pick(having, key=lambda entry: entry.metrics[metric])


def _chosen(own: Sequence[Entry], status: Sequence[str]) -> list[Entry]:
    wanted = status or ("candidate", "shadow", "production")
    chosen = [entry for entry in own if entry.status in wanted]
    if not chosen:
        text = f"{own[0].model_id} has no version that is {' or '.join(wanted)}"
        raise ModelRefused("model.missing", text)
    return chosen


@dataclass(frozen=True)
class Comparison:
    """Two versions beside each other.

    Attributes:
        first, second: their names.
        features: how the second's features differ from the first's; empty when they do not.
        metrics: metric -> (first, second), None where one has none.
        calibration: (first, second) test_calibration_error.
        drift: feature -> population stability index of the golden rows; large values say that the
            two were trained on unlike rows. Only of features that both read.
        agreement: share of the golden rows of both on which the best class is the same; None where
            their features or outputs differ.
        largest: largest difference of an output on those rows.
        rows: how many rows that were.
    """

    first: str
    second: str
    features: str
    metrics: dict[str, tuple[float | None, float | None]]
    calibration: tuple[float | None, float | None]
    drift: dict[str, float]
    agreement: float | None
    largest: float | None
    rows: int

    def as_json(self) -> dict[str, Any]:
        """Return plain values."""
        return msgspec.to_builtins(self)


def compare(root: Path, first: Entry, second: Entry, *, trust: Trust = NO_TRUST) -> Comparison:
    """Compare two versions: metrics, calibration, their golden rows, their answers.

    Raises:
        ModelRefused: a file of either is not what the registry says, or it cannot be loaded.
    """
    a, b = load_any(root, first), load_any(root, second)
    names = sorted({*first.metrics, *second.metrics})
    error = "test_calibration_error"
    agreement, largest, rows = _agreement(a, b, trust)
    return Comparison(
        first=first.name,
        second=second.name,
        features=name_difference(a.spec.names, b.spec.names),
        metrics={name: (first.metrics.get(name), second.metrics.get(name)) for name in names},
        calibration=(first.metrics.get(error), second.metrics.get(error)),
        drift=_drift(a, b),
        agreement=agreement,
        largest=largest,
        rows=rows,
    )


def _agreement(
    a: LoadedModel, b: LoadedModel, trust: Trust
) -> tuple[float | None, float | None, int]:
    same = a.spec.names == b.spec.names and a.output_kind == b.output_kind
    same = same and a.sequence_length == b.sequence_length
    if not same or sorted(a.classes) != sorted(b.classes):
        return None, None, 0
    rows = np.concatenate([a.golden.x, b.golden.x])
    order = [b.classes.index(name) for name in a.classes]
    answers = [_answers(model, rows, trust) for model in (a, b)]
    answers[1] = answers[1][:, order]
    good = np.isfinite(answers[0]).all(axis=1) & np.isfinite(answers[1]).all(axis=1)
    if not good.any():
        return None, None, 0
    one, two = answers[0][good], answers[1][good]
    if a.columns > 1:
        alike = one.argmax(axis=1) == two.argmax(axis=1)
    else:
        middle = 0.5 if a.output_kind in PROBABILITIES else 0.0
        alike = (one[:, 0] > middle) == (two[:, 0] > middle)
    return float(alike.mean()), float(np.abs(one - two).max()), int(good.sum())


def _answers(model: LoadedModel, rows: np.ndarray, trust: Trust) -> np.ndarray:
    runner = model.open() if model.entry.kind == "onnx" else model_of(model, trust)
    return runner.run_rows(rows)


def _drift(a: LoadedModel, b: LoadedModel) -> dict[str, float]:
    common = [name for name in a.spec.names if name in b.spec.names]
    found = {}
    for name in common:
        one = a.golden.x[..., a.spec.names.index(name)]
        two = b.golden.x[..., b.spec.names.index(name)]
        found[name] = stability_index(one[np.isfinite(one)], two[np.isfinite(two)])
    return found


def stability_index(expected: np.ndarray, found: np.ndarray, bins: int = DRIFT_BINS) -> float:
    """Return the population stability index over bins of equal share of the expected values.

    Sum of (q - p) ln(q / p), with half a row added to each bin so that empty ones stay finite.
    Small samples give large values by chance: compare features with each other, not with a rule.

    Example:
        >>> x = np.arange(100.0)
        >>> stability_index(x, x), stability_index(x, x + 50) > 1
        (0.0, True)
    """
    if len(expected) < 2 or len(found) < 2:
        return 0.0
    edges = np.unique(np.quantile(expected, np.linspace(0, 1, bins + 1)[1:-1]))
    shares = []
    for values in (expected, found):
        count = np.bincount(np.searchsorted(edges, values, side="right"), minlength=len(edges) + 1)
        shares.append((count + 0.5) / (len(values) + 0.5 * len(count)))
    p, q = shares
    return round(float(((q - p) * np.log(q / p)).sum()), 6)


@dataclass(frozen=True)
class Node:
    """One version in a lineage tree."""

    entry: Entry
    depth: int
    why: str  # how it came to its status, last


def lineage(root: Path, model_id: str = "", *, view: View | None = None) -> list[Node]:
    """Return versions as trees, parents before children; a parent that is gone is a root's.

    Args:
        root: the artifacts folder.
        model_id: only trees with a version of this model; empty takes all.
        view: a registry read before.
    Raises:
        ModelRefused: `model.missing` for an unknown id.
    """
    registry = (view or View(root)).registry
    if model_id:
        _own(root, model_id, view)
    by_name = {entry.name: entry for entry in registry.entries}
    children: dict[str, list[Entry]] = {}
    for entry in registry.entries:
        parent = entry.parent if entry.parent in by_name and entry.parent != entry.name else ""
        children.setdefault(parent or "", []).append(entry)
    found: list[Node] = []
    for top in children.get("", []):
        tree = _walk(top, children, 0, set())
        if not model_id or any(node.entry.model_id == model_id for node in tree):
            found += tree
    return found


def _walk(entry: Entry, children: dict[str, list[Entry]], depth: int, seen: set[str]) -> list[Node]:
    """Return a version and its descendants; a circle, made by hand, ends where it closes."""
    if entry.name in seen:
        return []
    seen.add(entry.name)
    why = entry.history[-1].why if entry.history else ""
    nodes = [Node(entry, depth, why)]
    for child in children.get(entry.name, []):
        nodes += _walk(child, children, depth + 1, seen)
    return nodes
