"""The decorator of every feature kernel, and the few numeric words that all of them use."""

import math
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

import numpy as np
from numba import njit

P = ParamSpec("P")
R = TypeVar("R")

Record = Any  # a numba Record, or numpy.void where the JIT is switched off

NAN = math.nan
TINY = 1e-200  # smaller numbers are flushed to zero: subnormals slow a quiet market's kernel by 2.2
TINY_FLOAT32 = 1.1754943508222875e-38  # smallest normal float32
HUGE = 1e100  # an input beyond it is no market data; three of them multiplied stay finite
STATELESS = np.dtype([("unused", "i8")])


def step(function: Callable[P, R]) -> Callable[P, R]:
    """Compile a small kernel, to be called by other kernels.

    LLVM inlines it. Inlining at numba's level (`inline="always"`) was measured: it compiles the 28
    features three times slower, since each helper is then typed anew at each call. The numpy error
    model keeps divisions free of exceptions; every kernel guards its own divisors.

    Example:
        >>> @step
        ... def double(x):
        ...     return 2.0 * x
        >>> double(1.5)
        3.0
    """
    compiled: Callable[P, R] = njit(error_model="numpy")(function)
    return compiled


@step
def flushed(x: float) -> float:
    """Return x, or 0.0 where it is so small that it may become subnormal.

    >>> flushed(1e-250), flushed(-0.25)
    (0.0, -0.25)
    """
    return x if x > TINY or x < -TINY else 0.0


@step
def usable(x: float) -> bool:
    """Tell whether x is finite and of a size that market data can have (|x| <= 1e100).

    >>> usable(-37.63), usable(float("inf")), usable(float("nan"))
    (True, False, False)
    """
    return -HUGE <= x <= HUGE


@step
def ratio(numerator: float, denominator: float, otherwise: float) -> float:
    """Divide, with a stated result where the denominator is zero; NaN stays NaN.

    >>> ratio(1.0, 4.0, 0.0), ratio(1.0, 0.0, 0.5), ratio(NAN, 0.0, 0.5)
    (0.25, 0.5, nan)
    """
    if denominator != 0.0:
        return numerator / denominator
    return otherwise if numerator == numerator else NAN


@step
def relative(x: float, anchor: float) -> float:
    """Return (x - anchor) / |anchor|; 0.0 where the anchor is zero.

    The magnitude in the divisor keeps the sign right for negative prices.

    >>> relative(102.0, 100.0), relative(-36.0, -40.0), relative(1.0, 0.0)
    (0.02, 0.1, 0.0)
    """
    return (x - anchor) / abs(anchor) if anchor != 0.0 else 0.0


@step
def usable_prices(m: Record) -> bool:
    """Tell whether the bar that has just closed has four usable prices."""
    return (
        usable(m["bar_open"])
        and usable(m["bar_high"])
        and usable(m["bar_low"])
        and usable(m["bar_close"])
    )


@step
def usable_volume(x: float) -> bool:
    """Tell whether x can be a volume: finite, not negative.

    >>> usable_volume(0.0), usable_volume(-1.0), usable_volume(float("nan"))
    (True, False, False)
    """
    return 0.0 <= x <= HUGE


@step
def put(out: np.ndarray, index: int, x: float) -> int:
    """Store x as float32 and tell whether it is finite there: 1 or 0.

    Subnormal float32 values become 0; what float32 cannot hold becomes infinite and counts as 0.

    >>> row = np.zeros(3, np.float32)
    >>> put(row, 0, 0.5), put(row, 1, 1e-40), put(row, 2, 1e39), [float(v) for v in row]
    (1, 1, 0, [0.5, 0.0, inf])
    """
    small = -TINY_FLOAT32 < x < TINY_FLOAT32
    out[index] = np.float32(0.0) if small else np.float32(x)
    return 1 if abs(out[index]) < np.inf else 0
