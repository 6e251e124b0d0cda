"""Follow an agent's actions where a classifier does not object; closing needs nobody's leave."""

import math

from engine.events import Action, HoldReason, Intent, Place, Signal
from engine.view import View
from strategies.params import NS_PER_S, read_trading
from strategies.places import entry, free_lot, leave, touch_of
from strategies.registry import strategy

JUDGED = {
    int(HoldReason.NONE),
    int(HoldReason.MODEL_SAYS_HOLD),
    int(HoldReason.BELOW_THRESHOLD),
}
RANGES = {
    "max_position_quote": (1e-8, 1e12),
    "min_change": (0.0, 1.0),
    "veto_age_s": (1e-3, 1e6),
}


@strategy("hybrid_ppo")
class HybridPpo:
    """Bring the position to what the agent wants, as far as the classifier lets it grow.

    It listens to an agent (a model whose output is an action, one of the eight, or a size) and to a
    classifier. A continuous action or size is the position wanted, as a share of the largest one;
    of the eight, buying and selling change the position by their size, and close closes. What
    shrinks a position is never vetoed; what lets it grow needs a classifier's answer of the last
    `veto_age_s` that does not advise the other side. A position is turned by closing it first.

    Args:
        max_position_quote: the largest position, in quote currency.
        min_change: smaller changes, as shares of it, are not traded.
        veto_age_s: an older answer of the classifier counts as an objection.
        agreement: the classifier must advise the same side, not only not the other one.
        stop_loss_pct, take_profit_pct: distance of the protective triggers; 0 lays none.
        cooldown_s: pause after an order in the same instrument, market time.
        allow_short: go below zero; the risk limits must allow it too.
    """

    PARAMS = {
        "max_position_quote": 200.0,
        "min_change": 0.1,
        "veto_age_s": 60.0,
        "agreement": False,
        "stop_loss_pct": 1.5,
        "take_profit_pct": 0.0,
        "cooldown_s": 1.0,
        "allow_short": False,
    }
    OUTPUTS = (("action", "discrete8", "size"), ("classifier3", "binary"))
    HEARS_HOLDS = True
    name: str

    def __init__(self, **params: float | str | bool) -> None:
        self.trading = read_trading("hybrid_ppo", params, RANGES)
        self.max_position_quote = float(params["max_position_quote"])
        self.min_change = float(params["min_change"])
        self.veto_age_ns = int(float(params["veto_age_s"]) * NS_PER_S)
        self.agreement = bool(params["agreement"])
        self._said: dict[int, Signal] = {}  # the classifier's latest, by instrument
        self._quiet_until: dict[int, int] = {}

    def decide(self, view: View) -> tuple[Intent, ...]:
        """Keep what a classifier says; answer an agent's action with the change that it wants."""
        signal = view.signal
        if not view.form.sizes:
            self._said[view.instrument] = signal
            return ()
        if math.isnan(signal.position) or view.now < self._quiet_until.get(view.instrument, 0):
            return ()
        place = self._close(view) if signal.close else self._change(view)
        if place is None:
            return ()
        self._quiet_until[view.instrument] = view.now + self.trading.cooldown_ns
        return (place,)

    def _close(self, view: View) -> Place | None:
        qty = free_lot(view)
        return leave(view, qty, "the agent closes") if qty > 0 else None

    def _change(self, view: View) -> Place | None:
        """Return the order that brings the position nearer to the one wanted, None for none."""
        action = view.signal.action
        if action == Action.HOLD:  # below the threshold
            return None
        largest = view.grid.lots(self.max_position_quote, touch_of(view, 1))
        if largest <= 0:
            return None
        held = view.position_lot
        wanted = self._wanted(view.signal.position, view.form.kind, held / largest)
        change = round(wanted * largest) - held
        if abs(change) < max(1.0, self.min_change * largest):
            return None
        if held * change < 0:
            qty = min(free_lot(view), abs(change), abs(held))
            return leave(view, qty, "the agent wants less") if qty > 0 else None
        side = 1 if change > 0 else -1
        if self._objects(view, side):
            return None
        return entry(view, side, abs(change), "the agent wants more", self.trading.protect)

    def _wanted(self, position: float, kind: str, held: float) -> float:
        """Return the share of the largest position that is wanted."""
        wanted = held + position if kind == "discrete8" else position
        return min(max(wanted, -1.0 if self.trading.allow_short else 0.0), 1.0)

    def _objects(self, view: View, side: int) -> bool:
        """Say whether the classifier stands against a larger position on this side."""
        said = self._said.get(view.instrument)
        if said is None or view.now - said.ts > self.veto_age_ns or said.reason not in JUDGED:
            return True
        same = int(Action.BUY if side > 0 else Action.SELL)
        return said.action != same if self.agreement else said.action == 2 - same
