"""A/B splits: whose turn it is, as a pure function of seed, name and instrument or time."""

import hashlib
from collections.abc import Callable, Sequence

from engine.events import Cancel, Intent, Place, Purpose
from engine.ports import Strategy
from engine.view import View

ENTRY = int(Purpose.ENTRY)


def arm_of(seed: int, name: str, key: str, weights: Sequence[float]) -> int:
    """Return which arm of a split a key belongs to, each with a share by its weight.

    The first 8 bytes of sha256("seed|name|key"), big-endian, are a fraction of 2**64; the arm is
    the one whose part of the weights, laid end to end, that fraction lies in.

    Args:
        key: a symbol, or the number of a slice of time.
        weights: of the arms, in the order of the settings.
    Example:
        >>> [arm_of(7, "tick", str(slice), (3, 1)) for slice in range(12)]
        [0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1, 1]
    """
    digest = hashlib.sha256(f"{seed}|{name}|{key}".encode()).digest()
    left = int.from_bytes(digest[:8], "big") / 2.0**64 * sum(weights)
    for at, weight in enumerate(weights):
        if left < weight:
            return at
        left -= weight
    return len(weights) - 1


class TimeSlices:
    """Whose turn it is in a split by time: market time is cut into slices from the epoch on.

    Args:
        seed, name, weights: as `arm_of` takes them.
        slice_ns: length of a slice.
    """

    def __init__(self, seed: int, name: str, weights: Sequence[float], slice_ns: int) -> None:
        assert slice_ns > 0
        self._of = (seed, name)
        self._weights = tuple(weights)
        self._slice_ns = slice_ns
        self._last = (-1, 0)

    def arm(self, ts: int) -> int:
        """Return the arm of a time, ns."""
        number, arm = ts // self._slice_ns, self._last[1]
        if number != self._last[0]:
            arm = arm_of(*self._of, str(number), self._weights)
            self._last = (number, arm)
        return arm


class InTurn:
    """A strategy that hears one arm of a split by time.

    In its turn it does what it wants. Out of it, it may still close what the arm holds, and cancel:
    what was bought in one slice is not left alone in the next.

    Args:
        strategy: what it stands for.
        mine: says whether a time is in the arm's turn.
    """

    def __init__(self, strategy: Strategy, mine: Callable[[int], bool]) -> None:
        self._strategy = strategy
        self._mine = mine
        self.name = strategy.name
        self.HEARS_HOLDS = bool(getattr(strategy, "HEARS_HOLDS", False))

    @property
    def index(self) -> int:
        """The strategy's own."""
        return self._strategy.index

    @index.setter
    def index(self, value: int) -> None:
        self._strategy.index = value

    def decide(self, view: View) -> tuple[Intent, ...]:
        """Return what the strategy wants, as far as it may."""
        if self._mine(view.signal.ts):
            return self._strategy.decide(view)
        if view.position_lot == 0 and not view.orders:
            return ()
        return tuple(one for one in self._strategy.decide(view) if _reduces(one))


def _reduces(intent: Intent) -> bool:
    if isinstance(intent, Place):
        return intent.purpose != ENTRY
    return isinstance(intent, Cancel)
