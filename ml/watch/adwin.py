"""ADWIN: the mean of a stream over as long a window as has one mean.

Bifet and Gavalda 2007, "Learning from Time-Changing Data with Adaptive Windowing", ADWIN2:
an exponential histogram of at most `PER_SIZE` buckets of each power of two, cut where two parts of
the window have means further apart than chance allows at `delta`.
"""

import math

PER_SIZE = 5
LEAST_PART = 5  # values on either side of a cut
LOOK_EVERY = 32  # values between two searches for a cut


class Adwin:
    """One stream of numbers within 0..1.

    Attributes:
        width: values in the window.
        changes: cuts so far.

    Example:
        >>> adwin = Adwin(0.002)
        >>> cuts = [adwin.add(0.2 if k < 500 else 0.8) for k in range(1000)]
        >>> sum(cuts) == adwin.changes > 0, round(adwin.mean, 1)
        (True, 0.8)
    """

    def __init__(self, delta: float) -> None:
        assert 0.0 < delta < 1.0
        self.delta = delta
        self.width = self.changes = 0
        self._rows: list[list[tuple[float, float]]] = [[]]  # by size: (sum, variance * size)
        self._total = self._scatter = 0.0
        self._added = 0

    @property
    def mean(self) -> float:
        """Mean of the window; NaN while it is empty."""
        return self._total / self.width if self.width else math.nan

    def add(self, value: float) -> bool:
        """Take the next value; True where the window was cut behind it."""
        assert 0.0 <= value <= 1.0
        if self.width:
            ahead = value - self.mean
            self._scatter += ahead * ahead * self.width / (self.width + 1)
        self._rows[0].append((value, 0.0))
        self._total += value
        self.width += 1
        self._added += 1
        self._compress()
        return self._added % LOOK_EVERY == 0 and self._cut()

    def _compress(self) -> None:
        """Join the two oldest buckets of every size that has too many."""
        size = 0
        while len(self._rows[size]) > PER_SIZE:
            (a, va), (b, vb) = self._rows[size][:2]
            del self._rows[size][:2]
            count = 1 << size
            between = (a - b) ** 2 / (
                2 * count
            )  # count * count / (2 count) * (a/count - b/count)^2
            if size + 1 == len(self._rows):
                self._rows.append([])
            size += 1
            self._rows[size].append((a + b, va + vb + between))

    def _cut(self) -> bool:
        """Drop the oldest buckets while some cut of the window shows two means."""
        found = False
        while self._has_cut():
            self._drop_oldest()
            found = True
        self.changes += int(found)
        return found

    def _has_cut(self) -> bool:
        count, total = 0, 0.0
        for size in range(len(self._rows) - 1, -1, -1):
            for value, _ in self._rows[size]:
                count += 1 << size
                total += value
                rest = self.width - count
                if rest < LEAST_PART:
                    return False
                if count >= LEAST_PART:
                    apart = abs(total / count - (self._total - total) / rest)
                    if apart > self._bound(count, rest):
                        return True
        return False

    def _bound(self, before: int, after: int) -> float:
        harmonic = 1.0 / (1.0 / before + 1.0 / after)
        each = math.log(2.0 * math.log(max(self.width, 3)) / self.delta)
        variance = max(self._scatter, 0.0) / self.width
        return math.sqrt(2.0 * variance * each / harmonic) + 2.0 * each / (3.0 * harmonic)

    def _drop_oldest(self) -> None:
        size = len(self._rows) - 1
        while not self._rows[size]:
            size -= 1
        total, scatter = self._rows[size].pop(0)
        count = 1 << size
        rest = self.width - count
        mean = total / count
        self._total -= total
        self.width = rest
        if rest:
            apart = mean - self._total / rest
            self._scatter -= scatter + apart * apart * count * rest / (count + rest)
        while len(self._rows) > 1 and not self._rows[-1]:
            self._rows.pop()
