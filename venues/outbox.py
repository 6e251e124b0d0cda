"""The venue of a live run as the pipeline sees it: orders and cancels wait here for the shell.

The pipeline never waits. Once it has gone over all rows the shell takes what lies here, in order,
and gives it to the order desk (venues/order_desk.py), which journals before the first byte leaves.
"""

from collections.abc import Callable, Sequence

from engine.orders import Approved, Order

# One thing to do at the venue: the kernel time when it was decided, and what the gate approved, or
# else the order to cancel. A plain tuple: it is made on the way of every order.
Errand = tuple[int, Approved | None, Order | None]
NOTHING: tuple[Errand, ...] = ()


class Outbox:
    """Holds what the gate approved until the shell takes it.

    Args:
        now: kernel time, ns.
    """

    def __init__(self, now: Callable[[], int]) -> None:
        self._now = now
        self._waiting: list[Errand] = []

    def submit(self, approved: Approved) -> None:
        """Lay an approved order out to be sent; the order desk looks at its proof."""
        self._waiting.append((self._now(), approved, None))

    def cancel(self, order: Order) -> bool:
        """Lay a cancel out to be sent; what became of the order a row will say."""
        self._waiting.append((self._now(), None, order))
        return True

    def take(self) -> Sequence[Errand]:
        """Return what waits, oldest first, and forget it."""
        waiting = self._waiting
        if not waiting:
            return NOTHING
        self._waiting = []
        return waiting
