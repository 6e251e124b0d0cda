"""The runtime's shared library: its table of C functions, called without the interpreter's lock.

The wheel ships the runtime as a shared library with a stable C interface (a table of functions that
is only ever appended to; the numbers below are places in it). The Python package beside it is not
imported: making a session through it holds the interpreter's lock for as long as that takes.
"""

import ctypes
import functools
import glob
import importlib.util
import os
from typing import Any

API_VERSION = 17
GET_ERROR_MESSAGE, CREATE_ENV, CREATE_SESSION_FROM_ARRAY, RUN = 2, 3, 8, 9
CREATE_SESSION_OPTIONS, SET_EXECUTION_MODE, DISABLE_ARENA = 10, 13, 19
SET_LOG_SEVERITY, SET_OPTIMISATION, SET_INTRA_THREADS, SET_INTER_THREADS = 22, 23, 24, 25
CREATE_RUN_OPTIONS, SET_RUN_LOG_SEVERITY, SET_TERMINATE, UNSET_TERMINATE = 39, 41, 46, 47
CREATE_TENSOR, CREATE_CPU_MEMORY_INFO = 49, 69
RELEASE_ENV, RELEASE_STATUS, RELEASE_MEMORY_INFO, RELEASE_SESSION = 92, 93, 94, 95
RELEASE_VALUE, RELEASE_RUN_OPTIONS, RELEASE_OPTIONS = 96, 97, 100
LOG_FATAL, SEQUENTIAL, FLOAT, ARENA_ALLOCATOR, DEFAULT_MEMORY = 4, 0, 1, 1, 0
LEVELS = {"disabled": 0, "basic": 1, "extended": 2, "all": 99}

Word = ctypes.c_size_t
Place = ctypes.c_void_p


class CallFailed(OSError):
    """A function of the runtime answered with a status; the text is the runtime's."""


class Library:
    """The function table of the shared library; it stays loaded to the end of the process.

    Args:
        path: of the file.
    Attributes:
        environment: what sessions are made in; one for all.
    """

    def __init__(self, path: str) -> None:
        library = ctypes.CDLL(path)
        library.OrtGetApiBase.restype = ctypes.POINTER(ctypes.c_void_p)
        get_api = ctypes.CFUNCTYPE(Place, ctypes.c_uint32)(library.OrtGetApiBase()[0])
        table = get_api(API_VERSION)
        if not table:
            raise OSError("the runtime does not know this version of its C interface")
        self._table = ctypes.cast(table, ctypes.POINTER(Place))
        self.environment = self.make(
            CREATE_ENV, (ctypes.c_int, LOG_FATAL), (ctypes.c_char_p, b"tickgate")
        )

    def address(self, place: int) -> int:
        """Return the address of a function."""
        return int(self._table[place] or 0)

    def call(self, place: int, *given: tuple[Any, Any]) -> None:
        """Call a function that returns a status, with (ctypes type, value) pairs.

        Raises:
            CallFailed: with the runtime's message.
        """
        function = ctypes.CFUNCTYPE(Word, *(kind for kind, _ in given))(self.address(place))
        if status := function(*(value for _, value in given)):
            raise CallFailed(self.message(status))

    def message(self, status: int) -> str:
        """Return what a status says, and free it."""
        message = ctypes.CFUNCTYPE(ctypes.c_char_p, Word)(self.address(GET_ERROR_MESSAGE))
        text = (message(status) or b"").decode(errors="replace")[:200]
        self.release(RELEASE_STATUS, status)
        return text

    def release(self, place: int, made: int) -> None:
        """Free what a function made."""
        ctypes.CFUNCTYPE(None, Word)(self.address(place))(made)

    def make(self, place: int, *given: tuple[Any, Any]) -> int:
        """Call a function whose last argument receives what it makes; return that."""
        made = Word()
        self.call(place, *given, (Place, ctypes.byref(made)))
        return int(made.value)


@functools.cache
def library() -> Library:
    """Return the runtime's shared library, loaded at its first use.

    Raises:
        OSError: there is none, or not of this interface; it is looked for again the next time.
    """
    try:
        spec = importlib.util.find_spec("onnxruntime")
    except ValueError:  # the import system says that there is none
        spec = None
    folders = [] if spec is None else list(spec.submodule_search_locations or ())
    found = [
        path
        for folder in folders
        for path in sorted(glob.glob(os.path.join(folder, "capi", "libonnxruntime.so*")))
    ]
    if not found:
        raise OSError("no shared library of the runtime")
    return Library(found[-1])
