"""The runtime's C entry, for kernels that call a model without going through Python.

The wheel ships the runtime as a shared library with a stable C interface (a table of functions that
is only ever appended to; the numbers below are places in it). A `NativeRun` is a second session
over the same bytes and the same two arrays as an `OrtModel`; it is used only where its answers
equal the other's bit for bit, and where anything is missing the Python call is used instead.
"""

import ctypes
import glob
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ml.refusal import ModelRefused
from ml.runtime.session import OrtModel, runtime

API_VERSION = 17
GET_ERROR_MESSAGE, CREATE_ENV, CREATE_SESSION_FROM_ARRAY, RUN = 2, 3, 8, 9
CREATE_SESSION_OPTIONS, SET_EXECUTION_MODE, DISABLE_ARENA = 10, 13, 19
SET_LOG_SEVERITY, SET_OPTIMISATION, SET_INTRA_THREADS, SET_INTER_THREADS = 22, 23, 24, 25
CREATE_RUN_OPTIONS, CREATE_TENSOR, CREATE_CPU_MEMORY_INFO = 39, 49, 69
RELEASE_ENV, RELEASE_STATUS, RELEASE_MEMORY_INFO, RELEASE_SESSION = 92, 93, 94, 95
RELEASE_VALUE, RELEASE_RUN_OPTIONS, RELEASE_OPTIONS = 96, 97, 100
LOG_FATAL, SEQUENTIAL, FLOAT, ARENA_ALLOCATOR, DEFAULT_MEMORY = 4, 0, 1, 1, 0
LEVELS = {"disabled": 0, "basic": 1, "extended": 2, "all": 99}

_Word = ctypes.c_size_t
_Place = ctypes.c_void_p


class _Api:
    """The function table of the shared library."""

    def __init__(self) -> None:
        folder = os.path.join(os.path.dirname(runtime().__file__), "capi")
        found = sorted(glob.glob(os.path.join(folder, "libonnxruntime.so*")))
        if not found:
            raise OSError("no shared library of the runtime")
        library = ctypes.CDLL(found[-1])
        library.OrtGetApiBase.restype = ctypes.POINTER(ctypes.c_void_p)
        get_api = ctypes.CFUNCTYPE(_Place, ctypes.c_uint32)(library.OrtGetApiBase()[0])
        table = get_api(API_VERSION)
        if not table:
            raise OSError("the runtime does not know this version of its C interface")
        self._table = ctypes.cast(table, ctypes.POINTER(_Place))

    def address(self, place: int) -> int:
        """Return the address of a function."""
        return int(self._table[place] or 0)

    def call(self, place: int, *given: tuple[Any, Any]) -> None:
        """Call a function that returns a status, with (ctypes type, value) pairs.

        Raises:
            OSError: with the runtime's message.
        """
        function = ctypes.CFUNCTYPE(_Word, *(kind for kind, _ in given))(self.address(place))
        if status := function(*(value for _, value in given)):
            raise OSError(self.message(status))

    def message(self, status: int) -> str:
        """Return what a status says, and free it."""
        message = ctypes.CFUNCTYPE(ctypes.c_char_p, _Word)(self.address(GET_ERROR_MESSAGE))
        text = (message(status) or b"").decode(errors="replace")[:200]
        self.release(RELEASE_STATUS, status)
        return text

    def release(self, place: int, made: int) -> None:
        """Free what a function made."""
        ctypes.CFUNCTYPE(None, _Word)(self.address(place))(made)

    def make(self, place: int, *given: tuple[Any, Any]) -> int:
        """Call a function whose last argument receives what it makes; return that."""
        made = _Word()
        self.call(place, *given, (_Place, ctypes.byref(made)))
        return int(made.value)


