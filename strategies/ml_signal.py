"""Trade a model's advice: buy a fixed amount on BUY, sell what is held on SELL; stop and target."""

from engine.errors import ConfigError
from engine.events import Action, Intent, OrderType, Place, Purpose
from engine.view import View
from strategies.registry import strategy

BUY, SELL = int(Action.BUY), int(Action.SELL)
MARKET, ENTRY, EXIT = int(OrderType.MARKET), int(Purpose.ENTRY), int(Purpose.EXIT)
NS_PER_S = 1_000_000_000
_PARAMS = "strategies.ml_signal.params"


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
        self.threshold = float(params["threshold"])
        self.size_quote = float(params["size_quote"])
        self.stop_loss = float(params["stop_loss_pct"]) / 100.0
        self.take_profit = float(params["take_profit_pct"]) / 100.0
        self.cooldown_ns = int(float(params["cooldown_s"]) * NS_PER_S)
        self.allow_short = bool(params["allow_short"])
        self.post_only = params["entry"] == "post_only"
        if not 0.0 <= self.threshold <= 1.0:
            raise ConfigError(f"{_PARAMS}.threshold: {self.threshold} must be 0..1")
        if params["entry"] not in ("market", "post_only"):
            raise ConfigError(f"{_PARAMS}.entry: {params['entry']!r} must be market or post_only")
        for key in ("size_quote",):
            if not float(params[key]) > 0.0:
                raise ConfigError(f"{_PARAMS}.{key}: {params[key]} must be above 0")
        for key in ("stop_loss_pct", "take_profit_pct", "cooldown_s"):
            if not 0.0 <= float(params[key]) < 1e6:
                raise ConfigError(
                    f"strategies.ml_signal.params.{key}: {params[key]} must be 0 or above"
                )
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
        held = -side * view.position_lot
        if held > 0:
            qty = held - view.closing_lot
            if qty <= 0:
                return ()
            place = self._exit(view, side, qty)
        elif side < 0 and not self.allow_short:
            return ()
        else:
            place = self._entry(view, side)
        self._quiet_until[key] = view.now + self.cooldown_ns
        return (place,)

    def _exit(self, view: View, side: int, qty: int) -> Place:
        return Place(
            instrument=view.instrument,
            side=side,
            qty_lot=qty,
            purpose=EXIT,
            signal_id=view.signal.signal_id,
            signal_ts=view.signal.ts,
            owners=view.owners,
            reason="advice against what is held",
        )

    def _entry(self, view: View, side: int) -> Place:
        price = view.ask_tick if side > 0 else view.bid_tick
        stop = round(price * (1.0 - side * self.stop_loss)) if self.stop_loss > 0.0 else 0
        profit = round(price * (1.0 + side * self.take_profit)) if self.take_profit > 0.0 else 0
        passive = view.bid_tick if side > 0 else view.ask_tick
        return Place(
            instrument=view.instrument,
            side=side,
            qty_lot=view.grid.lots(view.size_quote or self.size_quote, price),
            order_type=int(OrderType.POST_ONLY) if self.post_only else MARKET,
            price_tick=passive if self.post_only else 0,
            purpose=ENTRY,
            signal_id=view.signal.signal_id,
            signal_ts=view.signal.ts,
            owners=view.owners,
            stop_loss_tick=stop,
            take_profit_tick=profit,
            reason="advice above the threshold",
        )
