"""The intents that strategies share: an entry, an exit."""

from engine.events import Place, Purpose
from engine.view import View

ENTRY, EXIT = int(Purpose.ENTRY), int(Purpose.EXIT)


def touch_of(view: View, side: int) -> int:
    """Return the price that a market order of this side meets, in ticks."""
    return view.ask_tick if side > 0 else view.bid_tick


def entry(
    view: View, side: int, qty_lot: int, reason: str, protect: tuple[float, float] = (0.0, 0.0)
) -> Place:
    """Return a market order that opens or adds.

    Args:
        protect: distances of stop and target from the touch as shares; 0 lays none.
    """
    price, (stop, profit) = touch_of(view, side), protect
    return Place(
        instrument=view.instrument,
        side=side,
        qty_lot=qty_lot,
        purpose=ENTRY,
        signal_id=view.signal.signal_id,
        signal_ts=view.signal.ts,
        owners=view.owners,
        stop_loss_tick=round(price * (1.0 - side * stop)) if stop > 0.0 else 0,
        take_profit_tick=round(price * (1.0 + side * profit)) if profit > 0.0 else 0,
        reason=reason,
    )


def leave(view: View, qty_lot: int, reason: str) -> Place:
    """Return a market order that closes so many lots of what is held."""
    return Place(
        instrument=view.instrument,
        side=-1 if view.position_lot > 0 else 1,
        qty_lot=qty_lot,
        purpose=EXIT,
        signal_id=view.signal.signal_id,
        signal_ts=view.signal.ts,
        owners=view.owners,
        reason=reason,
    )


def free_lot(view: View) -> int:
    """Return the lots that are held and that no order on its way closes already, without sign."""
    return max(0, abs(view.position_lot) - view.closing_lot)
