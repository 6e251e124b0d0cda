"""Cross of two exponential means of the close, without a model: the plainest thing that trades."""

from engine.errors import ConfigError
from engine.events import Intent, Place, Purpose
from engine.view import View
from strategies.registry import strategy

ENTRY, EXIT = int(Purpose.ENTRY), int(Purpose.EXIT)


@strategy("ema_cross")
class EmaCross:
    """Buy when the fast mean rises above the slow one, sell what is held when it falls below.

    The distances of the close to both means come from the feature kernel; the fast mean is above
    the slow one exactly when the close is less far above it.

    Args:
        size_quote: size of an entry in quote currency.
        stop_loss_pct, take_profit_pct: distance of the protective triggers; 0 lays none.
    """

    PARAMS = {"size_quote": 50.0, "stop_loss_pct": 1.5, "take_profit_pct": 3.0}
    FEATURES = ("price_vs_ema_9", "price_vs_ema_21")
    CADENCE = "bar:1m"
    name: str

    def __init__(self, **params: float | str | bool) -> None:
        self.size_quote = float(params["size_quote"])
        self.stop_loss = float(params["stop_loss_pct"]) / 100.0
        self.take_profit = float(params["take_profit_pct"]) / 100.0
        if not self.size_quote > 0.0:
            raise ConfigError(
                f"strategies.ema_cross.params.size_quote: {self.size_quote} must be above 0"
            )
        self._above: dict[int, bool] = {}

    def decide(self, view: View) -> tuple[Intent, ...]:
        """Act on the bar at which the order of the two means changes."""
        fast, slow = float(view.features[0]), float(view.features[1])
        # distance = close / mean - 1: a smaller distance belongs to a higher mean
        above = fast < slow
        before = self._above.get(view.instrument)
        self._above[view.instrument] = above
        if before is None or above == before:
            return ()
        side = 1 if above else -1
        held = view.position_lot - view.closing_lot
        if side < 0:
            return (self._place(view, -1, held, EXIT),) if held > 0 else ()
        if view.position_lot > 0:
            return ()
        return (self._place(view, 1, view.grid.lots(self.size_quote, view.ask_tick), ENTRY),)

    def _place(self, view: View, side: int, qty: int, purpose: int) -> Place:
        price = view.ask_tick
        protect = purpose == ENTRY
        stop = round(price * (1.0 - self.stop_loss)) if protect and self.stop_loss > 0.0 else 0
        profit = round(price * (1.0 + self.take_profit)) if protect and self.take_profit > 0 else 0
        return Place(
            instrument=view.instrument,
            side=side,
            qty_lot=qty,
            purpose=purpose,
            stop_loss_tick=stop,
            take_profit_tick=profit,
            signal_id=view.signal.signal_id,
            signal_ts=view.signal.ts,
            reason="fast mean crossed the slow one",
        )
