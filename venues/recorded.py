"""The venue of a live run's replay: answers are the tape's rows; submits must be the journal's."""

from collections.abc import Collection, Mapping, Sequence

from engine.account_state import AccountOrder
from engine.errors import RunError
from engine.events import OrderType
from engine.instruments import Instrument
from engine.orders import Approved, Order
from engine.wire_order import wire_order

FIELDS = ("symbol", "side", "type", "size", "price", "limit on the wire", "purpose")


class Recorded:
    """Compares each order with the intent that the live run journalled.

    Args:
        journalled: the run's orders by their number.
        symbols: of the account's markets by their reference.
        unsent: orders that the tape says were not sent: these need no intent.
        tag: of the run.
        instruments: by the tape's index.
    """

    def __init__(
        self,
        journalled: Mapping[int, AccountOrder],
        symbols: Mapping[int, str],
        unsent: Collection[int],
        tag: str,
        instruments: Sequence[Instrument],
    ) -> None:
        self._journalled = journalled
        self._symbols = symbols
        self._unsent = frozenset(unsent)
        self._tag = tag
        self._instruments = tuple(instruments)
        self._last = max(journalled, default=-1)
        self.submits = 0
        self._seen: set[int] = set()

    def submit(self, approved: Approved) -> None:
        """Compare an order with its intent.

        Raises:
            RunError: the live run sent another order, or none.
        """
        order = approved.order
        number = order.order_id
        self.submits += 1
        told = self._journalled.get(number)
        if told is None:
            if number not in self._unsent and number < self._last:
                raise RunError(f"the replay differs: order {number} is not in the journal")
            return
        self._seen.add(number)
        wire = wire_order(approved, self._tag, self._instruments[order.instrument].symbol)
        ours = (
            wire.symbol, wire.side, OrderType(wire.order_type).name, wire.qty_lot,
            order.price_tick, wire.wire_tick, order.purpose,
        )  # fmt: skip
        theirs = (
            self._symbols[told.ref], told.side, OrderType(told.order_type).name, told.qty_lot,
            told.price_tick, told.wire_tick, told.purpose,
        )  # fmt: skip
        for name, here, there in zip(FIELDS, ours, theirs, strict=True):
            if here != there:
                raise RunError(
                    f"the replay differs: order {number} has {name} {here}, the journal's {there}"
                )

    def cancel(self, order: Order) -> bool:
        """Do nothing: what became of the order the tape says."""
        return True

    def check_all_seen(self) -> None:
        """Make sure that every intent of the journal was decided again.

        Raises:
            RunError: one was not.
        """
        missing = sorted(set(self._journalled) - self._seen)
        if missing:
            raise RunError(
                f"the replay differs: order {missing[0]} of the account's journal is not decided"
            )
