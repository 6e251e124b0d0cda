"""Exact money in 64-bit registers: products of 128 bits, divided and rounded as whole numbers.

The same results as engine/money.py, whose Python integers have no bound; what does not fit int64
is said, never wrapped.
"""

import numpy as np
from numba import njit

SAFE = 4.0e18  # products below this fit int64 with room for a rounding term
WORD = 1.8e19  # and these uint64
FEE_SCALE = 100_000_000
NO_FIT = -1  # `notional` of what does not fit
_LOW = 0xFFFFFFFF


@njit
def multiply(a, b):  # type: ignore[no-untyped-def]
    """Multiply two uint64 into (high, low) words."""
    low = np.uint64(_LOW)
    half = np.uint64(32)
    a0, a1 = a & low, a >> half
    b0, b1 = b & low, b >> half
    first = a0 * b0
    second = a1 * b0 + (first >> half)
    third = a0 * b1 + (second & low)
    return a1 * b1 + (second >> half) + (third >> half), (third << half) | (first & low)


@njit
def divide(high, low, by):  # type: ignore[no-untyped-def]
    """Divide the 128-bit (high, low) by uint64: (quotient, rest); needs high < by."""
    one = np.uint64(1)
    rest, quotient = high, np.uint64(0)
    for k in range(64):
        bit = (low >> np.uint64(63 - k)) & one
        carry = rest >> np.uint64(63)
        rest = (rest << one) | bit
        quotient = quotient << one
        if carry == one or rest >= by:
            rest = rest - by
            quotient = quotient | one
    return quotient, rest


@njit
def share(amount, part, whole):  # type: ignore[no-untyped-def]
    """Return floor(amount * part / whole), exactly; 0 <= part <= whole, whole > 0."""
    if abs(np.float64(amount) * np.float64(part)) < SAFE:
        return amount * part // whole
    high, low = multiply(np.uint64(abs(amount)), np.uint64(part))
    quotient, rest = divide(high, low, np.uint64(whole))
    result = np.int64(quotient)
    if amount >= 0:
        return result
    return -result - 1 if rest > np.uint64(0) else -result


@njit
def notional(grid, price_tick, qty_lot):  # type: ignore[no-untyped-def]
    """Return price times size in minor units, rounded half up; NO_FIT far above 2**61."""
    num, den = grid["num"], grid["den"]
    value = np.float64(price_tick) * np.float64(qty_lot) * np.float64(num)
    if not 0.0 <= value < 2.4e18 * np.float64(den):
        return np.int64(NO_FIT)
    if den == 1:
        return price_tick * qty_lot * num
    if 2.0 * value < SAFE:
        return (2 * price_tick * qty_lot * num + den) // (2 * den)
    twice = 2.0 * np.float64(qty_lot) * np.float64(num)
    if twice >= WORD or 2.0 * np.float64(den) >= SAFE:
        return np.int64(NO_FIT)
    high, low = multiply(np.uint64(price_tick), np.uint64(2) * np.uint64(qty_lot) * np.uint64(num))
    added = low + np.uint64(den)
    if added < low:
        high = high + np.uint64(1)
    quotient, _ = divide(high, added, np.uint64(2 * den))
    return np.int64(quotient)


@njit
def fee(amount, rate):  # type: ignore[no-untyped-def]
    """Return the fee on a notional (>= 0) in minor units, rounded half up; rebates are negative."""
    if abs(2.0 * np.float64(amount) * np.float64(rate)) < SAFE:
        return (2 * amount * rate + FEE_SCALE) // (2 * FEE_SCALE)
    scale = np.uint64(FEE_SCALE)
    high, low = multiply(np.uint64(amount), np.uint64(2 * abs(rate)))
    if rate > 0:
        added = low + scale
        if added < low:
            high = high + np.uint64(1)
        quotient, _ = divide(high, added, scale + scale)
        return np.int64(quotient)
    # floor((scale - x) / 2 scale) = -floor((x + scale - 1) / 2 scale)
    added = low + (scale - np.uint64(1))
    if added < low:
        high = high + np.uint64(1)
    quotient, _ = divide(high, added, scale + scale)
    return -np.int64(quotient)
