"""The orders that stand open, wherever they are kept, and what the desk has counted."""

from collections.abc import Iterator, Mapping

import numpy as np

from engine.orders import Order, order_of


class Counts:
    """What the desk did, for the summary; the numbers stand in the DESK record."""

    def __init__(self, desk: np.ndarray) -> None:
        self._desk = desk[0]

    @property
    def intents(self) -> int:
        """Wishes of strategies and stops."""
        return int(self._desk["intents"])

    @property
    def approved(self) -> int:
        """Intents that became orders, reduced ones too."""
        return int(self._desk["approved"])

    @property
    def reduced(self) -> int:
        """Orders that are smaller than what was wanted."""
        return int(self._desk["reduced"])

    @property
    def orders(self) -> int:
        """Orders sent."""
        return int(self._desk["orders"])

    @property
    def fills(self) -> int:
        """Executions booked."""
        return int(self._desk["fills"])

    @property
    def rejects(self) -> int:
        """Orders that the venue refused."""
        return int(self._desk["rejects"])

    @property
    def blocked(self) -> dict[int, int]:
        """Blocked intents by Block bit."""
        return {1 << at: int(n) for at, n in enumerate(self._desk["blocked"]) if n}


def order_at(ledger: np.ndarray, at: int) -> Order:
    """Return a copy of an order of the ledger."""
    return order_of(ledger[at].tobytes())[0]


def free_place(ledger: np.ndarray, desk: np.void, at: int) -> None:
    """Free a place of the ledger, as `close_line` of engine/kernel/placing.py does."""
    ledger[at]["open"] = 0
    desk["ledger_open"] -= 1
    while desk["ledger_high"] > 0 and ledger[int(desk["ledger_high"]) - 1]["open"] == 0:
        desk["ledger_high"] -= 1


class OpenOrders(Mapping[int, Order]):
    """Open orders by id, read-only: those of one owner are copies of what the ledger says.

    Args:
        kept: the orders that Python keeps: of several owners, protective, or on another venue.
        ledger, desk: the records of all others.
    """

    def __init__(self, kept: Mapping[int, Order], ledger: np.ndarray, desk: np.ndarray) -> None:
        self._kept = kept
        self._ledger = ledger
        self._desk = desk[0]

    def place_of(self, order_id: int) -> int:
        """Return an order's place in the ledger, -1 when it has none."""
        lines = self._ledger[: int(self._desk["ledger_high"])]
        found = np.flatnonzero((lines["open"] == 1) & (lines["order_id"] == order_id))
        return int(found[0]) if len(found) else -1

    def __getitem__(self, order_id: int) -> Order:
        if order_id in self._kept:
            return self._kept[order_id]
        at = self.place_of(order_id)
        if at < 0:
            raise KeyError(order_id)
        return order_at(self._ledger, at)

    def __iter__(self) -> Iterator[int]:
        lines = self._ledger[: int(self._desk["ledger_high"])]
        yield from sorted([*self._kept, *lines["order_id"][lines["open"] == 1].tolist()])

    def __len__(self) -> int:
        lines = self._ledger[: int(self._desk["ledger_high"])]
        return len(self._kept) + int(np.count_nonzero(lines["open"]))
