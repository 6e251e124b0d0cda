"""`lab.py features drift A B`: whether the features of B still look like those of A.

Three measures of each feature: the population stability index over tenths of A (PSI), the largest
distance of the two distribution functions (Kolmogorov and Smirnov, KS), and the shift of the mean
of the normal scores of A and B together, in standard deviations: one outlier moves no mean. A fixed
limit (PSI 0.1 or 0.2 is often read) says nothing of a series that remembers: an autoregression at
0.99 passes 0.1 in nine of ten windows of 1,000 rows without any drift. The limits here are those
that a series of the same length and memory would pass by chance, from simulation:

- memory: the integrated autocorrelation time of the values' normal scores, from n_effective = n /
  time (Bretherton et al., The Effective Number of Spatial Degrees of Freedom, 1999). The largest of
  four: in A and in B, its sum up to a window of five times itself (Sokal, Monte Carlo Methods in
  Statistical Mechanics, 1997), and that of an autoregression with the first autocorrelation r,
  which a short series understates by (1 + 3 r) / n (Kendall, Note on Bias in the Estimation of
  Autocorrelation, 1954), and one standard error, sqrt((1 - r^2) / n), above it;
- limit: pairs of such series of the two lengths, the measure taken on each (parametric bootstrap:
  Efron and Tibshirani, An Introduction to the Bootstrap, 1993). PSI and KS do not change under a
  growing function, and the shift is one of scores, so that Gaussian series may stand for any
  feature;
- the level is divided by the number of features and measures (Bonferroni).

PSI: Siddiqi, Credit Risk Scorecards (2006).
"""

import argparse
import json
from functools import cache
from typing import NamedTuple

import numpy as np
from scipy.signal import lfilter
from scipy.stats import norm

from app.feature_build import fresh_snapshots
from app.feature_sets import grid, say
from engine.errors import DataError, UsageError
from store.feature_store import SnapshotRows

BINS = 10
FLOOR = 1_000  # an empty tenth counts as half of one row in so many, or in all where fewer
LEAST = 30  # rows with a value, in A and in B
DRAWS = 1_000
POINTS = 1_500  # a simulated series has at most about so many, see `chance`
MOST = 10  # the longer of A and B counts as at most so many times the other
GRID = 1.1  # memory is rounded up to powers of it
MEASURES = ("psi", "ks", "shift")


class Drift(NamedTuple):
    """One feature in B beside A.

    Attributes:
        feature: its name.
        psi, ks, shift: the measures; shift with its sign.
        limits: what chance passes at the level, of the three.
        memory: integrated autocorrelation time, rows.
        drifts: names of the measures beyond their limits.
    """

    feature: str
    psi: float
    ks: float
    shift: float
    limits: tuple[float, float, float]
    memory: float
    drifts: tuple[str, ...]


def main(args: argparse.Namespace) -> int:
    """Compare two snapshots; exit code 1 when a feature has drifted.

    Raises:
        DataError: a snapshot is stale, or the two do not hold the same features.
    """
    if not 0.0 < args.level < 0.5:
        raise UsageError(f"--level {args.level}: must be above 0 and below 0.5")
    a, b = fresh_snapshots([args.a, args.b])
    common = [name for name in a.manifest.instruments if name in b.manifest.instruments]
    names = a.manifest.features
    if not common:
        raise DataError("the two snapshots have no instrument in common")
    found: dict[str, list[Drift]] = {}
    for instrument in common:
        found[instrument] = drifts(
            names, a.rows(instrument), b.rows(instrument), args.level, args.seed
        )
    moved = any(one.drifts for lines in found.values() for one in lines)
    if args.json:
        plain = {name: [one._asdict() for one in lines] for name, lines in found.items()}
        print(json.dumps({"drift": moved, "level": args.level, "instruments": plain}))
    else:
        for instrument, lines in found.items():
            _show(instrument, lines, args)
    return int(moved)


