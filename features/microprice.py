"""Deviation of the microprice from mid, in basis points of mid.

microprice = (bid * ask_size + ask * bid_size) / (bid_size + ask_size), the mid weighted by the
opposite sizes. 0 where both sizes are zero; NaN where the data has no sizes.
"""

from features.registry import feature, quotes
from features.step import NAN, Record, ratio, step


@step
def value(s: Record, m: Record) -> float:
    """Return the deviation; it lies within half the spread."""
    if m["quote_count"] < 1:
        return NAN
    imbalance = ratio(m["bid_size"] - m["ask_size"], m["bid_size"] + m["ask_size"], 0.0)
    return 1e4 * ratio(0.5 * (m["ask"] - m["bid"]) * imbalance, abs(m["mid"]), 0.0)


feature(
    "microprice",
    value=value,
    warmup=quotes(1),
    group="book",
    unit="basis points of mid",
    range="-spread / 2 to spread / 2",
    source="size-weighted mid: Gatheral and Oomen (2010); Stoikov, The Micro-Price (2018)",
    inputs=("quotes", "quote_sizes"),
)
