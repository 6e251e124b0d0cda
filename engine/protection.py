"""Protective legs: what a stop or target watches, and how much of it is left."""

from collections.abc import Callable
from copy import copy

from engine.orders import Order


class Leg:
    """The lots that one entry opened for one owner, with the prices that protect them."""

    __slots__ = (
        "instrument",
        "owner",
        "place",
        "profit_tick",
        "qty_lot",
        "side",
        "signal_id",
        "stop_tick",
        "strategy",
        "trigger_id",
    )

    def __init__(self, trigger_id: int, order: Order, owner: int) -> None:
        self.trigger_id = trigger_id
        self.place = -1  # of its trigger in the kernel
        self.owner = owner
        self.instrument = order.instrument
        self.side = order.side
        self.qty_lot = 0
        self.stop_tick = order.stop_loss_tick
        self.profit_tick = order.take_profit_tick
        self.signal_id = order.signal_id
        self.strategy = order.strategy


class Protection:
    """Keeps the legs of each owner and position in step with the kernel's triggers.

    Args:
        protect: lays a trigger: (id, instrument, side, stop tick, profit tick) -> place or -1.
        unprotect: removes one by id.
        count: told of every leg laid or taken away: (owner, instrument, +1 or -1).
        measure: told how many lots a trigger protects: (place, lots).
    """

    def __init__(
        self,
        protect: Callable[[int, int, int, int, int], int],
        unprotect: Callable[[int], int],
        count: Callable[[int, int, int], None],
        measure: Callable[[int, int], None],
    ) -> None:
        self._count = count
        self._measure = measure
        self._protect = protect
        self._unprotect = unprotect
        self._next = 0
        self.legs: dict[int, Leg] = {}
        self._of_order: dict[tuple[int, int], int] = {}
        self._exits: dict[int, Leg] = {}  # intent id of the exit -> the leg it closes

    def cover(self, order: Order, owner: int, lots: int) -> None:
        """Protect what an entry has opened; later fills of the order join its leg."""
        trigger_id = self._of_order.get((order.order_id, owner))
        if trigger_id is not None and trigger_id in self.legs:
            self._resize(self.legs[trigger_id], self.legs[trigger_id].qty_lot + lots)
            return
        leg = Leg(self._next, order, owner)
        self._next += 1
        leg.qty_lot = lots
        self._of_order[(order.order_id, owner)] = leg.trigger_id
        self._lay(leg)

    @property
    def standing(self) -> int:
        """Legs that are watched, and those that an exit may bring back."""
        return len(self.legs) + len(self._exits)

    def _lay(self, leg: Leg) -> None:
        """Watch a leg; with all places taken its lots join another leg of the same position."""
        at = self._protect(leg.trigger_id, leg.instrument, leg.side, leg.stop_tick, leg.profit_tick)
        if at >= 0:
            leg.place = at
            self._resize(leg, leg.qty_lot)
            self.legs[leg.trigger_id] = leg
            self._count(leg.owner, leg.instrument, 1)
            return
        others = [other for other in self._of(leg.owner, leg.instrument) if other.side == leg.side]
        assert others, "more protective triggers than the kernel has places"
        self._resize(others[0], others[0].qty_lot + leg.qty_lot)

    def _resize(self, leg: Leg, lots: int) -> None:
        leg.qty_lot = lots
        self._measure(leg.place, lots)

    def _of(self, owner: int, instrument: int) -> list[Leg]:
        """Return the legs of one position, oldest first."""
        return [
            leg for leg in self.legs.values() if leg.owner == owner and leg.instrument == instrument
        ]

    def trim(self, owner: int, instrument: int, position_lot: int) -> None:
        """Shorten an owner's legs to what is still held, oldest first.

        Args:
            position_lot: the owner's position, signed; legs of the other side protect nothing more.
        """
        mine = self._of(owner, instrument)
        held = [leg for leg in mine if leg.side * position_lot > 0]
        excess = sum(leg.qty_lot for leg in held) - abs(position_lot)
        for leg in mine:
            cut = min(max(0, excess), leg.qty_lot) if leg.side * position_lot > 0 else leg.qty_lot
            self._resize(leg, leg.qty_lot - cut)
            if leg.side * position_lot > 0:
                excess -= cut
            if leg.qty_lot == 0:
                self._unprotect(leg.trigger_id)
                self._forget(leg)

    def _forget(self, leg: Leg) -> None:
        del self.legs[leg.trigger_id]
        self._count(leg.owner, leg.instrument, -1)
        stale = [key for key, trigger in self._of_order.items() if trigger == leg.trigger_id]
        for key in stale:
            del self._of_order[key]

    def fired(self, trigger_id: int) -> Leg | None:
        """Take the leg whose trigger fired; None when it was closed in the meantime."""
        leg = self.legs.get(trigger_id)
        if leg is not None:
            self._forget(leg)
        return leg

    def keep(self, leg: Leg, lots: int) -> None:
        """Go on watching lots of a leg that fired: another order is closing them already."""
        rest = copy(leg)
        rest.qty_lot = lots
        rest.trigger_id = self._next
        self._next += 1
        self._lay(rest)

    def exiting(self, intent_id: int, leg: Leg) -> None:
        """Remember which intent closes a leg, until `closed` or `again`."""
        self._exits[intent_id] = leg

    def closed(self, intent_id: int) -> None:
        """Forget a leg whose exit is done."""
        self._exits.pop(intent_id, None)

    def again(self, intent_id: int, lots: int = 0) -> None:
        """Watch again what an exit could not close: it was blocked, or the venue sent it back."""
        leg = self._exits.pop(intent_id, None)
        if leg is None:
            return
        if lots > 0:
            leg.qty_lot = lots
        leg.trigger_id = self._next
        self._next += 1
        self._lay(leg)
