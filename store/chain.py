"""Read files that follow one another in time one at a time, not all at once.

A merge holds a batch of every stream, and its file open: fine for three files, not for the hourly
parts of a year. Files between which no time is shared need no merge.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

import numpy as np

from store.merge import merge


class Learnt(Protocol):
    """What the first pass found of a file (store/feeds.py)."""

    rows: int
    first_key: int
    highest: int


class Timed(Protocol):
    """A feed that was read once."""

    learnt: Learnt


def one_after_other(
    feeds: Sequence[Timed], rows_of: Callable[[Timed], Iterator[np.ndarray]]
) -> Iterator[np.ndarray]:
    """Yield what a merge of all feeds yields, with those open that share a time.

    Args:
        feeds: of one instrument and kind, in order of `first_key`.
        rows_of: opens one.
    """
    for group in groups(feeds):
        streams = [rows_of(one) for one in group]
        yield from merge(streams) if len(streams) > 1 else streams[0]


def groups(feeds: Sequence[Timed]) -> Iterator[list[Timed]]:
    """Yield the feeds in groups: each begins when all before have ended."""
    group: list[Timed] = []
    highest = 0
    for one in feeds:
        if one.learnt.rows == 0:
            continue
        if group and one.learnt.first_key >= highest:
            yield group
            group = []
        group.append(one)
        highest = max(highest, one.learnt.highest)
    if group:
        yield group
