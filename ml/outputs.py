"""From a model's output to advice, by a declared schema: pure functions, bounds clamped.

Every kind of manifest.OutputSchema becomes the same thing: SELL, HOLD or BUY with probabilities,
and where the model says so a position. Nothing that is not a finite number is ever more than HOLD.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from engine.events import Action, HoldReason, Signal
from ml.manifest import ACTIONS8, CLASSES, OutputSchema

SUM_TOLERANCE = 1e-3  # as in engine/kernel/chances.py
_ACTION8 = {
    "BUY_SMALL": (Action.BUY, 0),
    "BUY_MEDIUM": (Action.BUY, 1),
    "BUY_LARGE": (Action.BUY, 2),
    "SELL_SMALL": (Action.SELL, 0),
    "SELL_MEDIUM": (Action.SELL, 1),
    "SELL_LARGE": (Action.SELL, 2),
}


class Advice(msgspec.Struct, frozen=True, gc=False):
    """What a model's output means.

    Attributes:
        action: SELL, HOLD or BUY.
        reason: why it is HOLD; NONE for the others.
        p_sell, p_hold, p_buy: they add up to 1; all 0 where the model gave no number.
        value: what it said: an expected return, a median, a size, an action; NaN for classes.
        position: the position that it wants as a share of the largest one, -1..1; NaN where it
            says nothing of size.
        close: it wants to hold nothing.
    """

    action: Action
    reason: HoldReason
    p_sell: float
    p_hold: float
    p_buy: float
    value: float = math.nan
    position: float = math.nan
    close: bool = False

    @property
    def confidence(self) -> float:
        """Probability of the advised action, 0..1."""
        return (self.p_sell, self.p_hold, self.p_buy)[self.action]


def advise(schema: OutputSchema, y: Sequence[float], min_confidence: float = 0.0) -> Advice:
    """Map one output row.

    Args:
        schema: the declared one, already checked (manifest.check_output).
        y: float[columns].
        min_confidence: below it SELL and BUY become HOLD, BELOW_THRESHOLD.
    Returns:
        The advice; HOLD with MODEL_NAN for what is not finite, of another length or no probability.
    Example:
        >>> schema = OutputSchema(name="p", kind="classifier3", classes=("SELL", "HOLD", "BUY"))
        >>> advise(schema, [0.1, 0.2, 0.7]).action.name
        'BUY'
        >>> advise(schema, [0.1, 0.2, 0.7], min_confidence=0.8).reason.name
        'BELOW_THRESHOLD'
    """
    values = [float(value) for value in y]
    if len(values) != schema.columns or not all(math.isfinite(value) for value in values):
        return no_number()
    found = _MAPS[schema.kind](schema, values)
    if found.action != Action.HOLD and found.confidence < min_confidence:
        return msgspec.structs.replace(found, action=Action.HOLD, reason=HoldReason.BELOW_THRESHOLD)
    return found


def no_number() -> Advice:
    """Return the HOLD of an output that says nothing."""
    return Advice(Action.HOLD, HoldReason.MODEL_NAN, 0.0, 0.0, 0.0)


def signal(
    advice: Advice, *, signal_id: int, ts: int, row: int, instrument: int, model: int
) -> Signal:
    """Make the engine's signal of an advice."""
    return Signal(
        signal_id,
        ts,
        row,
        instrument,
        model,
        int(advice.action),
        int(advice.reason),
        advice.p_sell,
        advice.p_hold,
        advice.p_buy,
        advice.value,
        advice.position,
    )


def clamp(value: float, low: float, high: float) -> float:
    """Return the nearest value of the range.

    >>> clamp(3.0, -1.0, 1.0)
    1.0
    """
    return min(max(value, low), high)


def _of(p_sell: float, p_hold: float, p_buy: float, **more: Any) -> Advice:
    """Choose the likeliest; HOLD wins what it shares, and SELL against BUY is HOLD."""
    best = max(p_sell, p_hold, p_buy)
    if p_hold >= best or p_sell == p_buy:
        return Advice(Action.HOLD, HoldReason.MODEL_SAYS_HOLD, p_sell, p_hold, p_buy, **more)
    action = Action.BUY if p_buy > p_sell else Action.SELL
    return Advice(action, HoldReason.NONE, p_sell, p_hold, p_buy, **more)


def _leaning(strength: float, **more: Any) -> Advice:
    """Turn a strength of -1..1 into probabilities: its size is the confidence."""
    up, down = max(strength, 0.0), max(-strength, 0.0)
    if up == down:
        return Advice(Action.HOLD, HoldReason.MODEL_SAYS_HOLD, 0.0, 1.0, 0.0, **more)
    action = Action.BUY if up > 0 else Action.SELL
    return Advice(action, HoldReason.NONE, down, 1.0 - abs(strength), up, **more)


