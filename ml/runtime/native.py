"""A model behind the runtime's C entry, for Python, for the kernel, and for threads.

The kernel calls `function` with `arguments` without going through Python. Where the shared library
is missing, or numbers must be applied to each row in Python, ml/runtime/session.py serves.
"""

import contextlib
import ctypes
import weakref
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from ml.runtime import library as c
from ml.runtime.bound import BoundModel, failed
from ml.runtime.library import CallFailed, Library, Word
from ml.runtime.shared import Session, acquire, release


class NativeModel(BoundModel):
    """One model as a C function and its arguments; both addresses live as long as this object.

    Args:
        model_bytes: the ONNX file, already hashed and scanned.
        x: float32[1, F], or float32[1, n, F] of a sequence model, C-contiguous, the input.
        y: float32[1, C], C-contiguous, the output.
        names: of the graph's input, and of the output to serve.
        optimisation: one of session.OPTIMISATIONS.
        quick: a run takes a few microseconds. Then the interpreter's lock is kept while it lasts,
            as it is when the kernel calls: another thread that got it meanwhile would keep it for a
            tenth of a millisecond and more.
        sha256: of the bytes, where it is known; instances of the same bytes share a session.
    Attributes:
        function: address of `status = f(a0, .., a7)`, 0 being success.
        arguments: address of int64[8], the arguments.
        rehearse: a run over `spare`, arrays of its own whose answer nobody reads.
            Raises CallFailed.
    Raises:
        ModelRefused: `model.invalid`, `runtime.failed`.
        OSError: the shared library is missing.
    """

    function: int
    arguments: int

    def __init__(
        self,
        model_bytes: bytes,
        *,
        x: np.ndarray,
        y: np.ndarray,
        names: tuple[str, str],
        optimisation: str = "all",
        quick: bool = False,
        sha256: str = "",
    ) -> None:
        self.x, self.y = x, y
        self.check_arrays()
        self._input_name, self._output_name = (name.encode() for name in names)
        self._quick = quick
        self._library: Library = c.library()
        self._made: list[tuple[int, int]] = []  # what was made and what frees it, in order
        self._kept: list[Any] = []
        self._rings: dict[int, np.ndarray] = {}  # by address: the arguments of each window
        # The few small arrays of a quick one come sooner from the process's own heap.
        session = acquire(model_bytes, optimisation, arena=not quick, sha256=sha256)
        self._free = weakref.finalize(self, _free, self._library, self._made, session)
        self._free.atexit = False
        try:
            self._bind(session)
            self.check_binding()
        except BaseException:
            self.close()
            raise

    def _bind(self, session: Session) -> None:
        """Wrap the arrays, and make the calls."""
        self._address, self._memory = session.address, session.memory
        self._run_options = self._keep(c.CREATE_RUN_OPTIONS, c.RELEASE_RUN_OPTIONS)
        severity = (Word, self._run_options), (ctypes.c_int, c.LOG_FATAL)
        self._library.call(c.SET_RUN_LOG_SEVERITY, *severity)
        words = self._words(self.x, self.y)
        self.spare = np.zeros_like(self.x), np.zeros_like(self.y)
        self.function = self._library.address(c.RUN)
        self.arguments = int(words.ctypes.data)
        self.run = self._call(words)
        self.rehearse = self._call(self._words(*self.spare))

    def _keep(self, place: int, freed_by: int, *given: tuple[Any, Any]) -> int:
        """Make something that `close` frees."""
        made = self._library.make(place, *given)
        self._made.append((freed_by, made))
        return made

    def _tensor(self, array: np.ndarray) -> int:
        """Wrap an array, which stays where it is, as the runtime's value; it must be freed."""
        shape = (ctypes.c_int64 * array.ndim)(*array.shape)
        return self._library.make(
            c.CREATE_TENSOR,
            (Word, self._memory),
            (Word, array.ctypes.data),
            (Word, array.nbytes),
            (Word, ctypes.addressof(shape)),
            (Word, array.ndim),
            (ctypes.c_int, c.FLOAT),
        )

    def _words(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Wrap two arrays for the life of this object; return int64[8], the arguments of a run."""
        values = []
        for array in (x, y):
            values.append(self._tensor(array))
            self._made.append((c.RELEASE_VALUE, values[-1]))
            self._kept.append(array)
        words, kept = self._arguments_of(*values)
        self._kept.append(kept)
        return words

    def _arguments_of(self, x: int, y: int) -> tuple[np.ndarray, object]:
        """Return int64[8] for two wrapped arrays, and what must live as long as they are used."""
        lists = [
            ((ctypes.c_char_p * 1)(name), (Word * 1)(value))
            for name, value in ((self._input_name, x), (self._output_name, y))
        ]
        inputs, outputs = ([ctypes.addressof(one) for one in pair] for pair in lists)
        words = [self._address, self._run_options, *inputs, 1, outputs[0], 1, outputs[1]]
        return np.array(words, np.int64), lists

    def _call(self, words: np.ndarray) -> Callable[[], None]:
        """Return a function without arguments that runs the model once over what it is given."""
        from engine.kernel.native import ask_aside, ask_at_once

        ask = ask_at_once if self._quick else ask_aside
        function, arguments = self.function, int(words.ctypes.data)
        self._kept.append(words)

        def run() -> None:
            if status := ask(function, arguments):
                raise CallFailed(self._library.message(status))  # and the call keeps us alive

        return run

    def windows(self, ring: np.ndarray) -> list[Callable[[], Any]]:
        """See BoundModel."""
        calls = [self._call(words) for words in self._window_words(ring)]
        self.check_windows(ring, calls)
        return calls

    def window_arguments(self, ring: np.ndarray) -> int:
        """Return the address of int64[n, 8], the arguments of each window of a ring.

        Args:
            ring: float32[2n, F], as in `windows`; it lives as long as this object.
        """
        return int(self._window_words(ring).ctypes.data)

    def _window_words(self, ring: np.ndarray) -> np.ndarray:
        """Wrap every window of a ring, once."""
        at_ring = int(ring.ctypes.data)
        if at_ring not in self._rings:
            n = self.check_ring(ring)
            windows = [ring[at + 1 : at + 1 + n][np.newaxis] for at in range(n)]
            self._rings[at_ring] = np.stack([self._words(one, self.y) for one in windows])
        return self._rings[at_ring]

    def batches(
        self, x: np.ndarray, y: np.ndarray, sizes: Sequence[int]
    ) -> list[Callable[[], Any]]:
        """See BoundModel."""
        assert x.shape[1:] == self.x.shape[1:]
        assert y.shape[1:] == self.y.shape[1:]
        return [self._call(self._words(x[:size], y[:size])) for size in sizes]

    def run_batch(self, rows: np.ndarray) -> np.ndarray:
        """See BoundModel."""
        rows = np.ascontiguousarray(rows, dtype=np.float32)
        answers = np.empty((len(rows), self.y.shape[1]), np.float32)
        try:
            with self._wrapped(rows) as x, self._wrapped(answers) as y:
                words, kept = self._arguments_of(x, y)
                self._library.call(c.RUN, *((Word, word) for word in words.tolist()))
                del kept
        except CallFailed as error:
            raise failed(error) from None
        return answers

    @contextlib.contextmanager
    def _wrapped(self, array: np.ndarray) -> Iterator[int]:
        value = self._tensor(array)
        try:
            yield value
        finally:
            self._library.release(c.RELEASE_VALUE, value)

    def run_rows(self, rows: np.ndarray) -> np.ndarray:
        """Evaluate rows one by one, in place, in one call that lets other threads go on."""
        from engine.kernel.native import ask_rows

        many = np.ascontiguousarray(rows, np.float32).reshape(len(rows), -1)
        answers, kept = np.empty((len(rows), self.y.shape[1]), np.float32), self.x.copy()
        x, y = self.x.reshape(-1), self.y.reshape(-1)
        status = ask_rows(self.function, self.arguments, many, x, y, answers)
        self.x[:] = kept
        if status:
            raise failed(CallFailed(self._library.message(status)))
        return answers

    def terminate(self) -> None:
        """See BoundModel."""
        self._library.call(c.SET_TERMINATE, (Word, self._run_options))

    def renew(self) -> None:
        """See BoundModel."""
        self._library.call(c.UNSET_TERMINATE, (Word, self._run_options))

    def close(self) -> None:
        """Free what belongs to it, and the session with its last instance; see BoundModel."""
        self._free()
        for name in ("run", "rehearse"):
            self.__dict__.pop(name, None)


def _free(library: Library, made: list[tuple[int, int]], session: Session) -> None:
    """Free what an instance has made, and let go of its session; also where nobody closed it."""
    for freed_by, one in reversed(made):
        library.release(freed_by, one)
    made.clear()
    release(session)
