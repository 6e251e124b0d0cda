"""The last closed bar's fields, copied out of the market record and back into it.

Features read bars in the market record. Those of further bars are shown there while their features
look, and the base bar is put back after that.
"""

from numba import njit


@njit
def keep_bar(kept, m):  # type: ignore[no-untyped-def]
    """Copy the bar that the market record shows into a CLOSED_BAR."""
    kept["bar_open"] = m["bar_open"]
    kept["bar_high"] = m["bar_high"]
    kept["bar_low"] = m["bar_low"]
    kept["bar_close"] = m["bar_close"]
    kept["bar_volume"] = m["bar_volume"]
    kept["bar_buy_volume"] = m["bar_buy_volume"]
    kept["bar_sell_volume"] = m["bar_sell_volume"]
    kept["bar_ts"] = m["bar_ts"]
    kept["bar_interval_ns"] = m["bar_interval_ns"]
    kept["bar_count"] = m["bar_count"]
    kept["bar_filled"] = m["bar_filled"]


@njit
def show_kept(kept, m):  # type: ignore[no-untyped-def]
    """Let the market record show a kept bar."""
    keep_bar(m, kept)
