"""What a strategy sees: the market, the advice, what its owner holds. Nothing can be changed."""

from collections.abc import Mapping

import numpy as np

from engine.events import Signal
from engine.money import Grid
from engine.orders import Order


class View:
    """The world at one wake, for one instrument and one owner.

    Prices are in ticks, sizes in lots; `grid` converts. `features` is the row the signal was made
    from, a view that is valid until the decision ends.
    """

    __slots__ = (
        "ask_tick",
        "bid_tick",
        "closing_lot",
        "features",
        "grid",
        "instrument",
        "market",
        "model",
        "now",
        "orders",
        "position_lot",
        "row",
        "signal",
        "signals",
    )

    now: int  # kernel time, ns
    row: int  # tape row
    instrument: int
    model: int  # owner of what is decided here: a model's index, -1 for none
    signal: Signal
    signals: Mapping[tuple[int, int], Signal]  # latest by (model, instrument)
    bid_tick: int
    ask_tick: int
    grid: Grid
    position_lot: int  # the owner's
    closing_lot: int  # lots that the owner's orders on their way will close
    orders: Mapping[int, Order]  # open orders by id
    market: np.void  # MARKET record, read-only
    features: np.ndarray  # float32[n]

    @property
    def mid_tick(self) -> float:
        """Mid price in ticks."""
        return 0.5 * (self.bid_tick + self.ask_tick)

    @property
    def age_ns(self) -> int:
        """Age of the signal."""
        return self.now - self.signal.ts
