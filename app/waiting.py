"""The rows that wait for one shadow: where the kernel puts them, and what evaluates them."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from engine.kernel.pending_layout import WAITING
from engine.limits import WAITING_ROWS
from ml.runtime.bound import BoundModel

SIZES = (4, 16, WAITING_ROWS)  # the least that holds what waits is evaluated
CHECKED_ROWS = 8 * WAITING_ROWS


class WaitingRows:
    """Places for the rows of one version of a model, bound to its session.

    Attributes:
        record: WAITING[1], for the kernel.
        x: float32[WAITING_ROWS, F].  y: float32[WAITING_ROWS, C].
    """

    def __init__(self, model: BoundModel) -> None:
        self.x = np.zeros((WAITING_ROWS, *model.x.shape[1:]), np.float32)
        self.y = np.zeros((WAITING_ROWS, model.y.shape[1]), np.float32)
        self.record = np.zeros(1, WAITING)
        self.record["x"], self.record["y"] = self.x.ctypes.data, self.y.ctypes.data
        self._calls: Sequence[Callable[[], Any]] = model.batches(self.x, self.y, SIZES)

    @property
    def address(self) -> int:
        """Where the kernel finds the record."""
        return int(self.record.ctypes.data)

    @property
    def count(self) -> int:
        """How many rows wait."""
        return int(self.record["count"][0])

    def run(self, count: int) -> None:
        """Evaluate the first rows; those behind them are evaluated too, and mean nothing."""
        for size, call in zip(SIZES, self._calls, strict=True):
            if count <= size:
                call()
                return

    def equals_single(self, single: np.ndarray, rows: np.ndarray) -> bool:
        """Say whether batches of every size give the bits of single rows.

        Args:
            single: float32[n, C], the answers to the rows, asked one by one.
            rows: float32[n, F], n at least WAITING_ROWS.
        """
        for first in range(0, len(rows) - WAITING_ROWS + 1, WAITING_ROWS):
            self.x[:] = rows[first : first + WAITING_ROWS]
            for size in SIZES:
                self.y[:] = np.nan
                self.run(size)
                if self.y[:size].tobytes() != single[first : first + size].tobytes():
                    return False
        return True


def waiting_rows(model: BoundModel, rows: np.ndarray) -> WaitingRows | None:
    """Make the places of a model of single rows; None where batches are not what single rows are.

    Args:
        model: the bound session.
        rows: float32[n, F], as varied as what will come.
    """
    many = np.resize(np.asarray(rows, np.float32), (CHECKED_ROWS, rows.shape[1]))
    try:
        made = WaitingRows(model)
        return made if made.equals_single(model.run_rows(many), many) else None
    except Exception:  # the runtime's own errors: a model of one row a call is asked at once
        return None
