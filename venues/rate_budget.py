"""How many requests may still leave: own windows for orders, cancels and questions. No clock."""

from enum import IntEnum


class Errand(IntEnum):
    """What a request is for."""

    ORDER = 0
    CANCEL = 1
    QUERY = 2


class RateBudget:
    """Counts requests in sliding windows and keeps the venue's pauses.

    Cancels have a budget of their own: orders and questions never use it up. A ban of the address
    (429, 418) stops everything until the venue's time; a limit on orders alone stops orders.

    Args:
        orders, cancels, queries: (count, seconds) of each.
    """

    def __init__(
        self,
        orders: tuple[int, float] = (40, 10.0),
        cancels: tuple[int, float] = (100, 10.0),
        queries: tuple[int, float] = (100, 10.0),
    ) -> None:
        self._limits = (orders, cancels, queries)
        self._taken: tuple[list[float], ...] = ([], [], [])
        self._paused = [0.0, 0.0, 0.0]

    def take(self, errand: Errand, now_s: float) -> bool:
        """Count a request and return True, or return False: it must not leave now.

        Args:
            now_s: monotonic clock.
        """
        if self.wait_s(errand, now_s) > 0.0:
            return False
        self._taken[errand].append(now_s)
        return True

    def wait_s(self, errand: Errand, now_s: float) -> float:
        """Return the seconds until a request of this kind may leave, 0.0 for now."""
        count, seconds = self._limits[errand]
        taken = self._taken[errand]
        while taken and taken[0] <= now_s - seconds:
            taken.pop(0)
        full = taken[0] + seconds - now_s if len(taken) >= count else 0.0
        return max(full, self._paused[errand] - now_s, 0.0)

    def pause_all(self, now_s: float, seconds: float) -> None:
        """Obey a ban of the address."""
        for errand in Errand:
            self._paused[errand] = max(self._paused[errand], now_s + seconds)

    def pause_orders(self, now_s: float, seconds: float) -> None:
        """Obey a limit on new orders; cancels and questions go on."""
        self._paused[Errand.ORDER] = max(self._paused[Errand.ORDER], now_s + seconds)
