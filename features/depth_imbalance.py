"""Imbalance of the sizes in the best `levels` levels: (bids - asks) / (bids + asks).

Levels that the book does not have count as empty; 0 where all are. Needs the depth of the book.
"""

import numpy as np

from engine.market import TOP_LEVELS
from features.registry import Warmup, feature
from features.step import NAN, Record, ratio, step

STATE = np.dtype([("levels", "i8")])


@step
def init(s: Record, levels: int) -> None:
    """Keep the number of levels."""
    s["levels"] = levels


@step
def value(s: Record, m: Record) -> float:
    """Return the imbalance, -1 (only asks) to 1 (only bids)."""
    if m["depth_count"] < 1:
        return NAN
    bids = 0.0
    asks = 0.0
    for k in range(s["levels"]):
        bids += m["bid_sizes"][k]
        asks += m["ask_sizes"][k]
    return ratio(bids - asks, bids + asks, 0.0)


feature(
    "book_imbalance_{levels}",
    state=STATE,
    defaults={"levels": 5},
    bounds={"levels": (1, TOP_LEVELS)},
    init=init,
    value=value,
    warmup=Warmup(1, "depth"),
    group="book",
    unit="fraction",
    range="-1 to 1",
    source="depth imbalance: Cao, Hansch and Wang, The Information Content of an Open Limit-Order "
    "Book (2009)",
    inputs=("levels",),
)
