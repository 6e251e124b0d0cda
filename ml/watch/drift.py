"""Whether rows come from where the training rows came from: PSI and KS, with bounds for few rows.

Neighbouring rows are alike, so that n rows are worth n / inflation independent ones; both measures
exceed a fixed bound by chance alone when that is small. The bound of the population stability index
is its 99.9 % quantile where nothing has changed: chi-square with B - 1 degrees times (1/n + 1/m)
(Yurdakul and Naranjo 2020, J. Risk Model Validation 14(4)); that of the Kolmogorov-Smirnov distance
sqrt(-ln(0.0005) / 2) * sqrt(1/n + 1/m).
"""

import math
from statistics import NormalDist
from typing import NamedTuple

import numpy as np

from ml.watch.reference import FeatureReference, bin_of

CERTAINTY = 0.999
LEAST_SHARE = 1e-4  # of an empty bin: a logarithm of 0 says nothing


class Drift(NamedTuple):
    """One feature: both measures, and above which value chance is no explanation."""

    psi: float
    psi_chance: float
    ks: float
    ks_chance: float

    def exceeds(self, max_psi: float, max_ks: float) -> bool:
        """Whether a measure is above its bound, and above what chance explains."""
        return self.psi > max(max_psi, self.psi_chance) or self.ks > max(max_ks, self.ks_chance)


def drift_of(values: np.ndarray, kept: FeatureReference, rows: int, inflation_now: float) -> Drift:
    """Compare a feature's values with training.

    Args:
        values: float[n], finite.
        kept: the feature in training.
        rows: of training.
        inflation_now: of these values.
    """
    expected = np.array(kept.shares)
    counts = np.bincount(bin_of(values, np.array(kept.edges)), minlength=len(expected))
    found = counts / len(values)
    scatter = inflation_now / len(values) + kept.inflation / rows
    distance = np.abs(np.cumsum(found) - np.cumsum(expected)).max()
    return Drift(
        psi(expected, found),
        chi_square(len(expected) - 1) * scatter,
        float(distance),
        math.sqrt(-math.log((1.0 - CERTAINTY) / 2) / 2) * math.sqrt(scatter),
    )


def psi(expected: np.ndarray, found: np.ndarray) -> float:
    """Return the population stability index of two sets of shares.

    >>> round(psi(np.array([0.5, 0.5]), np.array([0.75, 0.25])), 4)
    0.2747
    """
    a, b = np.maximum(expected, LEAST_SHARE), np.maximum(found, LEAST_SHARE)
    return float(((b - a) * np.log(b / a)).sum())


def chi_square(degrees: int) -> float:
    """Return the 99.9 % quantile of chi-square (Wilson and Hilferty 1931).

    >>> round(chi_square(19), 1)  # tables say 43.8
    43.9
    """
    if degrees <= 0:
        return 0.0
    z, part = NormalDist().inv_cdf(CERTAINTY), 2.0 / (9.0 * degrees)
    return float(degrees * (1.0 - part + z * math.sqrt(part)) ** 3)
