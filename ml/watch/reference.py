"""What the rows were like that a model was trained on: kept beside it, compared with later ones.

Stands in model.meta.json under `training_statistics`. Bins are the twentieths of each feature in
training, equal edges taken together; `inflation` says how much less than its rows a feature's
series is worth because neighbours are alike: (1 + r) / (1 - r) of the correlation r of neighbours.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import numpy as np

from ml.manifest import Strict

KEY = "training_statistics"
BINS = 20
MAX_INFLATION = 1e6
FAR = 10.0  # a feature further than this many spreads from its median counts as so far
DIGITS = 9


class FeatureReference(Strict, frozen=True):
    """One feature in training.

    Attributes:
        median, spread: of its values; spread is that between the quartiles over 1.349, as of a
            normal one, the standard deviation where that is 0, 1 for a constant.
        edges: inner edges of its bins, rising.  shares: of the rows in each bin; add up to 1.
        inflation: see the head of this file.
    """

    median: float
    spread: float
    edges: tuple[float, ...]
    shares: tuple[float, ...]
    inflation: float


class Reference(Strict, frozen=True):
    """All features of one model in training.

    Attributes:
        rows: how many.
        features: in the order of its input.
        far: dissimilarity that one row in a hundred of the training rows exceeded.
    """

    rows: int
    features: dict[str, FeatureReference]
    far: float


def reference_of(x: np.ndarray, names: Sequence[str], instrument: np.ndarray) -> Reference:
    """Describe training rows.

    Args:
        x: float32[n, F], whole rows in the order of time.
        names: of the columns.
        instrument: int[n]; neighbours are rows of one instrument.
    """
    assert x.ndim == 2 and len(x) == len(instrument) and x.shape[1] == len(names)
    assert len(x) > 1, "rows are needed"
    values = np.asarray(x, np.float64)
    found = {
        name: _feature(values[:, k], inflation(values[:, k], instrument))
        for k, name in enumerate(names)
    }
    bare = Reference(rows=len(x), features=found, far=0.0)
    return msgspec.structs.replace(
        bare, far=rounded(float(np.quantile(dissimilarity(x, bare), 0.99)))
    )


def _feature(values: np.ndarray, by: float) -> FeatureReference:
    edges = np.unique(np.quantile(values, np.arange(1, BINS) / BINS))
    edges = np.array([rounded(edge) for edge in edges])
    low, median, high = np.quantile(values, (0.25, 0.5, 0.75))
    spread = float(high - low) / 1.349 or float(values.std()) or 1.0
    shares = np.bincount(bin_of(values, edges), minlength=len(edges) + 1) / len(values)
    return FeatureReference(
        median=rounded(float(median)),
        spread=rounded(spread),
        edges=tuple(edges.tolist()),
        shares=tuple(rounded(share) for share in shares.tolist()),
        inflation=rounded(by),
    )


def rounded(value: float) -> float:
    """Return a number with the digits that are kept."""
    return float(f"{value:.{DIGITS}g}")


def bin_of(values: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Return the bin of each value: how many edges lie below it.

    >>> bin_of(np.array([0.0, 1.0, 2.0]), np.array([0.5, 1.0])).tolist()
    [0, 1, 2]
    """
    return np.searchsorted(edges, values, side="left")


def inflation(values: np.ndarray, instrument: np.ndarray) -> float:
    """Return how many rows are worth one independent one, 1 or more.

    >>> inflation(np.array([1.0, -1.0, 1.0, -1.0]), np.zeros(4, int))
    1.0
    """
    above = below = 0.0
    for one in np.unique(instrument):
        own = values[instrument == one]
        own = own - own.mean()
        above += float(own[1:] @ own[:-1])
        below += float(own @ own)
    r = min(max(above / below if below > 0 else 0.0, 0.0), 1.0)
    return min((1.0 + r) / max(1.0 - r, 1e-12), MAX_INFLATION)


def dissimilarity(x: np.ndarray, reference: Reference) -> np.ndarray:
    """Return how far rows lie from the training rows, float64[n].

    The root of the mean square of each feature's distance from its median, in its spreads, ten at
    most.
    """
    kept = reference.features.values()
    median = np.array([one.median for one in kept])
    spread = np.array([one.spread for one in kept])
    z = np.clip((np.asarray(x, np.float64) - median) / spread, -FAR, FAR)
    distance: np.ndarray = np.sqrt((z * z).mean(axis=1))
    return distance


def reference_in(meta: Mapping[str, Any], names: Sequence[str]) -> Reference | None:
    """Return the statistics that a model.meta.json holds; None where it has none of these features.

    Args:
        meta: its content.
        names: the model's features in order.
    """
    if KEY not in meta:
        return None
    try:
        found = msgspec.convert(meta[KEY], Reference)
    except msgspec.ValidationError:
        return None
    return found if tuple(found.features) == tuple(names) else None
