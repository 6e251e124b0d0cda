"""Statistics over a small ring of float64, two passes around a pivot: exact for flat input."""

import math

import numpy as np

from features.step import Record, flushed, step


@step
def mean_of(ring: np.ndarray) -> float:
    """Return the mean of all slots.

    >>> mean_of(np.full(3, 0.1)), mean_of(np.array([1.0, 2.0, 6.0]))
    (0.1, 3.0)
    """
    pivot = ring[0]
    total = 0.0
    for k in range(ring.size):
        total += ring[k] - pivot
    return pivot + total / ring.size


@step
def std_of(ring: np.ndarray, mean: float) -> float:
    """Return the population standard deviation of all slots.

    >>> std_of(np.full(3, 0.1), 0.1), std_of(np.array([1.0, 3.0]), 2.0)
    (0.0, 1.0)
    """
    total = 0.0
    for k in range(ring.size):
        total += (ring[k] - mean) * (ring[k] - mean)
    return math.sqrt(flushed(total / ring.size))


@step
def keep(s: Record, ring: np.ndarray, x: float) -> None:
    """Store x in the ring's next slot and count it in `s["count"]`."""
    ring[s["count"] % ring.size] = x
    s["count"] += 1
