"""What the numbers of a model's output mean to the kernel: the kinds, and a form for each model."""

from enum import IntEnum

import numpy as np

from engine.limits import MAX_OUTPUTS


class OutputKind(IntEnum):
    """What the numbers of a model's output mean. Part of the audit format: only append."""

    CLASSIFIER3 = 0
    BINARY = 1
    REGRESSOR = 2  # from here on an output has a value beside the probabilities made of it
    QUANTILES = 3
    SIZE = 4
    ACTION = 5
    DISCRETE8 = 6


FORM = np.dtype(
    [  # of one model's output, where it is more than probabilities; engine/kernel/outputs.py
        ("dead_band", "f8"),  # smaller values are HOLD
        ("scale", "f8"),  # the value that means full confidence
        ("sizes", "f8", (3,)),  # small, medium, large as shares of the largest position
        ("first", "i8"),  # first column of the horizon that decides
        ("n_levels", "i8"),
        ("levels", "f8", (MAX_OUTPUTS,)),
        ("median", "i8"),  # place of 0.5 among the levels
        ("actions", "i8", (8,)),  # columns: hold, buy and sell from small to large, close
        ("points", "f8", (MAX_OUTPUTS,)),  # what is worked with: nothing is allocated
    ],
    align=True,
)
OUTPUT_COLUMNS = 5  # columns of the output in one OUTPUT record of the audit
