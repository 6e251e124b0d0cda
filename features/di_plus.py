"""Plus directional indicator: 100 * smoothed +DM / smoothed true range.

+DM is the rise of the high where it exceeds the fall of the low, else 0. Both are summed by
Wilder's recursion over `span` bars. 0 where nothing ever moved.
"""

from features.directional import (
    DIRECTIONAL,
    directional_index,
    directional_init,
    directional_step,
)
from features.registry import bars, feature
from features.step import Record, step


@step
def init(s: Record, span: int) -> None:
    """Start before the first bar."""
    directional_init(s, span)


@step
def on_bar(s: Record, m: Record) -> None:
    """Advance by one bar."""
    directional_step(s, m)


@step
def value(s: Record, m: Record) -> float:
    """Return the indicator, 0 to 100."""
    return directional_index(s, s["plus"])


feature(
    "di_plus",
    state=DIRECTIONAL,
    defaults={"span": 14},
    bounds={"span": (2, 10_000)},
    init=init,
    on_bar=on_bar,
    value=value,
    warmup=lambda p: bars(int(p["span"]) + 1),
    group="momentum",
    unit="index",
    range="0 to 100",
    source="Wilder, New Concepts in Technical Trading Systems (1978); TA-Lib PLUS_DI",
    inputs=("bars",),
)
