"""Windows over rows that follow each other, as a sequence model sees them: for training.

The kernel keeps the same windows of a run (engine/kernel/window.py); tests hold both together.
"""

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from features.batch import FeatureBlock


def windows_of(block: FeatureBlock, steps: int) -> tuple[np.ndarray, np.ndarray]:
    """View every `steps` rows that follow each other as one window.

    Args:
        block: of `batch_features`, at the cadence at which the model will be asked.
        steps: rows of a window.
    Returns:
        float32[n, steps, F] and bool[n], for the windows that end with rows steps - 1, steps, ...:
        a view without copies, read-only; and whether all rows are valid and no gap of the feed lies
        between the first and the last.
    Example:
        >>> rows = np.arange(8, dtype=np.float32).reshape(4, 2)
        >>> valid, n = np.array([False, True, True, True]), np.arange(4)
        >>> x, whole = windows_of(FeatureBlock(rows, valid, n, n, n * 0), 2)
        >>> x[-1].tolist(), whole.tolist()
        ([[4.0, 5.0], [6.0, 7.0]], [False, True, True])
    """
    assert steps > 0
    if len(block.x) < steps:
        return np.zeros((0, steps, block.x.shape[1]), np.float32), np.zeros(0, bool)
    views = sliding_window_view(block.x, steps, axis=0).swapaxes(1, 2)
    whole = sliding_window_view(block.valid, steps).all(axis=1)
    return views, whole & (block.gaps[steps - 1 :] == block.gaps[: len(views)])
