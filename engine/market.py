"""The market state of one instrument, as the kernel keeps it and as features read it.

Features are jitted functions `step(s, m)` over their own state record `s` and this record `m`. The
kernel has brought `m` up to date with the row before it calls them. Times are int64 ns, prices and
sizes float64 in quote and base units, NaN where the data set does not have the value.
"""

import numpy as np

BOOK_SLOTS = 1 << 16  # levels kept a side, by price tick modulo this; a power of two
TOP_LEVELS = 10  # levels gathered for features that read the book's depth

CLOSED_BAR = np.dtype(
    [  # the fields of MARKET that say of the last closed bar, see there
        *((name, "f8") for name in ("bar_open", "bar_high", "bar_low", "bar_close")),
        *((name, "f8") for name in ("bar_volume", "bar_buy_volume", "bar_sell_volume")),
        *((name, "i8") for name in ("bar_ts", "bar_interval_ns", "bar_count", "bar_filled")),
    ],
    align=True,
)
MARKET = np.dtype(
    [
        # time and rules
        ("ts", "i8"),  # kernel time of the row: running maximum of ts_recv
        ("ts_event", "i8"),  # the row's own event time
        ("now", "i8"),  # kernel time at which `value` functions are read
        ("tick", "f8"),  # price increment
        ("lot", "f8"),  # size increment
        # touch: the quote in force. Crossed, non-finite and non-positive quotes never get here
        ("bid", "f8"),
        ("ask", "f8"),
        ("bid_size", "f8"),
        ("ask_size", "f8"),
        ("mid", "f8"),
        ("prev_bid", "f8"),  # the touch before the last update of it
        ("prev_ask", "f8"),
        ("prev_bid_size", "f8"),
        ("prev_ask_size", "f8"),
        ("prev_mid", "f8"),
        ("quote_ts", "i8"),  # kernel time of the last touch update
        ("quote_count", "i8"),  # touch updates seen; 1 at the first call of on_quote
        # last market trade
        ("trade_price", "f8"),
        ("trade_size", "f8"),
        ("trade_side", "f8"),  # +1.0 buyer was the aggressor, -1.0 seller, 0.0 unknown
        ("trade_ts", "i8"),
        ("trade_count", "i8"),  # market trades since the last gap
        # the bar that has just closed (on_bar), volumes in base units
        ("bar_open", "f8"),
        ("bar_high", "f8"),
        ("bar_low", "f8"),
        ("bar_close", "f8"),
        ("bar_volume", "f8"),
        ("bar_buy_volume", "f8"),  # aggressor volumes; NaN where the data set has bars only
        ("bar_sell_volume", "f8"),
        ("bar_ts", "i8"),  # open time
        ("bar_interval_ns", "i8"),
        ("bar_count", "i8"),  # bars closed so far; 1 at the first call of on_bar
        ("bar_filled", "i8"),  # 1 when nothing traded in the bar (flat at the last close)
        # level-two book, filled where depth exists: best first; the gathered levels are fresh only
        # while `value` functions run (`on_depth` may read the touch and the book arrays)
        ("depth_count", "i8"),  # packets since the book was last torn or crossed; 0 while it is
        ("levels", "i8"),  # levels gathered below on the thinner side
        ("bid_prices", "f8", (TOP_LEVELS,)),
        ("bid_sizes", "f8", (TOP_LEVELS,)),
        ("ask_prices", "f8", (TOP_LEVELS,)),
        ("ask_sizes", "f8", (TOP_LEVELS,)),
        ("best_bid_tick", "i8"),
        ("best_ask_tick", "i8"),
        ("bid_book", "i8"),  # addresses of float64[BOOK_SLOTS] sizes by price tick, kernel/book.py
        ("ask_book", "i8"),
        # the instrument that this one is paired with (`engine.pairs`), as on_peer_bar sees it
        ("peer", "i8"),  # 1 + its place on the tape, 0 for none
        ("peer_bar_ts", "i8"),
        ("peer_bar_interval_ns", "i8"),
        ("peer_bar_close", "f8"),
        ("peer_bar_volume", "f8"),
        ("peer_mid", "f8"),  # when that bar closed; NaN where there are no quotes
        ("peer_gap_count", "i8"),
        # what went wrong
        ("gap_count", "i8"),  # gaps and disconnects so far
        ("stale", "i8"),  # 1 between a gap or disconnect and the next good update
        ("window_overflows", "i8"),  # a feature's time window was larger than its ring
        ("own", "i8"),  # address of the OWN record while a slot that reads one is read, else 0
    ],
    align=True,
)
