"""The record of a shadow's row that waits for its model, and for those that are asked with it."""

import numpy as np

PENDING = np.dtype(
    [
        ("slot", "i8"),
        ("record", "i8"),  # place of its decision in the audit buffer; its output stands behind it
        ("heard", "i8"),  # 1: it became advice that a listener may hear
        ("value", "f8"),  # as in ROOT
        ("position", "f8"),
    ],
    align=True,
)