class NativeRun:
    """One model as a C function and its arguments; both addresses live as long as this object.

    Attributes:
        function: address of `status = f(a0, .., a7)`, 0 being success.
        arguments: address of int64[8], the arguments.
        run: the same for Python.
        rehearse: a run over arrays of its own, whose answer nobody reads. Raises OSError.
    """

    function: int
    arguments: int

    def __init__(self, model_bytes: bytes, model: OrtModel, optimisation: str = "all") -> None:
        """Open the session over `model.x` and `model.y`.

        Raises:
            OSError: the shared library or a function of it is missing or refuses.
        """
        self._made: list[tuple[int, int]] = []  # what was made and what frees it, in order
        self._api = _Api()
        try:
            self._open(model_bytes, model, optimisation)
        except BaseException:
            self.close()
            raise

    def _open(self, model_bytes: bytes, model: OrtModel, optimisation: str) -> None:
        environment = self._keep(
            CREATE_ENV, RELEASE_ENV, (ctypes.c_int, LOG_FATAL), (ctypes.c_char_p, b"native")
        )
        session = self._keep(
            CREATE_SESSION_FROM_ARRAY,
            RELEASE_SESSION,
            (_Word, environment),
            (ctypes.c_char_p, model_bytes),
            (_Word, len(model_bytes)),
            (_Word, self._options(optimisation)),
        )
        memory = self._keep(
            CREATE_CPU_MEMORY_INFO,
            RELEASE_MEMORY_INFO,
            (ctypes.c_int, ARENA_ALLOCATOR),
            (ctypes.c_int, DEFAULT_MEMORY),
        )
        run_options = self._keep(CREATE_RUN_OPTIONS, RELEASE_RUN_OPTIONS)
        self._spare = np.zeros_like(model.x), np.zeros_like(model.y)
        words = []
        for x, y in ((model.x, model.y), self._spare):
            inputs = self._named(memory, {model.input_name: x})
            outputs = self._named(memory, {model.output_name: y})
            words.append([session, run_options, *inputs, 1, outputs[0], 1, outputs[1]])
        self._words = np.array(words[0], np.int64)
        self._memory = memory
        self._window_words: list[np.ndarray] = []
        self._kept = model_bytes, model
        self.function = self._api.address(RUN)
        self.arguments = int(self._words.ctypes.data)
        self.run = self.call(words[0])
        self.rehearse = self.call(words[1])

    def windows(self, ring: np.ndarray) -> int:
        """Wrap every window of a ring; return the address of int64[n, 8], the arguments of each.

        Args:
            ring: float32[2n, F], as in `OrtModel.windows`; it lives as long as this object.
        """
        model: OrtModel = self._kept[1]
        n = model.x.shape[1]
        words = np.tile(self._words, (n, 1))
        for at in range(n):
            window = ring[at + 1 : at + 1 + n][np.newaxis]
            words[at, 2:4] = self._named(self._memory, {model.input_name: window})
        self._window_words.append(words)
        return int(words.ctypes.data)

    def batches(
        self, x: np.ndarray, y: np.ndarray, sizes: Sequence[int]
    ) -> list[Callable[[], None]]:
        """Wrap the first rows of two arrays for each size, as `OrtModel.batches` does.

        Args:
            x: float32[n, F], C-contiguous.
            y: float32[n, C], C-contiguous; both live as long as this object.
            sizes: of the batches, at most n each.
        Returns:
            one call for each size.
        """
        model: OrtModel = self._kept[1]
        calls = []
        for size in sizes:
            words = self._words.copy()
            words[2:4] = self._named(self._memory, {model.input_name: x[:size]})
            words[5], words[7] = self._named(self._memory, {model.output_name: y[:size]})
            calls.append(self.call(words.tolist()))
        return calls

    def _keep(self, place: int, freed_by: int, *given: tuple[Any, Any]) -> int:
        """Make something that `close` frees."""
        made = self._api.make(place, *given)
        self._made.append((freed_by, made))
        return made

    def close(self) -> None:
        """Free the session and all that belongs to it; `function` must not be called any more."""
        for freed_by, made in reversed(self._made):
            self._api.release(freed_by, made)
        self._made.clear()

    def _options(self, optimisation: str) -> int:
        api = self._api
        options = self._keep(CREATE_SESSION_OPTIONS, RELEASE_OPTIONS)
        for place, value in (
            (SET_EXECUTION_MODE, SEQUENTIAL),
            (SET_LOG_SEVERITY, LOG_FATAL),
            (SET_OPTIMISATION, LEVELS[optimisation]),
            (SET_INTRA_THREADS, 1),
            (SET_INTER_THREADS, 1),
        ):
            api.call(place, (_Word, options), (ctypes.c_int, value))
        api.call(DISABLE_ARENA, (_Word, options))
        return options

    def _named(self, memory: int, arrays: Mapping[str, np.ndarray]) -> tuple[int, int]:
        """Wrap arrays as tensors; return the addresses of the lists of names and of values."""
        names = (ctypes.c_char_p * len(arrays))(*(name.encode() for name in arrays))
        values = (_Word * len(arrays))()
        shapes = []
        for at, array in enumerate(arrays.values()):
            shape = (ctypes.c_int64 * array.ndim)(*array.shape)
            shapes.append(shape)
            values[at] = self._keep(
                CREATE_TENSOR,
                RELEASE_VALUE,
                (_Word, memory),
                (_Word, array.ctypes.data),
                (_Word, array.nbytes),
                (_Word, ctypes.addressof(shape)),
                (_Word, array.ndim),
                (ctypes.c_int, FLOAT),
            )
        self._lists = (*getattr(self, "_lists", ()), names, values, shapes)
        return ctypes.addressof(names), ctypes.addressof(values)

    def call(self, words: list[int]) -> Callable[[], None]:
        """Return a function without arguments that runs the model once, over the arrays of `words`.

        The interpreter's lock is kept, as it is when the kernel calls: another thread that got it
        meanwhile would keep it for a tenth of a millisecond and more.
        """
        function = ctypes.PYFUNCTYPE(_Word, *[_Word] * 8)(self.function)
        message = self._api.message

        def run() -> None:
            if status := function(*words):
                raise OSError(message(status))

        return run

    def equals(self, rows: np.ndarray) -> bool:
        """Tell whether its answers equal those of the other session bit for bit.

        Args:
            rows: float32[n, F], as varied as what will come.
        """
        model: OrtModel = self._kept[1]
        expected = model.run_rows(rows)
        kept, run = model.x.copy(), self.run
        same = True
        for row, answer in zip(rows, expected, strict=True):
            model.x[0] = row
            model.y[:] = np.nan
            run()
            same = same and model.y[0].tobytes() == answer.tobytes()
        model.x[:] = kept
        return same


def native_run(
    model_bytes: bytes, model: OrtModel, rows: np.ndarray, optimisation: str = "all"
) -> NativeRun | None:
    """Return the C entry of a model, or None where it cannot be had or differs in a bit.

    Args:
        model_bytes: the ONNX file that `model` was made of.
        model: the session whose arrays are shared.
        rows: float32[n, F] to compare both on; the golden rows.
        optimisation: as `model` was opened with.
    """
    if model._normalise is not None:  # its numbers are applied in Python
        return None
    try:
        made = NativeRun(model_bytes, model, optimisation)
        if made.equals(rows):
            return made
        made.close()
        return None
    except (OSError, AttributeError, ValueError, ModelRefused):
        return None
