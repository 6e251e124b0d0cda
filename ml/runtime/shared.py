"""Sessions of the runtime, shared by all instances of a model: one for the same bytes.

A session holds the graph and its weights; runs over it may go side by side. An instance adds its
arrays, the values that wrap them, and options for its runs (ml/runtime/native.py).
"""

import ctypes
import hashlib
import threading
from typing import NamedTuple

from ml.refusal import ModelRefused
from ml.runtime import library as c
from ml.runtime.library import CallFailed, Library, Word

_open: dict["Key", "Session"] = {}
_lock = threading.Lock()


class Key(NamedTuple):
    """What makes two sessions the same."""

    sha256: str
    optimisation: str
    arena: bool


class Session:
    """One session; made by `acquire`, freed when the last of its users has let go of it.

    Attributes:
        address: of the session.
        memory: of what describes the processor's memory, for wrapping arrays.
        users: instances over it.
    """

    def __init__(self, library: Library, key: Key, model_bytes: bytes) -> None:
        self.key = key
        self.users = 0
        self._library = library
        options = library.make(c.CREATE_SESSION_OPTIONS)
        try:
            self._set(options)
            self.address = library.make(
                c.CREATE_SESSION_FROM_ARRAY,
                (Word, library.environment),
                (ctypes.c_char_p, model_bytes),
                (Word, len(model_bytes)),
                (Word, options),
            )
        except CallFailed as error:
            text = f"model.onnx: the runtime refuses it: {str(error)[:200]}"
            raise ModelRefused("model.invalid", text) from None
        finally:
            library.release(c.RELEASE_OPTIONS, options)
        self.memory = library.make(
            c.CREATE_CPU_MEMORY_INFO,
            (ctypes.c_int, c.ARENA_ALLOCATOR),
            (ctypes.c_int, c.DEFAULT_MEMORY),
        )

    def _set(self, options: int) -> None:
        """Ask for a sequential, silent session on one thread."""
        for place, value in (
            (c.SET_EXECUTION_MODE, c.SEQUENTIAL),
            (c.SET_LOG_SEVERITY, c.LOG_FATAL),
            (c.SET_OPTIMISATION, c.LEVELS[self.key.optimisation]),
            (c.SET_INTRA_THREADS, 1),
            (c.SET_INTER_THREADS, 1),
        ):
            self._library.call(place, (Word, options), (ctypes.c_int, value))
        if not self.key.arena:
            self._library.call(c.DISABLE_ARENA, (Word, options))

    def free(self) -> None:
        """Free it; nothing may use it any more."""
        self._library.release(c.RELEASE_MEMORY_INFO, self.memory)
        self._library.release(c.RELEASE_SESSION, self.address)


def acquire(model_bytes: bytes, optimisation: str, *, arena: bool, sha256: str = "") -> Session:
    """Return the session of these bytes, made where there is none; `release` it after use.

    Args:
        model_bytes: the ONNX file, already scanned.
        optimisation: one of session.OPTIMISATIONS.
        arena: keep memory between runs; else it comes from the process's heap and goes back.
        sha256: of the bytes, where it is known.
    Raises:
        ModelRefused: `model.invalid`.
        OSError: the shared library is missing.
    """
    library = c.library()
    key = Key(sha256 or hashlib.sha256(model_bytes).hexdigest(), optimisation, arena)
    with _lock:
        if (found := _open.get(key)) is not None:
            found.users += 1
            return found
    made = Session(library, key, model_bytes)  # takes a while: others need not wait
    with _lock:
        found = _open.setdefault(key, made)
        found.users += 1
    if found is not made:
        made.free()
    return found


def release(session: Session) -> None:
    """Let go of a session; the last one frees it."""
    with _lock:
        session.users -= 1
        last = session.users == 0
        if last:
            del _open[session.key]
    if last:
        session.free()
