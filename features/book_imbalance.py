"""Imbalance of the sizes at the touch: (bid_size - ask_size) / (bid_size + ask_size).

0 where both sizes are zero; NaN where the data has no sizes.
"""

from features.registry import feature, quotes
from features.step import NAN, Record, ratio, step


@step
def value(s: Record, m: Record) -> float:
    """Return the imbalance of the quote in force, -1 (only asks) to 1 (only bids)."""
    if m["quote_count"] < 1:
        return NAN
    return ratio(m["bid_size"] - m["ask_size"], m["bid_size"] + m["ask_size"], 0.0)


feature(
    "book_imbalance",
    value=value,
    warmup=quotes(1),
    group="book",
    unit="fraction",
    range="-1 to 1",
    source="queue imbalance: Gould and Bonart, Queue Imbalance as a One-Tick-Ahead Price "
    "Predictor in a Limit Order Book (2016)",
    inputs=("quotes", "quote_sizes"),
)
