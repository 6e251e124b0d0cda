"""Quoted spread in price: ask - bid, in units of the quote currency."""

from features.registry import feature, quotes
from features.step import NAN, Record, step


@step
def value(s: Record, m: Record) -> float:
    """Return the spread of the quote in force."""
    return m["ask"] - m["bid"] if m["quote_count"] > 0 else NAN


feature(
    "spread_absolute",
    value=value,
    warmup=quotes(1),
    group="book",
    unit="price",
    range="above 0",
    source="quoted spread: Huang and Stoll, Dealer Versus Auction Markets (1996)",
    inputs=("quotes",),
)