def _show(instrument: str, lines: list[Drift], args: argparse.Namespace) -> None:
    count = sum(bool(one.drifts) for one in lines)
    say(f"{instrument}: {count} of {len(lines)} features have drifted (level {args.level:g})")
    table = grid("feature", "psi", "limit", "ks", "limit", "shift", "limit", "memory", "")
    for one in lines:
        values = (one.psi, one.limits[0], one.ks, one.limits[1], one.shift, one.limits[2])
        cells = (f"{value:.3f}" for value in values)
        table.add_row(one.feature, *cells, f"{one.memory:.0f}", "drift" if one.drifts else "")
    say(table)


def drifts(
    names: tuple[str, ...], a: SnapshotRows, b: SnapshotRows, level: float, seed: int
) -> list[Drift]:
    """Compare the rows of one instrument, feature by feature.

    Features with fewer than LEAST values in A or B, or with one value alone in A, are left out.
    """
    chosen = []
    for column in range(len(names)):
        x, y = (part.x[:, column].astype(float) for part in (a, b))
        x, y = x[np.isfinite(x)], y[np.isfinite(y)]
        if min(len(x), len(y)) >= LEAST and np.ptp(x) > 0.0:
            chosen.append((names[column], x, y))
    share = level / max(1, len(chosen) * len(MEASURES))
    return [compare(name, x, y, share, seed) for name, x, y in chosen]


def compare(name: str, x: np.ndarray, y: np.ndarray, share: float, seed: int) -> Drift:
    """Measure one feature and say what chance would give.

    Args:
        name: of the feature.
        x, y: float64 values of A and B in order of time.
        share: probability with which chance may pass each limit.
        seed: of the simulation.
    """
    psi, ks, shift = (float(value[0]) for value in measure(x[None, :], y[None, :]))
    memory = max(memory_of(scores(x)), memory_of(scores(y)))
    limits = chance(len(x), len(y), memory, share, seed)
    beyond = (psi > limits[0], ks > limits[1], abs(shift) > limits[2])
    found = tuple(word for word, is_beyond in zip(MEASURES, beyond, strict=True) if is_beyond)
    return Drift(name, psi, ks, shift, limits, memory, found)


