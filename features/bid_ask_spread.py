"""Quoted spread: 10,000 * (ask - bid) / mid, in basis points."""

from features.registry import feature, quotes
from features.step import NAN, Record, ratio, step


@step
def value(s: Record, m: Record) -> float:
    """Return the spread of the quote in force."""
    if m["quote_count"] < 1:
        return NAN
    return 1e4 * ratio(m["ask"] - m["bid"], abs(m["mid"]), 0.0)


feature(
    "bid_ask_spread",
    value=value,
    warmup=quotes(1),
    group="book",
    unit="basis points of mid",
    range="0 or more",
    source="quoted relative spread",
    inputs=("quotes",),
)
