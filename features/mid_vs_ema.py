"""Distance of mid to its exponential mean over touch updates, in basis points.

10,000 * (mid - EMA) / |EMA|; the mean has alpha = 2 / (span + 1), advances with each touch update
and is seeded with the mean of the first `span` mids. 0 where the mean is zero.
"""

from features.registry import feature, quotes
from features.smoothing import EMA, ema_init, ema_step
from features.step import Record, relative, step, usable


@step
def init(s: Record, span: int) -> None:
    """Start with an empty mean."""
    ema_init(s, span)


@step
def on_quote(s: Record, m: Record) -> None:
    """Advance the mean by mid."""
    if usable(m["mid"]):
        ema_step(s, m["mid"])


@step
def value(s: Record, m: Record) -> float:
    """Return the distance of mid to the mean."""
    return 1e4 * relative(m["mid"], s["value"])


feature(
    "mid_vs_ema_{span}",
    state=EMA,
    defaults={"span": 20},
    init=init,
    on_quote=on_quote,
    value=value,
    warmup=lambda p: quotes(int(p["span"])),
    group="book",
    unit="basis points",
    range="about -20 to 20",
    source="EMA: TA-Lib ta_EMA (default compatibility)",
    inputs=("quotes",),
)
