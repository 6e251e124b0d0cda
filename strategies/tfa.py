"""Trade one classifier's advice with sizes that grow with its confidence."""

from engine.events import Action, Intent
from engine.view import View
from strategies.params import read_trading
from strategies.places import entry, free_lot, leave, touch_of
from strategies.registry import strategy

BUY, SELL = int(Action.BUY), int(Action.SELL)
RANGES = {"threshold": (0.0, 0.99), "least_share": (0.0, 1.0)}


@strategy("tfa")
class Tfa:
    """Buy on BUY, sell what is held on SELL; at full confidence with the full size.

    The size is `least_share` of the full one at the threshold and grows in a straight line. Which
    model advises, its version and its window stand in `models:` and in the model itself.

    Args:
        threshold: least confidence, 0..0.99; the kernel holds below it.
        size_quote: size of an entry at confidence 1, in quote currency; the model's own setting
            goes before.
        least_share: share of it at the threshold, 0..1.
        stop_loss_pct, take_profit_pct: distance of the protective triggers; 0 lays none.
        cooldown_s: pause after an order of the same model in the same instrument, market time.
        allow_short: open a short on SELL; the risk limits must allow it too.
    """

    PARAMS = {
        "threshold": 0.6,
        "size_quote": 100.0,
        "least_share": 0.25,
        "stop_loss_pct": 1.5,
        "take_profit_pct": 3.0,
        "cooldown_s": 30.0,
        "allow_short": False,
    }
    OUTPUTS = (("classifier3", "binary"),)
    name: str

    def __init__(self, **params: float | str | bool) -> None:
        self.trading = read_trading("tfa", params, RANGES)
        self.threshold = float(params["threshold"])
        self.least_share = float(params["least_share"])
        self._quiet_until: dict[tuple[int, int], int] = {}

    def share(self, confidence: float) -> float:
        """Return the share of the full size.

        Example:
            >>> tfa = Tfa(**{**Tfa.PARAMS, "threshold": 0.6, "least_share": 0.5})
            >>> [round(tfa.share(p), 2) for p in (0.6, 0.8, 1.0)]
            [0.5, 0.75, 1.0]
        """
        above = (confidence - self.threshold) / (1.0 - self.threshold)
        return self.least_share + (1.0 - self.least_share) * min(max(above, 0.0), 1.0)

    def decide(self, view: View) -> tuple[Intent, ...]:
        """Answer advice with an entry or an exit."""
        signal = view.signal
        action, confidence = signal.action, signal.confidence
        if action not in (BUY, SELL) or confidence < self.threshold:
            return ()
        key = (view.model, view.instrument)
        if view.now < self._quiet_until.get(key, 0):
            return ()
        side = 1 if action == BUY else -1
        if view.position_lot * side < 0:
            qty = free_lot(view)
            place = leave(view, qty, "advice against what is held")
        elif side < 0 and not self.trading.allow_short:
            return ()
        else:
            size = (view.size_quote or self.trading.size_quote) * self.share(confidence)
            qty = view.grid.lots(size, touch_of(view, side))
            place = entry(view, side, qty, "advice, sized by its confidence", self.trading.protect)
        if qty <= 0:
            return ()
        self._quiet_until[key] = view.now + self.trading.cooldown_ns
        return (place,)
