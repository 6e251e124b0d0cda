"""`run_live.py` with a test's strategy beside the others: market orders, resting ones, cancels.

Run as `python -m tests.app.lively` with run_live.py's words.
"""

import sys
import time

import run_live
from app.command_line import run
from engine.events import Cancel, OrderType, Place, Purpose
from strategies.registry import strategy

STALL_S = 0.8  # longer than an approved order may be old


@strategy("lively")
class Lively:
    """Does something at every decision; what it does follows from how many there were.

    Args:
        size_quote: of an entry.
        pause: decisions between two actions.
        stall_at: this decision and the next one take long; 0 for none.
    """

    PARAMS = {"size_quote": 400.0, "pause": 1, "stall_at": 0}
    FEATURES = ("mid_price_velocity_1s",)
    CADENCE = "every:250ms"
    name: str

    def __init__(self, **params) -> None:
        self.size_quote = float(params["size_quote"])
        self.pause = int(params["pause"])
        self.stall_at = int(params["stall_at"])
        self._count = 0

    def decide(self, view):
        self._count += 1
        if self.stall_at and self._count in (self.stall_at, self.stall_at + 1):
            time.sleep(STALL_S)
        step, off = divmod(self._count, self.pause)
        if off:
            return ()
        size = view.grid.lots(self.size_quote, view.ask_tick)
        signal = {"signal_id": view.signal.signal_id, "signal_ts": view.signal.ts}
        held = view.position_lot - view.closing_lot
        resting = [o for o in view.orders.values() if o.instrument == view.instrument and o.rests]
        if step % 5 == 4 and resting:
            return (Cancel(resting[0].order_id),)
        if step % 5 == 2 and held > 0:
            return (
                Place(instrument=view.instrument, side=-1, qty_lot=held,
                      order_type=int(OrderType.MARKET), purpose=int(Purpose.EXIT), **signal),
            )  # fmt: skip
        if step % 5 in (1, 3) and len(resting) < 6:
            price = view.bid_tick - (0 if step % 10 == 1 else 40 + step % 7)
            if step % 20 == 3:  # one that the venue must refuse
                price = view.ask_tick + 30
            return (
                Place(instrument=view.instrument, side=1, qty_lot=size + step % 11,
                      order_type=int(OrderType.POST_ONLY), price_tick=price, **signal),
            )  # fmt: skip
        return (
            Place(instrument=view.instrument, side=1, qty_lot=size + step % 13,
                  order_type=int(OrderType.MARKET), **signal),
        )  # fmt: skip


if __name__ == "__main__":
    sys.exit(run("run_live.py", run_live.main))
