"""A model over two arrays that stay where they are: what is the same whoever evaluates it."""

import abc
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ml.refusal import ModelRefused

BATCH_SIZES = (2, 3, 7, 64, 256, 1024)


class BoundModel(abc.ABC):
    """One model over its input `x` and its output `y`; see OrtModel and NativeModel.

    Attributes:
        x: float32[1, F], or float32[1, n, F] of a sequence model, C-contiguous; it belongs to the
            caller, who changes it in place before each call.
        y: float32[1, C], C-contiguous; `run` writes it.
        run: evaluates x into y.
    """

    x: np.ndarray
    y: np.ndarray
    run: Callable[[], Any]

    @abc.abstractmethod
    def run_batch(self, rows: np.ndarray) -> np.ndarray:
        """Evaluate many rows at once.

        Args:
            rows: float32[n, F], or float32[n, steps, F].
        Returns:
            float32[n, C], newly allocated.
        Raises:
            ModelRefused: `runtime.failed`, or `model.contract` for a model of one row a call.
        """

    @abc.abstractmethod
    def windows(self, ring: np.ndarray) -> list[Callable[[], Any]]:
        """Bind every window of a ring once; each call evaluates one of them into `y`, in place.

        Args:
            ring: float32[2n, F], C-contiguous: each row stands at `at` and at `at + n`, so that the
                n rows that end with the one at `at` stand together from `at + 1` on.
        Returns:
            n calls, by the place `at` of the newest row. They live as long as this object.
        """

    @abc.abstractmethod
    def batches(
        self, x: np.ndarray, y: np.ndarray, sizes: Sequence[int]
    ) -> list[Callable[[], Any]]:
        """Bind the first rows of two arrays, once for each size; a call evaluates so many of them.

        Args:
            x: float32[n, F], C-contiguous.
            y: float32[n, C], C-contiguous; the answers come here, in place.
            sizes: of the batches, at most n each.
        Returns:
            one call for each size. They live as long as this object.
        """

    @abc.abstractmethod
    def terminate(self) -> None:
        """Let the run that goes on in another thread fail before its next node; then `renew`."""

    @abc.abstractmethod
    def renew(self) -> None:
        """Let runs succeed again after `terminate`."""

    @abc.abstractmethod
    def close(self) -> None:
        """Free the session; nothing here may be called any more."""

    def run_rows(self, rows: np.ndarray) -> np.ndarray:
        """Evaluate rows one by one through the bound call; float32[n, F] to float32[n, C]."""
        kept = self.x.copy()
        answers = np.empty((len(rows), self.y.shape[1]), np.float32)
        for index, row in enumerate(rows):
            self.x[0] = row
            self.run()
            answers[index] = self.y[0]
        self.x[:] = kept
        return answers

    def batch_equals_single(self, rows: np.ndarray, sizes: Sequence[int] = BATCH_SIZES) -> bool:
        """Say whether batched answers equal single ones bit for bit, at every batch size.

        Args:
            rows: float32[n, F], as varied as what will come.
            sizes: batch sizes to try; larger than n are cut.
        """
        try:
            single = self.run_rows(rows)
            for size in sizes:
                for start in range(0, len(rows), size):
                    batch = self.run_batch(rows[start : start + size])
                    if batch.tobytes() != single[start : start + size].tobytes():
                        return False
        except ModelRefused:
            return False
        return True

    def check_arrays(self) -> None:
        """Make sure that both arrays are what can be bound."""
        for array in (self.x, self.y):
            assert array.dtype == np.float32
            assert array.ndim in (2, 3) and array.shape[0] == 1
            assert array.flags.c_contiguous

    def check_binding(self) -> None:
        """Prove that the bound call reads `x` and writes `y` in place.

        Raises:
            ModelRefused: `runtime.failed`.
        """
        kept = self.x.copy()
        try:
            for fill in (0.0, 0.5):
                self.x[:] = fill
                self.y[:] = np.nan
                self.run()
                expected = self.run_batch(self.x.copy())
                if expected.tobytes() != self.y.tobytes():
                    raise ModelRefused("runtime.failed", "model.onnx: bound buffers are not used")
        except ModelRefused:
            raise
        except Exception as error:
            raise failed(error) from None
        finally:
            self.x[:] = kept

    def check_windows(self, ring: np.ndarray, calls: Sequence[Callable[[], Any]]) -> None:
        """Prove that each call reads its own window of the ring, in place.

        Raises:
            ModelRefused: `runtime.failed`.
        """
        kept, n = ring.copy(), len(calls)
        ring[:] = np.random.default_rng(n).standard_normal(ring.shape)
        try:
            for at, call in enumerate(calls):
                self.x[0] = ring[at + 1 : at + 1 + n]
                self.run()
                expected = self.y.copy()
                self.y[:] = np.nan
                call()
                if expected.tobytes() != self.y.tobytes():
                    text = "model.onnx: bound windows are not used"
                    raise ModelRefused("runtime.failed", text)
        finally:
            ring[:] = kept
            self.x[:] = 0.0

    def check_ring(self, ring: np.ndarray) -> int:
        """Make sure that a ring fits this sequence model; return its length n."""
        n = self.x.shape[1]
        assert self.x.ndim == 3
        assert ring.shape == (2 * n, self.x.shape[2])
        assert ring.dtype == np.float32
        assert ring.flags.c_contiguous
        return n


def failed(error: Exception) -> ModelRefused:
    """Say that the runtime failed while it evaluated."""
    return ModelRefused("runtime.failed", f"model.onnx: the runtime failed: {str(error)[:200]}")
