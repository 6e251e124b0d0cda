"""From addresses to arrays, inside jitted code: no reference counts, nothing allocated."""

from typing import Any

import numpy as np
from numba import carray, njit, types
from numba.core import cgutils
from numba.extending import intrinsic

from engine.market import BOOK_SLOTS


@intrinsic
def pointer(typingctx: Any, address: Any) -> Any:
    """Turn an integer address into a void pointer for `carray`."""
    signature = types.voidptr(address)

    def codegen(context: Any, builder: Any, _sig: Any, args: Any) -> Any:
        return builder.inttoptr(args[0], cgutils.voidptr_t)

    return signature, codegen


@njit(forceinline=True)
def floats32(address, count):  # type: ignore[no-untyped-def]
    """View float32[count] at an address."""
    return carray(pointer(address), (count,), np.float32)


@njit(forceinline=True)
def words32(address, count):  # type: ignore[no-untyped-def]
    """View uint32[count] at an address."""
    return carray(pointer(address), (count,), np.uint32)


@njit(forceinline=True)
def words64(address, count):  # type: ignore[no-untyped-def]
    """View uint64[count] at an address."""
    return carray(pointer(address), (count,), np.uint64)


@njit(forceinline=True)
def book_floats(address):  # type: ignore[no-untyped-def]
    """View one side's sizes, float64[BOOK_SLOTS]."""
    return carray(pointer(address), (BOOK_SLOTS,), np.float64)


@njit(forceinline=True)
def book_ticks(address):  # type: ignore[no-untyped-def]
    """View one side's price ticks, int64[BOOK_SLOTS]."""
    return carray(pointer(address), (BOOK_SLOTS,), np.int64)
