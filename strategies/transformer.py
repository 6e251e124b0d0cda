"""Trade a forecast of returns where what it promises is worth more than what trading costs."""

import math

from engine.errors import ConfigError
from engine.events import HoldReason, Intent
from engine.output_form import OutputForm
from engine.view import View
from strategies.params import read_trading
from strategies.places import entry, free_lot, leave, touch_of
from strategies.registry import strategy

SHUT = {int(HoldReason.SESSION_CLOSED), int(HoldReason.SESSION_UNKNOWN)}
RANGES = {"min_profit_bps": (0.0, 1e5), "exit_bps": (0.0, 1e5), "level": (0.01, 0.5)}


@strategy("transformer")
class Transformer:
    """Enter where the forecast, after fees both ways and the spread, leaves `min_profit_bps`.

    The forecast is the model's expected return (a share: 0.001 is 10 bps), of a regressor its
    value, of quantiles the level of one horizon: for a buyer `level`, for a seller the one as far
    above the median; 0.5 is the median, lower levels ask for more certainty.

    Args:
        min_profit_bps: least expected profit of an entry after costs.
        exit_bps: what is held is closed when the forecast is so far against it, costs apart.
        horizon: which of the model's horizons; empty takes the one that decides.
        level: which quantile, 0.01..0.5; the model must have it and its mirror.
        size_quote: size of an entry in quote currency; the model's own setting goes before.
        stop_loss_pct, take_profit_pct: distance of the protective triggers; 0 lays none.
        cooldown_s: pause after an order of the same model in the same instrument, market time.
        allow_short: open shorts; the risk limits must allow it too.
    """

    PARAMS = {
        "min_profit_bps": 1.0,
        "exit_bps": 0.0,
        "horizon": "",
        "level": 0.5,
        "size_quote": 50.0,
        "stop_loss_pct": 1.5,
        "take_profit_pct": 3.0,
        "cooldown_s": 30.0,
        "allow_short": False,
    }
    OUTPUTS = (("regressor", "quantiles"),)
    HEARS_HOLDS = True  # a forecast inside the model's dead band may still be against what is held
    name: str

    def __init__(self, **params: float | str | bool) -> None:
        self.trading = read_trading("transformer", params, RANGES)
        self.min_profit = float(params["min_profit_bps"]) / 1e4
        self.exit = float(params["exit_bps"]) / 1e4
        self.horizon, self.level = str(params["horizon"]), float(params["level"])
        self._quiet_until: dict[tuple[int, int], int] = {}

    def check_form(self, model: str, form: OutputForm) -> None:
        """Refuse a model without the horizon and levels that the parameters name.

        Raises:
            ConfigError: one line that says what the model has.
        """
        if form.kind == "regressor":
            return
        for level in (self.level, round(1.0 - self.level, 9)):
            if form.column(self.horizon, level) < 0:
                has = f"{', '.join(form.horizons)} with {', '.join(map(str, form.levels))}"
                raise ConfigError(
                    f"strategies.transformer.params: {model} has no level {level:g} at "
                    f"horizon {self.horizon or form.act_on!r}; it has {has}"
                )

    def forecast(self, view: View, side: int) -> float:
        """Return the return that a buyer (+1) or seller (-1) may count on, from the buyer's side.

        NaN where the model gave no number.
        """
        if math.isnan(view.signal.value) or view.form.kind == "regressor":
            return view.signal.value
        form = view.form
        first, count = form.column(self.horizon, form.levels[0]), len(form.levels)
        points = sorted(view.output[first : first + count].tolist())  # crossing ones in order
        level = self.level if side > 0 else round(1.0 - self.level, 9)
        return float(points[form.levels.index(level)])

    def decide(self, view: View) -> tuple[Intent, ...]:
        """Close what the forecast is against; else enter where it pays."""
        key = (view.model, view.instrument)
        if math.isnan(view.signal.value) or view.now < self._quiet_until.get(key, 0):
            return ()
        held = 1 if view.position_lot > 0 else -1 if view.position_lot < 0 else 0
        if held:
            against = -held * self.forecast(view, -held) > self.exit
            qty = free_lot(view)
            if not against or qty == 0:
                return ()
            self._quiet_until[key] = view.now + self.trading.cooldown_ns
            return (leave(view, qty, "the forecast is against what is held"),)
        if view.signal.reason in SHUT:  # nothing may be opened now
            return ()
        costs = 2.0 * view.taker_fee + (view.ask_tick - view.bid_tick) / view.mid_tick
        for side in (1, -1):
            if side < 0 and not self.trading.allow_short:
                break
            if side * self.forecast(view, side) - costs > self.min_profit:
                qty = view.grid.lots(
                    view.size_quote or self.trading.size_quote, touch_of(view, side)
                )
                if qty <= 0:
                    return ()
                self._quiet_until[key] = view.now + self.trading.cooldown_ns
                reason = "the forecast is worth more than it costs"
                return (entry(view, side, qty, reason, self.trading.protect),)
        return ()
