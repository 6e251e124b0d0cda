"""What a recipe is given: feature rows in the order of the tape, with the market beside them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np


class FeatureRows(Protocol):
    """Rows that the trading kernel itself wrote while it ran over a tape; arrays of length n."""

    ts: np.ndarray  # int64 ns, kernel time of the decision, non-decreasing
    instrument: np.ndarray  # uint16, index on the tape
    x: np.ndarray  # float32[n, F]
    valid: np.ndarray  # bool, every feature warm and finite
    bid: np.ndarray  # float64
    ask: np.ndarray
    bar_open: np.ndarray  # float64, the bar that has just closed; NaN before the first
    bar_high: np.ndarray
    bar_low: np.ndarray
    bar_close: np.ndarray
    bar_volume: np.ndarray


@dataclass(frozen=True)
class Source:
    """Where rows come from, for metadata and card.

    Attributes:
        name: what to call the data set.
        sha256: its content identity.
        note: one sentence that the card repeats, empty for real data.
    """

    name: str
    sha256: str
    note: str = ""


@dataclass(frozen=True)
class Samples:
    """Labelled rows, sorted by time.

    Attributes:
        ts: int64[n] ns, when the decision is due.
        end_ts: int64[n] ns, when its label is known.
        x: float32[n, F].
        label: int64[n], 0 SELL, 1 HOLD, 2 BUY.
        long_return: float64[n], fraction gained by a buyer until the label's end, before costs.
        short_return: float64[n], the same for a seller.
    """

    ts: np.ndarray
    end_ts: np.ndarray
    x: np.ndarray
    label: np.ndarray
    long_return: np.ndarray
    short_return: np.ndarray

    def __len__(self) -> int:
        return len(self.ts)

    def take(self, index: np.ndarray) -> "Samples":
        """Return the chosen rows, in the order of `index`."""
        return Samples(
            self.ts[index],
            self.end_ts[index],
            np.ascontiguousarray(self.x[index]),
            self.label[index],
            self.long_return[index],
            self.short_return[index],
        )


def join(parts: Sequence[Samples]) -> Samples:
    """Merge the samples of several instruments by time; equal times keep the order of `parts`."""
    fields = [
        np.concatenate([getattr(part, name) for part in parts])
        for name in ("ts", "end_ts", "x", "label", "long_return", "short_return")
    ]
    return Samples(*fields).take(np.argsort(fields[0], kind="stable"))
