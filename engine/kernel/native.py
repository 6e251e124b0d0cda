"""Calling what is compiled elsewhere from jitted code: a model's runtime, parts of the kernel."""

from typing import Any

import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

ARGUMENTS = 8  # words that the runtime's C entry takes, see ml/runtime/native.py


@intrinsic
def call_run(typingctx: Any, function: Any, arguments: Any) -> Any:
    """Call the function at address `function` with the words at `arguments`; 0 is success."""
    signature = types.int64(function, arguments)

    def codegen(context: Any, builder: Any, _sig: Any, args: Any) -> Any:
        word = ir.IntType(64)
        at = builder.inttoptr(args[1], word.as_pointer())
        given = [builder.load(builder.gep(at, [ir.Constant(word, k)])) for k in range(ARGUMENTS)]
        kind = ir.FunctionType(word, [word] * ARGUMENTS)
        return builder.call(builder.inttoptr(args[0], kind.as_pointer()), given)

    return signature, codegen


@intrinsic
def call_part(typingctx: Any, function: Any, state: Any, what: Any) -> Any:
    """Call a part of the kernel that is compiled apart: int64 f(state, what) at an address."""
    signature = types.int64(function, state, what)

    def codegen(context: Any, builder: Any, _sig: Any, args: Any) -> Any:
        word = ir.IntType(64)
        kind = ir.FunctionType(word, [word, word])
        at = builder.inttoptr(args[0], kind.as_pointer())
        return builder.call(at, [args[1], args[2]])

    return signature, codegen


@numba.njit("i8(i8, i8)", cache=True)
def ask_at_once(function: int, arguments: int) -> int:
    """Evaluate once for Python, which waits: `call_run`, with the interpreter's lock kept."""
    return call_run(function, arguments)


@numba.njit("i8(i8, i8)", nogil=True, cache=True)
def ask_aside(function: int, arguments: int) -> int:
    """Evaluate once; other threads may hold the interpreter meanwhile."""
    return call_run(function, arguments)


@numba.njit("i8(i8, i8, f4[:, ::1], f4[::1], f4[::1], f4[:, ::1])", nogil=True, cache=True)
def ask_rows(
    function: int,
    arguments: int,
    rows: np.ndarray,
    x: np.ndarray,
    y: np.ndarray,
    answers: np.ndarray,
) -> int:
    """Evaluate rows one by one; other threads may hold the interpreter meanwhile.

    Args:
        function: address of the runtime's C entry.
        arguments: address of its words, over x and y.
        rows: float32[n, k].  x: float32[k].  y: float32[c].
        answers: float32[n, c], filled.
    Returns:
        the status of the first call that failed, 0 when none did.
    """
    for at in range(len(rows)):
        x[:] = rows[at]
        y[:] = np.nan
        status = call_run(function, arguments)
        if status != 0:
            return status
        answers[at] = y
    return 0