def measure(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return PSI, KS and the shift of the scores of each row of x and y, float64[k, n], [k, m].

    >>> x = np.arange(100.0)[None, :]
    >>> [round(float(v[0]), 3) for v in measure(x, x)]
    [0.0, 0.0, 0.0]
    >>> [round(float(v[0]), 3) for v in measure(x, x + 50.0)]
    [2.319, 0.5, 1.269]
    """
    k, n, m = len(x), x.shape[1], y.shape[1]
    edges = np.quantile(x, np.arange(1, BINS) / BINS, axis=1, method="inverted_cdf")
    counts = [
        np.diff(
            np.concatenate(
                [
                    np.zeros((1, k)),
                    np.stack([(part <= edge[:, None]).mean(axis=1) for edge in edges]),
                    np.ones((1, k)),
                ]
            ),
            axis=0,
        )
        for part in (x, y)
    ]
    p, q = (
        np.maximum(part, 0.5 / min(size, FLOOR)) for part, size in zip(counts, (n, m), strict=True)
    )
    psi = ((q - p) * np.log(q / p)).sum(axis=0)
    joint = np.concatenate([x, y], axis=1)
    order = np.argsort(joint, axis=1, kind="stable")
    steps = np.where(order < n, 1.0 / n, -1.0 / m)
    ordered = np.take_along_axis(joint, order, axis=1)
    last = np.concatenate([ordered[:, 1:] != ordered[:, :-1], np.ones((k, 1), bool)], axis=1)
    ks = np.where(last, np.abs(np.cumsum(steps, axis=1)), 0.0).max(axis=1)
    ends = np.where(last, np.arange(1, n + m + 1), n + m + 1)
    upper = np.minimum.accumulate(ends[:, ::-1], axis=1)[:, ::-1]  # last place of each run of ties
    lower = np.concatenate(
        [np.zeros((k, 1)), np.where(last, np.arange(1, n + m + 1), 0)[:, :-1]], 1
    )
    lower = np.maximum.accumulate(lower, axis=1)
    ranked = norm.ppf((lower + upper) / 2.0 / (n + m))
    is_x = order < n
    shift = (
        np.where(is_x, 0.0, ranked).sum(axis=1) / m - np.where(is_x, ranked, 0.0).sum(axis=1) / n
    )
    return psi, ks, shift


def scores(x: np.ndarray) -> np.ndarray:
    """Return the normal scores of values: their ranks, as a Gaussian has them."""
    _, places, counts = np.unique(x, return_inverse=True, return_counts=True)
    middle = np.cumsum(counts) - counts / 2.0
    return norm.ppf(middle / len(x))[places]


def memory_of(z: np.ndarray) -> float:
    """Return the integrated autocorrelation time of scores in rows; see the head of this file."""
    n = len(z)
    z = z - z.mean()
    size = 1 << (2 * n - 1).bit_length()
    covariance = np.fft.irfft(np.abs(np.fft.rfft(z, size)) ** 2, size)[:n]
    if covariance[0] <= 0.0:
        return 1.0
    correlation = covariance / covariance[0]
    times = 2.0 * np.cumsum(correlation) - 1.0
    ended = np.flatnonzero(np.arange(n) >= 5.0 * times)
    summed = times[ended[0]] if len(ended) else times.max()
    first = correlation[1] * n / (n - 1.0)
    error = np.sqrt(max(1.0 - first**2, 0.0) / n)
    first = min(first + (1.0 + 3.0 * first) / n + error, 1.0 - 2.0 / n)
    return float(np.clip(max(summed, (1.0 + first) / (1.0 - first)), 1.0, n / 2.0))


def chance(n: int, m: int, memory: float, share: float, seed: int) -> tuple[float, float, float]:
    """Return what the three measures pass with probability `share` where nothing has drifted.

    Long series are thinned as far as their memory allows (a fourth of it), and shortened from there
    by the rate at which the measures fall: KS and shift with the root of the length, PSI with it.

    Args:
        n, m: lengths of A and B.
        memory: integrated autocorrelation time of both.
    """
    n, m = min(n, MOST * m), min(m, MOST * n)
    memory = GRID ** np.ceil(np.log(memory) / np.log(GRID))  # few simulations serve many features
    step = max(1, int(memory / 4.0))
    step = min(step, max(1, max(n, m) // POINTS))
    shorter = max(1.0, max(n, m) / step / POINTS)
    coefficient = ((memory - 1.0) / (memory + 1.0)) ** step
    sizes = (max(int(size / step / shorter), 2 * BINS) for size in (n, m))
    psi, ks, shift = _simulated(*sizes, round(coefficient, 3), seed)
    tail = 1.0 - share
    root = np.sqrt(shorter)
    return _upper(psi, tail) / shorter, _upper(ks, tail) / root, _upper(shift, tail) / root


@cache
def _simulated(
    n: int, m: int, coefficient: float, seed: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return DRAWS of the measures on pairs of series without drift; of the shift its size."""
    draw = np.random.default_rng(seed)
    x, y = (_autoregression(draw, coefficient, size) for size in (n, m))
    psi, ks, shift = measure(x, y)
    return psi, ks, np.abs(shift)


def _autoregression(draw: np.random.Generator, coefficient: float, size: int) -> np.ndarray:
    """Draw float64[DRAWS, size] of stationary autoregressions with unit variance."""
    noise = draw.standard_normal((DRAWS, size)) * np.sqrt(1.0 - coefficient**2)
    noise[:, 0] /= np.sqrt(1.0 - coefficient**2)
    return lfilter([1.0], [1.0, -coefficient], noise, axis=1)


def _upper(values: np.ndarray, tail: float) -> float:
    """Return a quantile; beyond the draws the tail is taken as exponential.

    The mean excess over the draws' upper twentieth is its scale.
    """
    base = 0.95
    if tail <= base:
        return float(np.quantile(values, tail))
    start = float(np.quantile(values, base))
    excess = values[values > start] - start
    scale = float(excess.mean()) if len(excess) else 0.0
    return start + scale * float(np.log((1.0 - base) / (1.0 - tail)))
