"""What a strategy sees, set by hand; the satisfying parts of engine/view.py."""

import math
from types import SimpleNamespace

import numpy as np

from engine.events import Action, HoldReason, Signal
from engine.output_form import OutputForm

SECOND = 1_000_000_000
BUY, HOLD, SELL = Action.BUY, Action.HOLD, Action.SELL
CLASSES = OutputForm("classifier3", ("SELL", "HOLD", "BUY"))
ACTION = OutputForm("action", ("ACTION",))
EIGHT = OutputForm("discrete8", tuple("abcdefgh"))
RETURN = OutputForm("regressor", ("VALUE",))
QUANTILES = OutputForm(
    "quantiles",
    tuple("abcdef"),
    ("10s", "1m"),
    (0.25, 0.5, 0.75),
    "1m",
)


def signal(
    action: Action,
    confidence: float = 0.8,
    *,
    ts: int = 0,
    value: float = math.nan,
    position: float = math.nan,
    reason: HoldReason | None = None,
) -> Signal:
    """Return advice of one model."""
    p = [(1 - confidence) / 2] * 3
    p[action] = confidence
    if reason is None:
        reason = HoldReason.MODEL_SAYS_HOLD if action == HOLD else HoldReason.NONE
    return Signal(1, ts, 1, 0, 0, int(action), int(reason), *p, value, position)


class SmallGrid:
    """A lot is a thousandth, a tick a hundredth."""

    @staticmethod
    def lots(quote: float, price_tick: float) -> int:
        """Return the lots that an amount buys."""
        return int(quote / (price_tick / 100) * 1000 + 1e-9)


def view(
    given: Signal,
    form: OutputForm = CLASSES,
    *,
    now: int = 0,
    held: int = 0,
    closing: int = 0,
    bid: int = 9_999,
    ask: int = 10_001,
    output=(),
    fee: float = 2e-4,
) -> SimpleNamespace:
    """Return a view; prices in ticks of a hundredth, sizes in lots of a thousandth."""
    return SimpleNamespace(
        signal=given, form=form, now=now, position_lot=held, closing_lot=closing, bid_tick=bid,
        ask_tick=ask, mid_tick=0.5 * (bid + ask), output=np.array(output, np.float32),
        taker_fee=fee, size_quote=0.0, instrument=0, model=0, owners=((0, 1),), grid=SmallGrid,
    )  # fmt: skip
