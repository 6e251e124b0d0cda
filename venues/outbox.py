"""The venue of a live run as the pipeline sees it: orders and cancels go to the shell from here.

The pipeline never waits. An order that nothing stands against is given to the order desk
(venues/order_desk.py) at once, which journals it now and sends it in the loop's next turn; all else
lies here, in order, until the shell takes it once the pipeline has gone over all rows.
"""

from collections.abc import Callable, Collection, Sequence

from engine.orders import Approved, Order

# One thing to do at the venue: the kernel time when it was decided, and what the gate approved, or
# else the order to cancel. A plain tuple: it is made on the way of every order.
Errand = tuple[int, Approved | None, Order | None]
NOTHING: tuple[Errand, ...] = ()


class Outbox:
    """Holds what the gate approved until the shell takes it.

    Args:
        now: kernel time, ns.

    Attributes:
        hand_over: takes an approved order and the wall clock; None lays every order out.
        wall_ns: the wall clock, ns.
        max_age_ns: an order approved longer ago is laid out.
        held: not empty: every order is laid out.
        waiting: what lies here, oldest first.
    """

    def __init__(self, now: Callable[[], int]) -> None:
        self._now = now
        self.hand_over: Callable[[Approved, int], None] | None = None
        self.wall_ns: Callable[[], int] = now
        self.max_age_ns = 0
        self.held: Collection[str] = ()
        self.waiting: list[Errand] = []

    def submit(self, approved: Approved) -> None:
        """Give an approved order away, or lay it out; the order desk looks at its proof."""
        hand_over, ts = self.hand_over, self._now()
        if hand_over is not None and not self.waiting and not self.held:
            now = self.wall_ns()
            if ts >= now - self.max_age_ns:
                hand_over(approved, now)
                return
        self.waiting.append((ts, approved, None))

    def cancel(self, order: Order) -> bool:
        """Lay a cancel out to be sent; what became of the order a row will say."""
        self.waiting.append((self._now(), None, order))
        return True

    def take(self) -> Sequence[Errand]:
        """Return what waits, oldest first, and forget it."""
        waiting = self.waiting
        if not waiting:
            return NOTHING
        self.waiting = []
        return waiting
