"""The records of shadows' rows that wait: each decision's, and what each model is asked with."""

import numpy as np

PENDING = np.dtype(
    [
        ("slot", "i8"),
        ("record", "i8"),  # place of its decision in the audit buffer; its output stands behind it
        ("place", "i8"),  # of its row among those of its model
        ("heard", "i8"),  # 1: it became advice that a listener may hear
        ("value", "f8"),  # as in ROOT
        ("position", "f8"),
    ],
    align=True,
)

WAITING = np.dtype(
    [
        ("count", "i8"),
        ("x", "i8"),  # address of float32[WAITING_ROWS, n_features], of a sequence model of windows
        ("y", "i8"),  # address of float32[WAITING_ROWS, n_outputs]
    ],
    align=True,
)
