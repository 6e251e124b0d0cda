"""The windows of a sequence model: a ring for each slot, bound to its session beforehand."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from engine.kernel.layout import SLOT
from engine.kernel.state import KernelState
from ml.runtime.bound import BoundModel
from ml.runtime.native import NativeModel

WORDS = SLOT.itemsize // 8
WINDOW_AT = SLOT.fields["window_at"][1] // 8  # type: ignore[index]


class SlotWindow:
    """One slot's ring of rows, and what evaluates the window that ends with the newest.

    Args:
        model: the bound session.
        native: the same where the kernel calls it itself, or None.
        y: float32[1, C], where answers are wanted.
        shape: (n, F).
        threaded: the session has arrays of its own, which only whole windows are copied into.

    Attributes:
        run: evaluates the newest window into y; of a model on a thread, the one that was asked of.
    """

    run: Callable[[], Any]

    def __init__(
        self,
        model: BoundModel,
        native: NativeModel | None,
        y: np.ndarray,
        shape: tuple[int, ...],
        threaded: bool,
    ) -> None:
        n, width = shape
        self.ring = np.zeros((2 * n, width), np.float32)
        self.whole = np.zeros((1, n, width), np.float32)
        self.arguments = 0
        self._model, self._y = model, y
        self._calls: Sequence[Callable[[], Any]] = ()
        self._words, self._at = memoryview(np.zeros(1, np.int64)), 0
        self.run = self._run_whole
        if not threaded:
            self._calls = model.windows(self.ring)
            self.arguments = 0 if native is None else native.window_arguments(self.ring)
            self.run = self._run_newest

    def bind(self, state: KernelState, at: int) -> None:
        """Let a slot of the kernel fill the ring."""
        state.set_window(at, self.ring, self.arguments, self.whole)
        self._words = memoryview(state.slots.view(np.uint8)).cast("B").cast("q")
        self._at = at * WORDS + WINDOW_AT

    def take_over(self, before: "SlotWindow", state: KernelState, at: int) -> None:
        """Let a slot go on with the rows that its version before has gathered of the same features.

        Called between two rows, while the slot is still bound to the window before.
        """
        slot, n, old = state.slots[at], len(self.ring) // 2, len(before.ring) // 2
        newest, run, gaps = (int(slot[f"window_{name}"]) for name in ("at", "run", "gaps"))
        kept = min(n, old)
        rows = before.ring[newest + 1 + old - kept : newest + 1 + old].copy()
        self.bind(state, at)
        self.ring[:kept] = self.ring[n : n + kept] = rows
        slot["window_at"], slot["window_run"] = kept - 1, min(run, kept)
        slot["window_gaps"] = gaps

    def _run_newest(self) -> None:
        self._calls[self._words[self._at]]()

    def _run_whole(self) -> None:
        self._model.x[:] = self.whole
        self._model.run()
        self._y[:] = self._model.y
