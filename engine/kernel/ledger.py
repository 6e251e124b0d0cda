"""The records behind the books: grids, wallets, who holds what, and the orders that stand open.

Money is int64 in minor units (1e-8), prices are ticks, sizes lots. A book is one owner's position
in one instrument; owner -1 is nobody (a strategy without a model), and the book of an owner stands
at `(owner + 1) * n_instruments + instrument`.
"""

import numpy as np

from engine.limits import MAX_MODELS

GRID = np.dtype(
    [  # what one instrument's prices and sizes mean in money
        ("tick", "f8"),
        ("num", "i8"),  # minor units of one tick times one lot, as a fraction num / den
        ("den", "i8"),
        ("lot_minor", "i8"),  # minor units of the base currency in one lot
        ("base", "i8"),  # places of the currencies among the wallets
        ("quote", "i8"),
    ],
    align=True,
)

WALLET = np.dtype(
    [("total", "i8"), ("locked", "i8"), ("fees", "i8"), ("realized", "i8")],
    align=True,
)

BOOK = np.dtype(
    [
        ("position_lot", "i8"),
        ("cost", "i8"),  # signed like the position
        ("realized", "i8"),  # before fees
        ("fees", "i8"),
        ("closing_lot", "i8"),  # lots that orders on their way will close
        ("opening_buy_lot", "i8"),  # lots that buys and sells on their way will open
        ("opening_sell_lot", "i8"),
        ("legs", "i8"),  # protective legs that stand: their trimming is Python's
        ("used", "i8"),  # 1 once anything was booked or promised
        ("peak", "f8"),  # of the result after fees, as marked, minor units
        ("drawdown", "f8"),  # the largest fall from the peak
        ("trip_from", "i8"),  # result after fees when the position was last flat
    ],
    align=True,
)

LEDGER = np.dtype(
    [  # one open order of one owner
        ("order_id", "i8"),
        ("open", "i8"),  # 1 while it stands
        ("state", "i8"),  # OrderState
        ("intent_id", "i8"),
        ("instrument", "i8"),
        ("owner", "i8"),
        ("strategy", "i8"),
        ("side", "i8"),
        ("order_type", "i8"),
        ("qty_lot", "i8"),
        ("filled_lot", "i8"),
        ("price_tick", "i8"),
        ("purpose", "i8"),
        ("signal_id", "i8"),
        ("opening_lot", "i8"),  # lots that open exposure when they fill; the closing ones go first
        ("closing_lot", "i8"),
        ("worst_tick", "i8"),  # worst price it may fill at: what the reserve is counted with
        ("locked", "i8"),
        ("rests", "i8"),
        ("stop_tick", "i8"),
        ("profit_tick", "i8"),
        ("collar_low", "i8"),
        ("collar_high", "i8"),
    ],
    align=True,
)

DESK = np.dtype(
    [  # counters of the desk, and how it works
        ("fast", "i8"),  # 1: orders of one owner are handled by the kernel alone
        ("paper_latency_ns", "i8"),  # from approval to the paper venue's book; -1: another venue
        ("tell", "i8"),  # 1: somebody listens to fills, so Python must see each
        ("maker_rate", "i8"),  # fees in 1e-8 of the notional
        ("taker_rate", "i8"),
        ("max_rate", "i8"),
        ("intents", "i8"),
        ("approved", "i8"),
        ("reduced", "i8"),
        ("orders", "i8"),
        ("fills", "i8"),
        ("rejects", "i8"),
        ("next_order", "i8"),
        ("ledger_high", "i8"),  # places from here on are free
        ("ledger_open", "i8"),  # places that are taken
        ("legs_promised", "i8"),  # protective legs that open orders will bring
        ("legs_standing", "i8"),  # as Python last said
        ("blocked", "i8", (32,)),  # by bit of Block
        ("may_trade", "i8", (MAX_MODELS,)),
        ("losses", "i8", (MAX_MODELS + 1,)),  # by owner + 1: round trips lost in a row
    ],
    align=True,
)
