"""Chooses golden rows for a model: ordinary, empty, extreme and next to thresholds."""

from collections.abc import Callable, Sequence

import numpy as np

from ml.golden import Golden

ORDINARY, RANDOM, BLIND, BESIDE = 192, 48, 16, 64


def beside_thresholds(
    x: np.ndarray, thresholds: Sequence[tuple[int, float]], rng: np.random.Generator
) -> np.ndarray:
    """Return rows of `x` with one feature on a threshold or one float32 beside it.

    Args:
        x: float32[n, F] ordinary rows.
        thresholds: (feature, threshold); empty gives no rows.
    Returns:
        float32[up to BESIDE, F].
    """
    if not thresholds:
        return x[:0]
    found = x[rng.integers(0, len(x), BESIDE)].copy()
    for k, row in enumerate(found):
        feature, threshold = thresholds[int(rng.integers(0, len(thresholds)))]
        at = np.float32(threshold)
        towards = (np.float32(-np.inf), at, np.float32(np.inf))[k % 3]
        row[feature] = np.nextafter(at, towards)
    return found


def golden_rows(
    x: np.ndarray,
    predict: Callable[[np.ndarray], np.ndarray],
    *,
    thresholds: Sequence[tuple[int, float]] = (),
    seed: int = 42,
) -> Golden:
    """Choose rows and let the source model answer them.

    Args:
        x: float32[n, F] rows of the training data.
        predict: the source model, float32[n, F] to float32[n, C].
        thresholds: splits of a tree model.
        seed: of the choice.
    Returns:
        Golden rows without a tape slice: 256 or more when x has 192.
    """
    rng = np.random.default_rng(seed)
    x = np.asarray(x, np.float32)
    spread = np.linspace(0, len(x) - 1, min(ORDINARY, len(x))).astype(int)
    centre, width = x.mean(axis=0, dtype=np.float64), x.std(axis=0, dtype=np.float64)
    random = (centre + 3 * width * rng.standard_normal((RANDOM, x.shape[1]))).astype(np.float32)
    blind = x[rng.integers(0, len(x), BLIND)].copy()
    for k, row in enumerate(blind[1:]):
        row[k % x.shape[1]] = np.nan
    blind[0] = np.nan
    rows = np.concatenate(
        [x[spread], random, blind, np.zeros_like(x[:1]), beside_thresholds(x, thresholds, rng)]
    )
    answers = np.asarray(predict(rows), np.float32)
    return Golden(
        x=np.ascontiguousarray(rows),
        y=np.ascontiguousarray(answers),
        tape_rows=np.zeros((0, 64), np.uint8),
        tape_at=np.zeros(0, np.int64),
        tape_x=np.zeros((0, x.shape[1]), np.float32),
    )
