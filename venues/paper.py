"""The paper venue's handle: puts approved orders into the kernel's matching after their latency."""

from collections.abc import Callable

from engine.orders import Approved, Order


class PaperVenue:
    """Orders to the matching in the kernel; its answers come back as events of the kernel.

    Args:
        place, cancel: the kernel's entry points, bound to the run's state.
        now: kernel time, ns.
        order_latency_ns: gives the time from approval to the venue's book, decision included.
        cancel_latency_ns: the same for cancels.
    """

    def __init__(
        self,
        place: Callable[..., int],
        cancel: Callable[[int, int], int],
        now: Callable[[], int],
        order_latency_ns: Callable[[], int],
        cancel_latency_ns: int,
    ) -> None:
        self._place = place
        self._cancel = cancel
        self._now = now
        self._order_latency_ns = order_latency_ns
        self._cancel_latency_ns = cancel_latency_ns

    def submit(self, approved: Approved) -> None:
        """Send an approved order on its way.

        Nothing but the risk gate can make the argument; what is no `Approved` is refused.
        """
        assert type(approved) is Approved, "a venue takes only what the risk gate approved"
        order = approved.order
        at = self._place(
            order.order_id,
            order.instrument,
            order.side,
            order.order_type,
            order.qty_lot,
            order.price_tick,
            approved.collar_low,
            approved.collar_high,
            self._now() + self._order_latency_ns(),
        )
        assert at >= 0, "the gate lets no more orders stand open than the venue has places"

    def cancel(self, order: Order) -> bool:
        """Ask for an order's removal; False when the venue no longer has it."""
        return self._cancel(order.order_id, self._now() + self._cancel_latency_ns) == 1
