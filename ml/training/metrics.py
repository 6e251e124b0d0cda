"""Honest figures of a classifier on rows it has not seen, with what a trader would have got."""

import numpy as np
from sklearn import metrics as sk

from ml.training.labels import BUY, SELL
from ml.training.rows import Samples

CLASS_LABELS = (0, 1, 2)
CALIBRATION_BINS = 15


def calibration_error(probability: np.ndarray, label: np.ndarray) -> float:
    """Return the expected calibration error of the best class, in 15 equal bins.

    Args:
        probability: float[n, C].
        label: int64[n].
    Returns:
        Mean of |confidence - accuracy| over rows, 0..1 (Guo et al. 2017, equation 3).
    Example:
        >>> round(calibration_error(np.array([[0.9, 0.1], [0.9, 0.1]]), np.array([0, 1])), 6)
        0.4
    """
    confidence = probability.max(axis=1)
    right = probability.argmax(axis=1) == label
    bins = np.minimum((confidence * CALIBRATION_BINS).astype(int), CALIBRATION_BINS - 1)
    total = 0.0
    for k in range(CALIBRATION_BINS):
        chosen = bins == k
        if chosen.any():
            total += chosen.sum() * abs(confidence[chosen].mean() - right[chosen].mean())
    return float(total / len(label))


def scores(probability: np.ndarray, label: np.ndarray) -> dict[str, float]:
    """Return log loss, Brier score, accuracy, balanced accuracy, AUC and calibration error.

    Args:
        probability: float[n, 3]; rows sum to 1.
        label: int64[n].
    Returns:
        Name -> value, rounded to 6 decimals; `auc` (one against the rest, macro mean) is left out
        when a class does not occur.
    """
    probability = np.asarray(probability, np.float64)
    probability = probability / probability.sum(axis=1, keepdims=True)
    truth = np.eye(probability.shape[1])[label]
    best = probability.argmax(axis=1)
    present = np.unique(label)
    recalls = [float((best[label == c] == c).mean()) for c in present]
    found = {
        "log_loss": sk.log_loss(label, probability, labels=list(CLASS_LABELS)),
        "brier": float(((probability - truth) ** 2).sum(axis=1).mean()),
        "accuracy": float((best == label).mean()),
        "balanced_accuracy": float(np.mean(recalls)),
        "calibration_error": calibration_error(probability, label),
    }
    if len(present) == probability.shape[1]:
        found["auc"] = sk.roc_auc_score(truth, probability, average="macro", multi_class="ovr")
    return {name: round(float(value), 6) for name, value in found.items()}


def economics(
    probability: np.ndarray, samples: Samples, *, threshold: float, cost_bps: float
) -> dict[str, float]:
    """Return what advice at a confidence of `threshold` or more was worth, each row on its own.

    Rows overlap in time and sizes are equal: this ranks models, it is no backtest.

    Args:
        probability: float[n, 3].
        samples: the same rows.
        threshold: least probability of SELL or BUY.
        cost_bps: of a round trip: fees and spread, taken from each trade.
    Returns:
        `advised` (rows), and where there are any `advised_share`, `hit_rate` (profit taken before
        the stop), `net_positive_rate`, `mean_gross_bps` and `mean_net_bps`.
    """
    best = probability.argmax(axis=1)
    sure = probability.max(axis=1) >= threshold
    buys, sells = sure & (best == BUY), sure & (best == SELL)
    chosen = buys | sells
    found = {"threshold": threshold, "cost_bps": cost_bps, "advised": float(chosen.sum())}
    if not chosen.any():
        return found
    gross = np.where(buys, samples.long_return, samples.short_return)[chosen] * 1e4
    net = gross - cost_bps
    found |= {
        "advised_share": float(chosen.mean()),
        "hit_rate": float((samples.label == best)[chosen].mean()),
        "net_positive_rate": float((net > 0).mean()),
        "mean_gross_bps": float(gross.mean()),
        "mean_net_bps": float(net.mean()),
    }
    return {name: round(value, 6) for name, value in found.items()}
