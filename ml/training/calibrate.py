"""Temperature scaling: one number that makes a classifier's probabilities honest.

Guo et al., On Calibration of Modern Neural Networks (2017): scores are divided by a temperature T
that minimises the log loss on the validation part. It cannot change which class is best.
"""

import numpy as np
from scipy.optimize import minimize_scalar

LOWEST, HIGHEST = 0.05, 100.0


def softmax(scores: np.ndarray) -> np.ndarray:
    """Return probabilities of float64[n, C] scores.

    >>> softmax(np.zeros((1, 4))).tolist()
    [[0.25, 0.25, 0.25, 0.25]]
    """
    shifted = np.exp(scores - scores.max(axis=1, keepdims=True))
    return shifted / shifted.sum(axis=1, keepdims=True)


def fit_temperature(scores: np.ndarray, label: np.ndarray) -> float:
    """Return the temperature with the least log loss, rounded to float32.

    Args:
        scores: float64[n, C], before the softmax.
        label: int64[n].
    Returns:
        T within LOWEST..HIGHEST; above 1 the model was too sure of itself.
    """
    rows = np.arange(len(label))

    def loss(log_temperature: float) -> float:
        scaled = scores / np.exp(log_temperature)
        scaled = scaled - scaled.max(axis=1, keepdims=True)
        normal = np.log(np.exp(scaled).sum(axis=1))
        return float((normal - scaled[rows, label]).mean())

    bounds = (np.log(LOWEST), np.log(HIGHEST))
    best = minimize_scalar(loss, bounds=bounds, method="bounded", options={"xatol": 1e-6})
    return float(np.float32(np.exp(best.x)))
