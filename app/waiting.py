"""The rows that wait for one shadow: where the kernel puts them, and what evaluates them."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from engine.kernel.pending_layout import WAITING
from engine.limits import WAITING_ROWS
from ml.runtime.bound import BoundModel

SIZES = (4, 16, WAITING_ROWS)  # the least that holds what waits is evaluated
WINDOW_SIZES = (1, 2, 4, 8, 16, 32, WAITING_ROWS)  # of windows, which are dear: little for nothing
CHECKED_ROWS = 8 * WAITING_ROWS


class WaitingRows:
    """Places for the rows, or windows, of one version of a model, bound to its session.

    Args:
        model: the bound session.
        together: False evaluates what waits one by one.

    Attributes:
        record: WAITING[1], for the kernel.
        x: float32[WAITING_ROWS, F], of a sequence model [WAITING_ROWS, n, F].
        y: float32[WAITING_ROWS, C].
        sizes: of the batches that are bound.
    """

    def __init__(self, model: BoundModel, *, together: bool = True) -> None:
        self.x = np.zeros((WAITING_ROWS, *model.x.shape[1:]), np.float32)
        self.y = np.zeros((WAITING_ROWS, model.y.shape[1]), np.float32)
        self.record = np.zeros(1, WAITING)
        self.record["x"], self.record["y"] = self.x.ctypes.data, self.y.ctypes.data
        self.sizes = (1,) if not together else SIZES if model.x.ndim == 2 else WINDOW_SIZES
        self._together = together
        self._one = (self.x, self.y) if together else (self.x[:1].copy(), self.y[:1].copy())
        self._calls: Sequence[Callable[[], Any]] = model.batches(
            self._one[0], self._one[1], self.sizes
        )

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
        if not self._together:
            x, y = self._one
            for at in range(count):
                x[0] = self.x[at]
                self._calls[0]()
                self.y[at] = y[0]
            return
        for size, call in zip(self.sizes, self._calls, strict=True):
            if count <= size:
                call()
                return

    def equals_single(self, single: np.ndarray, rows: np.ndarray) -> bool:
        """Say whether what waits gets the bits of single rows, in batches of every size.

        Args:
            single: float32[n, C], the answers to the rows, asked one by one.
            rows: float32[n, F] (or [n, steps, F]), n at least WAITING_ROWS.
        """
        for first in range(0, len(rows) - WAITING_ROWS + 1, WAITING_ROWS):
            self.x[:] = rows[first : first + WAITING_ROWS]
            for size in self.sizes if self._together else (WAITING_ROWS,):
                self.y[:] = np.nan
                self.run(size)
                if self.y[:size].tobytes() != single[first : first + size].tobytes():
                    return False
        return True


def waiting_rows(model: BoundModel, rows: np.ndarray) -> WaitingRows | None:
    """Make the places of a shadow; None where its rows cannot wait.

    Windows whose batches are not what single ones are wait too, and are evaluated one by one: what
    is gained is that no decision of others waits for them. Single rows are not worth that.

    Args:
        model: the bound session.
        rows: float32[n, F] or [n, steps, F], as varied as what will come.
    """
    many = np.resize(np.asarray(rows, np.float32), (CHECKED_ROWS, *rows.shape[1:]))
    try:
        single = model.run_rows(many)
    except Exception:  # the runtime's own errors: it is asked as usual
        return None
    for together in (True, False)[: rows.ndim - 1]:
        made = _proved(model, (single, many), together)
        if made is not None:
            return made
    return None


def _proved(
    model: BoundModel, golden: tuple[np.ndarray, np.ndarray], together: bool
) -> WaitingRows | None:
    """Make the places; None where what waits there would get other bits than `golden` answers."""
    try:
        made = WaitingRows(model, together=together)
        return made if made.equals_single(*golden) else None
    except Exception:  # the runtime's own errors: a model of one row a call
        return None
