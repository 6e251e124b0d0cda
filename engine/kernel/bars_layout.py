"""The record of growing bars: an instrument's base bars, or one of its further bars."""

from enum import IntEnum

import numpy as np

from engine.market import CLOSED_BAR

BARS = np.dtype(
    [  # two bars grow at once: trades of the next may come before the grace of this one ends
        ("mode", "i8"),  # BarMode
        ("end", "i8"),  # end of the current bar, 0 before the first print
        ("open", "f8", (3,)),  # the current, the next, and what BAR rows have made of the current
        ("high", "f8", (3,)),
        ("low", "f8", (3,)),
        ("close", "f8", (3,)),
        ("volume", "f8", (3,)),  # exact sums: whole units, and 1e-8 of a unit beside them
        ("volume_part", "f8", (3,)),
        ("buy", "f8", (3,)),
        ("buy_part", "f8", (3,)),
        ("sell", "f8", (3,)),
        ("sell_part", "f8", (3,)),
        ("prints", "i8", (3,)),
        ("last_close", "f8"),
        ("flat", "i8"),  # empty bars in a row
        ("in_gap", "i8"),
        ("row_interval_ns", "i8"),  # of BAR rows on the tape
        ("whole_from", "i8"),  # prints before the last gap's end were not seen
        ("interval_ns", "i8"),  # of bars by time
        # further bars only (engine/kernel/series.py)
        ("kind", "i8"),  # BarKind
        ("size", "i8"),  # of bars by count: trades, else 1e-8 of base or quote units
        ("filled", "i8"),  # of it, since the last bar
        ("opened_ts", "i8"),  # event times of the first and the last print of a bar by count
        ("last_ts", "i8"),
        ("by_rows", "i8"),  # 1: the current bar is made of BAR rows, and no timer closes it
        ("rows_from", "i8"),  # open time of the first BAR row since the start or a gap
        ("late", "i8"),  # prints that came after the bar of their time had closed
        ("shown", CLOSED_BAR),  # the last closed bar, while the market record shows another
    ],
    align=True,
)


class BarMode(IntEnum):
    """Where an instrument's bars come from."""

    NONE = 0
    TRADES = 1
    MIDS = 2  # no trades in the data: mids, and quote counts as volume
    ROWS = 3  # BAR rows
