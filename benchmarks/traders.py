"""The benchmark's strategies: an order after each inference, and one outside a band.

They trade as the peers' scripts do: fixed sizes, the side chosen by the net of the orders sent.
Importing this module registers them.
"""

from benchmarks.ticks import LISTINGS
from engine.events import Intent, OrderType, Place
from engine.view import View
from strategies.registry import strategy

MARKET = int(OrderType.MARKET)
BAND = 0.10
LOTS = tuple(round(listing.order_size * 1000) for listing in LISTINGS)


class _Trader:
    """Counts the net of its orders by instrument."""

    def __init__(self, **_params: float | int | str | bool) -> None:
        self._net = [0] * len(LISTINGS)

    def order(self, view: View, side: int) -> tuple[Intent, ...]:
        """Send a market order of the fixed size."""
        at = view.instrument
        self._net[at] += side
        signal = view.signal
        place = Place(at, side, LOTS[at], MARKET, 0, 0, signal.signal_id, signal.ts, view.owners)
        return (place,)


@strategy("bench_force")
class Force(_Trader):
    """An order after each inference: sell what is held, else buy."""

    PARAMS: dict[str, float] = {}
    threshold = 0.0

    def decide(self, view: View) -> tuple[Intent, ...]:
        """Alternate between buying and selling."""
        return self.order(view, -1 if self._net[view.instrument] > 0 else 1)


@strategy("bench_buy")
class Buy(_Trader):
    """A buy after each inference, so that no order waits for the fate of another one."""

    PARAMS: dict[str, float] = {}
    threshold = 0.0

    def decide(self, view: View) -> tuple[Intent, ...]:
        """Buy."""
        at, signal = view.instrument, view.signal
        return (Place(at, 1, LOTS[at], MARKET, 0, 0, signal.signal_id, signal.ts, view.owners),)


@strategy("bench_band")
class Band(_Trader):
    """An order when the probability leaves the band and the net is not on that side already."""

    PARAMS: dict[str, float] = {}
    threshold = 0.5 + BAND

    def decide(self, view: View) -> tuple[Intent, ...]:
        """Buy above the band, sell below it."""
        net = self._net[view.instrument]
        up = view.signal.p_buy
        if up > 0.5 + BAND and net <= 0:
            return self.order(view, 1)
        if up < 0.5 - BAND and net >= 0:
            return self.order(view, -1)
        return ()
