"""Estimate the constant offset of a recorder's clock against the exchange, and correct it."""

from dataclasses import dataclass, field

import numpy as np

from engine.errors import UsageError

SMALLEST = 64  # latencies kept
OUTLIER_NS = 1_000_000_000  # the smallest ones count only if they lie this near to the others
LEAST_LATENCY_NS = 1_000_000  # no message arrives faster than this after a correction
STEP_NS = 10_000_000  # offsets are rounded up, so that several files of one recorder agree
TOGETHER_NS = 100_000_000  # venues whose offsets lie this near share one recorder


@dataclass
class Latencies:
    """The smallest differences of receive and event time seen so far, in ns."""

    smallest: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))

    def add(self, ts_recv: np.ndarray, ts_event: np.ndarray) -> None:
        """Take in int64[n] of each; pairs with a missing time do not count."""
        known = (ts_recv > 0) & (ts_event > 0)
        if not known.any():
            return
        latencies = np.concatenate([self.smallest, ts_recv[known] - ts_event[known]])
        if len(latencies) > SMALLEST:
            latencies = np.partition(latencies, SMALLEST - 1)[:SMALLEST]
        self.smallest = np.sort(latencies)

    def merge(self, other: "Latencies") -> None:
        """Take in another record."""
        self.smallest = np.sort(np.concatenate([self.smallest, other.smallest]))[:SMALLEST]

    def least(self) -> int | None:
        """Return the smallest latency that is no outlier, or None."""
        if len(self.smallest) == 0:
            return None
        near = self.smallest[self.smallest >= self.smallest[-1] - OUTLIER_NS]
        return int(near[0])


def offset_ns(latencies: Latencies) -> int:
    """Return what to add to ts_recv: 0, or enough for every message to arrive after its event.

    >>> record = Latencies(); record.add(np.array([2, 3]) * 10**9, np.array([3, 5]) * 10**9)
    >>> offset_ns(record) / 1e6
    2010.0
    """
    least = latencies.least()
    if least is None or least >= 0:
        return 0
    return -((least - LEAST_LATENCY_NS) // STEP_NS) * STEP_NS


def offsets(by_venue: dict[str, Latencies], option: str) -> dict[str, int]:
    """Return the offset of each venue's receive times, in ns.

    Args:
        by_venue: latencies of each venue.
        option: "auto" (only where latencies are negative, which is impossible; venues that are off
            by nearly the same share the largest offset: one recorder), "none", or milliseconds.
    Raises:
        UsageError: the option is none of these.
    """
    if option == "none":
        return dict.fromkeys(by_venue, 0)
    if option != "auto":
        try:
            fixed = float(option)
        except ValueError:
            fixed = float("nan")
        if not abs(fixed) < 1e12:
            raise UsageError(f"--clock-offset {option}: allowed are auto, none, or milliseconds")
        return dict.fromkeys(by_venue, round(fixed * 1e6))
    found = {venue: offset_ns(record) for venue, record in by_venue.items()}
    shared: dict[str, int] = {}
    group: list[str] = []
    for venue in sorted(found, key=lambda one: (found[one], one)):
        if group and (found[venue] - found[group[0]] > TOGETHER_NS or found[group[0]] == 0):
            shared.update(dict.fromkeys(group, found[group[-1]]))
            group = []
        group.append(venue)
    shared.update(dict.fromkeys(group, found[group[-1]] if group else 0))
    return shared
