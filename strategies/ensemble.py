"""Trade what several models advise together: entries belong to who advised, exits to who holds."""

from engine.events import Action, Intent, Place
from engine.view import FusedView, View
from strategies.params import read_trading
from strategies.places import EXIT, entry, touch_of
from strategies.registry import strategy

HOLD, BUY = int(Action.HOLD), int(Action.BUY)
RANGES = {"stop_loss_pct": (0.0, 1e6)}


@strategy("ensemble")
class Ensemble:
    """One order for each fused signal above the threshold, then a pause.

    An entry's owners are the members that advised it, by weight x confidence: its lots, fees and
    limits are theirs in these shares. An exit's owners are the members that hold, each for all that
    it holds, whoever advised to leave.

    Args:
        threshold: least score of the fused signal, 0..1; the kernel holds below it.
        size_quote: size of an entry in quote currency; the fused model's own setting goes before.
        stop_loss_pct, take_profit_pct: distance of the protective triggers from the entry's touch;
            0 lays none.
        cooldown_s: pause after an order in the same instrument, market time.
        allow_short: sell more than is held; the risk limits must allow it too.
    """

    PARAMS = {
        "threshold": 0.6,
        "size_quote": 50.0,
        "stop_loss_pct": 1.5,
        "take_profit_pct": 3.0,
        "cooldown_s": 30.0,
        "allow_short": False,
    }
    HEARS_FUSED = True  # signals of fused models, and no others
    name: str
    index: int

    def __init__(self, **params: float | str | bool) -> None:
        self.trading = read_trading("ensemble", params, RANGES)
        self.threshold = float(params["threshold"])
        self._quiet_until: dict[tuple[int, int], int] = {}

    def decide(self, view: View) -> tuple[Intent, ...]:
        """Answer BUY with an entry or the end of a short, SELL with the end of what is held."""
        signal = view.signal
        assert isinstance(view, FusedView), "it hears fused models only"
        if signal.action == HOLD or signal.confidence < self.threshold:
            return ()
        key = (view.model, view.instrument)
        if view.now < self._quiet_until.get(key, 0):
            return ()
        side = 1 if signal.action == BUY else -1
        if side * view.position_lot < 0:
            owners = view.holders(-side)
            if not owners:
                return ()
            place = self._exit(view, side, owners)
        elif side < 0 and not self.trading.allow_short:
            return ()
        else:
            qty = view.grid.lots(view.size_quote or self.trading.size_quote, touch_of(view, side))
            place = entry(view, side, qty, "fused advice above the threshold", self.trading.protect)
        self._quiet_until[key] = view.now + self.trading.cooldown_ns
        return (place,)

    def _exit(self, view: View, side: int, owners: tuple[tuple[int, int], ...]) -> Place:
        return Place(
            instrument=view.instrument,
            side=side,
            qty_lot=sum(lots for _, lots in owners),
            purpose=EXIT,
            signal_id=view.signal.signal_id,
            signal_ts=view.signal.ts,
            owners=owners,
            reason="fused advice against what is held",
        )
