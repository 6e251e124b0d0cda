"""Average directional index: Wilder mean of DX = 100 * |DI+ - DI-| / (DI+ + DI-).

The mean is seeded with the first `span` values of DX. Where both indicators are zero DX is not
defined: it counts as 0 in the seed and leaves the mean unchanged later, as in TA-Lib.
"""

import numpy as np

from features.directional import DIRECTIONAL, directional_init, directional_step
from features.registry import bars, feature
from features.smoothing import EMA, ema_step, wilder_init
from features.step import Record, step

STATE = np.dtype([("movement", DIRECTIONAL), ("dx", EMA)], align=True)


@step
def init(s: Record, span: int) -> None:
    """Start before the first bar."""
    directional_init(s["movement"], span)
    wilder_init(s["dx"], span)


@step
def on_bar(s: Record, m: Record) -> None:
    """Advance the movement, then the mean of DX."""
    moved = s["movement"]
    if directional_step(moved, m) and moved["count"] > moved["span"]:
        total = moved["plus"] + moved["minus"]
        if total > 0.0 and moved["range"] > 0.0:
            ema_step(s["dx"], 100.0 * (abs(moved["plus"] - moved["minus"]) / total))
        elif s["dx"]["count"] < s["dx"]["span"]:
            ema_step(s["dx"], 0.0)


@step
def value(s: Record, m: Record) -> float:
    """Return the index, 0 (no trend) to 100."""
    return s["dx"]["value"]


feature(
    "adx_{span}",
    state=STATE,
    defaults={"span": 14},
    bounds={"span": (2, 10_000)},
    init=init,
    on_bar=on_bar,
    value=value,
    warmup=lambda p: bars(2 * int(p["span"])),
    group="momentum",
    unit="index",
    range="0 to 100",
    source="Wilder, New Concepts in Technical Trading Systems (1978); TA-Lib ADX",
    inputs=("bars",),
)