def _classifier3(schema: OutputSchema, y: list[float]) -> Advice:
    """Judge as the kernel does (engine/kernel/chances.py); a test compares them."""
    sell, hold, buy = (y[schema.classes.index(name)] for name in CLASSES)
    return _judged(sell, hold, buy)


def _binary(schema: OutputSchema, y: list[float]) -> Advice:
    return _judged(1.0 - y[0], 0.0, y[0])


def _judged(sell: float, hold: float, buy: float) -> Advice:
    if min(sell, hold, buy) < 0 or not abs(sell + hold + buy - 1.0) <= SUM_TOLERANCE:
        return no_number()
    return _of(sell, hold, buy)


def _regressor(schema: OutputSchema, y: list[float]) -> Advice:
    """Read an expected return: inside the dead band HOLD, `scale` is full confidence."""
    if abs(y[0]) <= schema.dead_band:
        return _leaning(0.0, value=y[0])
    return _leaning(clamp(y[0] / schema.scale, -1.0, 1.0), value=y[0])


def _quantiles(schema: OutputSchema, y: list[float]) -> Advice:
    """Read the quantiles of the horizon that decides: how much of it lies beyond the dead band.

    Probabilities come from the quantile function, taken as straight between its levels and flat
    beyond the outermost. Crossing quantiles are put in order first.
    """
    at = schema.horizons.index(schema.act_on) if schema.act_on else 0
    count = len(schema.levels)
    points = sorted(y[at * count : (at + 1) * count])
    median = points[schema.levels.index(0.5)]
    below = _share_below(points, schema.levels, -schema.dead_band)
    above = 1.0 - _share_below(points, schema.levels, schema.dead_band)
    hold = max(0.0, 1.0 - below - above)
    return _of(below, hold, above, value=median)


def _share_below(points: Sequence[float], levels: Sequence[float], limit: float) -> float:
    """Return the probability of less than `limit` under the quantiles.

    >>> _share_below([-1.0, 0.0, 1.0], [0.1, 0.5, 0.9], 0.5)
    0.7
    """
    if limit <= points[0]:
        return 0.0 if limit < points[0] else levels[0]
    if limit > points[-1]:
        return 1.0
    for k in range(1, len(points)):
        if limit <= points[k]:
            width = points[k] - points[k - 1]
            share = (limit - points[k - 1]) / width if width > 0 else 1.0
            return levels[k - 1] + share * (levels[k] - levels[k - 1])
    return 1.0


def _size(schema: OutputSchema, y: list[float]) -> Advice:
    """Read a long position of 0..1: what is not held is HOLD's."""
    size = clamp(y[0], 0.0, 1.0)
    return _leaning(size, value=size, position=size, close=size == 0.0)


def _action(schema: OutputSchema, y: list[float]) -> Advice:
    """Read a continuous action of -1..1: the position that an agent wants."""
    wanted = clamp(y[0], -1.0, 1.0)
    if abs(wanted) <= schema.dead_band:
        return _leaning(0.0, value=wanted, position=0.0, close=True)
    return _leaning(wanted, value=wanted, position=wanted)


def _discrete8(schema: OutputSchema, y: list[float]) -> Advice:
    """Read eight actions by score (probabilities, or any numbers, which a softmax makes some)."""
    shares = _probabilities([y[schema.classes.index(name)] for name in ACTIONS8])
    by_name = dict(zip(ACTIONS8, shares, strict=True))
    buy = shares[1] + shares[2] + shares[3]  # one after the other, as the kernel adds them
    sell = shares[4] + shares[5] + shares[6]
    hold = max(0.0, 1.0 - sell - buy)
    chosen = max(ACTIONS8, key=lambda name: (by_name[name], name == "HOLD"))
    if chosen not in _ACTION8:
        closing = chosen == "CLOSE"
        position = 0.0 if closing else math.nan
        reason = HoldReason.MODEL_SAYS_HOLD
        return Advice(
            Action.HOLD, reason, sell, hold, buy, by_name[chosen], position=position, close=closing
        )
    action, size = _ACTION8[chosen]
    position = schema.sizes[size] * (1 if action == Action.BUY else -1)
    return Advice(action, HoldReason.NONE, sell, hold, buy, by_name[chosen], position=position)


def _total(values: Sequence[float]) -> float:
    """Add from the first to the last: `sum` compensates from Python 3.12 on."""
    total = 0.0
    for value in values:
        total += value
    return total


def _probabilities(y: list[float]) -> list[float]:
    """Return shares that add up to 1, in the order of ACTIONS8."""
    if min(y) >= 0 and abs(_total(y) - 1) <= SUM_TOLERANCE:
        return y
    top = max(y)
    shares = [math.exp(value - top) for value in y]
    total = _total(shares)
    return [share / total for share in shares]


_MAPS: dict[str, Callable[[OutputSchema, list[float]], Advice]] = {
    "classifier3": _classifier3,
    "binary": _binary,
    "regressor": _regressor,
    "quantiles": _quantiles,
    "size": _size,
    "action": _action,
    "discrete8": _discrete8,
}
