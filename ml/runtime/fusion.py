"""Signal fusion: the advice of several models becomes one, by a rule, with the models behind it.

The functions are pure; `Fusion` stands where a model stands: it reads the latest signals of its
members and writes what they make together into the output that the kernel settles. A member that
has not advised of late, or was not asked, or may not trade, is missing: it neither agrees nor
disagrees, and its weight is left out of the sum.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from engine.events import Action, HoldReason, Signal

SELL, HOLD, BUY = int(Action.SELL), int(Action.HOLD), int(Action.BUY)
NONE, SAYS_HOLD = int(HoldReason.NONE), int(HoldReason.MODEL_SAYS_HOLD)
BELOW, NAN = int(HoldReason.BELOW_THRESHOLD), int(HoldReason.MODEL_NAN)
MISSING, DISAGREE = int(HoldReason.MEMBERS_MISSING), int(HoldReason.MEMBERS_DISAGREE)
SPOKEN = (NONE, SAYS_HOLD, BELOW)  # a signal of another reason is no advice: the member is missing
OWNER_UNITS = 1_000_000  # owners' weights are whole: weight x confidence in millionths
SUM_TOLERANCE = 1e-3  # as in engine/kernel/chances.py
COLUMNS = 5  # of a fused output: sell, hold, buy, action, reason
NOTHING = (0.0, 0.0, 0.0)

Owners = tuple[tuple[int, int], ...]


class Rules(NamedTuple):
    """How voices become one signal; see docs/ensemble.md.

    Attributes:
        rule: vote, confidence or stacking.
        threshold: least score of a SELL or BUY.
        min_members: fewer voices are HOLD.
        weighs: opposite advice is weighed; else it is HOLD.
    """

    rule: str
    threshold: float
    min_members: int
    weighs: bool


class Voice(NamedTuple):
    """What a member that is there says now."""

    model: int
    weight: float
    action: int
    chances: tuple[float, float, float]  # sell, hold, buy

    @property
    def confidence(self) -> float:
        """Probability of its action."""
        return self.chances[self.action]


class Fused(NamedTuple):
    """What the members say together; `owners` are those who advised it, with whole weights."""

    action: int
    reason: int
    chances: tuple[float, float, float]
    owners: Owners = ()


def fuse(voices: Sequence[Voice], rules: Rules, stacked: Sequence[float] = ()) -> Fused:
    """Make one signal of the voices that are there, in the order of the members.

    Args:
        stacked: rule stacking: what its model answers: sell, hold, buy.
    Example:
        >>> rules = Rules("vote", 0.6, 1, False)
        >>> two = [Voice(0, 2.0, BUY, (0.1, 0.1, 0.8)), Voice(1, 1.0, BUY, (0.2, 0.2, 0.6))]
        >>> fused = fuse(two, rules)
        >>> fused.action, round(fused.chances[BUY], 3), fused.owners
        (2, 0.733, ((0, 1600000), (1, 600000)))
        >>> HoldReason(fuse([*two, Voice(2, 9.0, SELL, (0.9, 0.1, 0.0))], rules).reason).name
        'MEMBERS_DISAGREE'
        >>> HoldReason(fuse([], rules).reason).name
        'MEMBERS_MISSING'
    """
    if len(voices) < max(1, rules.min_members):
        return Fused(HOLD, MISSING, NOTHING)
    if rules.rule == "stacking":
        return _judge_stacked(voices, rules, stacked)
    chances = _vote(voices) if rules.rule == "vote" else _surest(voices).chances
    acting = {voice.action for voice in voices} - {HOLD}
    if len(acting) == 2 and not rules.weighs:
        return Fused(HOLD, DISAGREE, chances)
    if rules.rule == "confidence":
        surest = _surest(voices)
        if surest.action == HOLD:
            return Fused(HOLD, SAYS_HOLD, chances)
        return _acted(surest.action, chances, [surest], rules)
    if not acting:
        return Fused(HOLD, SAYS_HOLD, chances)
    if chances[SELL] == chances[BUY]:
        return Fused(HOLD, DISAGREE, chances)
    return _acted(BUY if chances[BUY] > chances[SELL] else SELL, chances, voices, rules)


def _vote(voices: Sequence[Voice]) -> tuple[float, float, float]:
    """Return the scores: sum of weight x confidence over the sum of the weights present."""
    total = sum(voice.weight for voice in voices)
    sell, buy = (
        sum(voice.weight * voice.confidence for voice in voices if voice.action == action) / total
        for action in (SELL, BUY)
    )
    return sell, max(0.0, 1.0 - sell - buy), buy


def _surest(voices: Sequence[Voice]) -> Voice:
    """Return the most confident; of equals the heavier, then the first."""
    return max(voices, key=lambda voice: (voice.confidence, voice.weight))


def _judge_stacked(voices: Sequence[Voice], rules: Rules, stacked: Sequence[float]) -> Fused:
    """Take what the stacking model says, as long as a member says so too."""
    sell, hold, buy = stacked
    if not (min(stacked) >= 0.0 and abs(sell + hold + buy - 1.0) <= SUM_TOLERANCE):
        return Fused(HOLD, NAN, NOTHING)
    chances = (sell, hold, buy)
    if hold >= max(sell, buy) or sell == buy:
        return Fused(HOLD, SAYS_HOLD, chances)
    action = BUY if buy > sell else SELL
    if all(voice.action != action for voice in voices):
        return Fused(HOLD, DISAGREE, chances)
    return _acted(action, chances, voices, rules)


def _acted(
    action: int, chances: tuple[float, float, float], voices: Sequence[Voice], rules: Rules
) -> Fused:
    """Act if the score is enough, for those who advised it."""
    if chances[action] < rules.threshold:
        return Fused(HOLD, BELOW, chances)
    owners = tuple(
        (voice.model, max(1, round(voice.weight * voice.confidence * OWNER_UNITS)))
        for voice in voices
        if voice.action == action
    )
    return Fused(action, NONE, chances, owners)


class Member(NamedTuple):
    """One member of a fused model: its index in the run, weight, and how long its advice lasts."""

    model: int
    weight: float
    max_age_ns: int


class Fusion:
    """A fused model in one instrument: the predictor of its slot.

    Args:
        members: in the order of the settings.
        rules: how they become one.
        instrument: index on the tape.
        counts: says whether a member's advice may count now.
        stacker: rule stacking: a session bound to `x` and to an output of its own, float32[1, 3].
        x: float32[1, 3 x members], written here: the probabilities that were fused.
        y: float32[1, COLUMNS], written here.

    Attributes:
        signals: the latest by (model, instrument); the pipeline's.
        now: kernel time.
        owners: who advised the last signal; an order on it is theirs.
    """

    signals: Mapping[tuple[int, int], Signal]
    now: Callable[[], int]

    def __init__(
        self,
        members: Sequence[Member],
        rules: Rules,
        instrument: int,
        counts: Callable[[int], bool],
        *,
        stacker: Any,
        x: np.ndarray,
        y: np.ndarray,
    ) -> None:
        assert x.shape == (1, 3 * len(members))
        assert y.shape == (1, COLUMNS)
        assert (stacker is not None) == (rules.rule == "stacking")
        self.members = tuple(members)
        self.rules = rules
        self.owners: Owners = ()
        self._keys = tuple((member.model, instrument) for member in members)
        self._counts = counts
        self._stacker = stacker
        self._x, self._y = x, y

    def run(self) -> None:
        """Fuse what the members have advised of late."""
        self.owners = ()
        voices = self._voices()
        enough = len(voices) >= max(1, self.rules.min_members)
        stacked: Sequence[float] = ()
        if self._stacker is not None and enough:
            self._stacker.run()
            stacked = [float(value) for value in self._stacker.y[0]]
        fused = fuse(voices, self.rules, stacked)
        self._y[0] = (*fused.chances, fused.action, fused.reason)
        self.owners = fused.owners

    def _voices(self) -> list[Voice]:
        """Return who is there, and write down what each says; three zeros for who is not."""
        now, signals, voices, row = self.now(), self.signals, [], self._x[0]
        for at, (member, key) in enumerate(zip(self.members, self._keys, strict=True)):
            signal = signals.get(key)
            if (
                signal is None
                or signal.reason not in SPOKEN
                or now - signal.ts > member.max_age_ns
                or not self._counts(member.model)
            ):
                row[3 * at : 3 * at + 3] = 0.0
                continue
            chances = (signal.p_sell, signal.p_hold, signal.p_buy)
            row[3 * at : 3 * at + 3] = chances
            voices.append(Voice(member.model, member.weight, signal.action, chances))
        return voices
