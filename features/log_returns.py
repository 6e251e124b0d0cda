"""Logarithmic return of the close over `span` bars: ln(close_t / close_{t-span})."""

from features.bar_closes import close_back, init, keep_close, state_and_one
from features.log_price import log_ratio
from features.registry import bars, feature
from features.step import Record, step


@step
def on_bar(s: Record, m: Record) -> None:
    """Take the change over the ring of closes."""
    if keep_close(s, m):
        s["value"] = log_ratio(m["bar_close"], close_back(s, s["closes"].size - 1))


@step
def value(s: Record, m: Record) -> float:
    """Return the logarithmic return."""
    return s["value"]


feature(
    "log_returns_{span}",
    state=state_and_one,
    defaults={"span": 1},
    init=init,
    on_bar=on_bar,
    value=value,
    warmup=lambda p: bars(int(p["span"]) + 1),
    group="price and trend",
    unit="logarithm",
    range="about -0.1 to 0.1",
    source="log return: Campbell, Lo and MacKinlay, The Econometrics of Financial Markets (1997)",
    inputs=("bars",),
)
