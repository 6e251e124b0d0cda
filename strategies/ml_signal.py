"""Trade a model's advice: buy a fixed amount on BUY, sell what is held on SELL; stop and target."""

from msgspec import structs

from engine.errors import ConfigError
from engine.events import Action, Intent, OrderType, Place
from engine.view import View
from strategies.params import read_trading
from strategies.places import entry, free_lot, leave, touch_of
from strategies.registry import strategy

BUY, SELL = int(Action.BUY), int(Action.SELL)
POST_ONLY = int(OrderType.POST_ONLY)
RANGES = {"stop_loss_pct": (0.0, 1e6)}


@strategy("ml_signal")
class MlSignal:
    """One order for each piece of advice above the threshold, then a pause.

    Args:
        threshold: least confidence, 0..1; the kernel holds below it.
        size_quote: size of an entry in quote currency; the model's own setting goes before.
        stop_loss_pct, take_profit_pct: distance of the protective triggers from the entry's touch;
            0 lays none.
        cooldown_s: pause after an order of the same model in the same instrument, market time.
        allow_short: sell more than is held; the risk limits must allow it too.
        entry: "market", or "post_only" at the touch (a maker order that waits for its fill).
    """

    PARAMS = {
        "threshold": 0.6,
        "size_quote": 50.0,
        "stop_loss_pct": 1.5,
        "take_profit_pct": 3.0,
        "cooldown_s": 30.0,
        "allow_short": False,
        "entry": "market",
    }
    name: str

    def __init__(self, **params: float | str | bool) -> None:
        self.trading = read_trading("ml_signal", params, RANGES)
        self.threshold = float(params["threshold"])
        how = params["entry"]
        if how not in ("market", "post_only"):
            raise ConfigError(
                f"strategies.ml_signal.params.entry: {how!r} must be market or post_only"
            )
        self.post_only = how == "post_only"
        self._quiet_until: dict[tuple[int, int], int] = {}

    def decide(self, view: View) -> tuple[Intent, ...]:
        """Answer BUY with an entry, SELL with an exit (or a short where allowed)."""
        signal = view.signal
        action = signal.action
        if action != BUY and action != SELL or signal.confidence < self.threshold:
            return ()
        key = (view.model, view.instrument)
        if view.now < self._quiet_until.get(key, 0):
            return ()
        side = 1 if action == BUY else -1
        if side * view.position_lot < 0:
            qty = free_lot(view)
            if qty <= 0:
                return ()
            place = leave(view, qty, "advice against what is held")
        elif side < 0 and not self.trading.allow_short:
            return ()
        else:
            place = self._entry(view, side)
        self._quiet_until[key] = view.now + self.trading.cooldown_ns
        return (place,)

    def _entry(self, view: View, side: int) -> Place:
        qty = view.grid.lots(view.size_quote or self.trading.size_quote, touch_of(view, side))
        place = entry(view, side, qty, "advice above the threshold", self.trading.protect)
        if not self.post_only:
            return place
        passive = touch_of(view, -side)
        return structs.replace(place, order_type=POST_ONLY, price_tick=passive)
