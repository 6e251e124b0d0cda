"""Fusion: each rule against a second reading of it; missing, late or opposed is HOLD."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.events import Action, HoldReason, Signal
from ml.runtime.fusion import COLUMNS, OWNER_UNITS, Fusion, Member, Rules, Voice, fuse

SELL, HOLD, BUY = Action.SELL, Action.HOLD, Action.BUY
MINUTE = 60_000_000_000


def rules(rule="vote", threshold=0.6, least=1, weighs=False) -> Rules:
    return Rules(rule, threshold, least, weighs)


@st.composite
def drawn_voices(draw) -> list[Voice]:
    count = draw(st.integers(0, 6))
    voices = []
    for model in range(count):
        parts = np.array(draw(st.tuples(*[st.floats(0.01, 1.0)] * 3)))
        chances = tuple(float(part) for part in parts / parts.sum())
        action = draw(st.sampled_from([SELL, HOLD, BUY]))
        weight = draw(st.floats(0.1, 10.0))
        voices.append(Voice(model, weight, int(action), chances))  # type: ignore[arg-type]
    return voices


@given(drawn_voices(), st.floats(0.0, 1.0), st.integers(1, 4), st.booleans())
def test_a_vote_is_weight_times_confidence_over_the_weights_present(voices, least, count, weighs):
    found = fuse(voices, rules(threshold=least, least=count, weighs=weighs))
    if len(voices) < count:
        assert (found.action, found.reason) == (HOLD, HoldReason.MEMBERS_MISSING)
        return
    weights = np.array([voice.weight for voice in voices])
    actions = np.array([voice.action for voice in voices])
    sure = np.array([voice.chances[voice.action] for voice in voices])
    score = {a: float((weights * sure)[actions == a].sum() / weights.sum()) for a in (SELL, BUY)}
    assert found.chances[SELL] == pytest.approx(score[SELL])
    assert found.chances[BUY] == pytest.approx(score[BUY])
    assert sum(found.chances) == pytest.approx(1.0)
    sides = set(actions.tolist()) - {int(HOLD)}
    if found.reason == HoldReason.MODEL_SAYS_HOLD:
        assert not sides
    elif found.reason == HoldReason.MEMBERS_DISAGREE:
        assert len(sides) == 2
        assert not weighs or score[SELL] == pytest.approx(score[BUY])
    elif found.reason == HoldReason.BELOW_THRESHOLD:
        assert max(score.values()) < least + 1e-9
    else:
        assert found.action != HOLD
        assert score[found.action] >= least - 1e-9
        assert score[found.action] >= max(score.values()) - 1e-9
        assert weighs or len(sides) == 1
        behind = [(v.model, v.weight * v.confidence) for v in voices if v.action == found.action]
        assert [model for model, _ in found.owners] == [model for model, _ in behind]
        for (_, whole), (_, exact) in zip(found.owners, behind, strict=True):
            assert whole == pytest.approx(exact * OWNER_UNITS, abs=1)
    assert bool(found.owners) == (found.action != HOLD)


@given(drawn_voices(), st.booleans())
def test_the_most_confident_decides_alone(voices, weighs):
    found = fuse(voices, rules("confidence", 0.0, 1, weighs))
    if not voices:
        assert found.reason == HoldReason.MEMBERS_MISSING
        return
    surest = max(voice.confidence for voice in voices)
    sides = {voice.action for voice in voices} - {int(HOLD)}
    if len(sides) == 2 and not weighs:
        assert found.reason == HoldReason.MEMBERS_DISAGREE
    elif found.action != HOLD:
        ((model, _),) = found.owners
        (chosen,) = [voice for voice in voices if voice.model == model]
        assert chosen.confidence == surest
        assert chosen.action == found.action


def test_a_stacking_model_cannot_advise_what_no_member_advises():
    voices = [Voice(0, 1.0, BUY, (0.1, 0.2, 0.7)), Voice(1, 1.0, HOLD, (0.2, 0.6, 0.2))]
    bought = fuse(voices, rules("stacking", 0.5, 2), [0.1, 0.1, 0.8])
    assert (bought.action, bought.owners) == (BUY, ((0, 700_000),))
    sold = fuse(voices, rules("stacking", 0.5, 2), [0.8, 0.1, 0.1])
    assert (sold.action, sold.reason) == (HOLD, HoldReason.MEMBERS_DISAGREE)
    unsure = fuse(voices, rules("stacking", 0.9, 2), [0.1, 0.1, 0.8])
    assert unsure.reason == HoldReason.BELOW_THRESHOLD
    said_hold = fuse(voices, rules("stacking", 0.5, 2), [0.1, 0.8, 0.1])
    assert said_hold.reason == HoldReason.MODEL_SAYS_HOLD
    for broken in ([float("nan"), 0.5, 0.5], [-0.2, 0.6, 0.6], [0.9, 0.9, 0.9]):
        assert fuse(voices, rules("stacking", 0.5, 2), broken).reason == HoldReason.MODEL_NAN


class World:
    """A fused model of two in instrument 0, at a time that the test sets."""

    def __init__(self, given: Rules, stacker=None) -> None:
        self.x, self.y = np.zeros((1, 6), np.float32), np.zeros((1, COLUMNS), np.float32)
        self.trades, self.now, self.signals = {0: True, 1: True}, 10 * MINUTE, {}
        members = [Member(0, 2.0, MINUTE), Member(1, 1.0, MINUTE)]
        self.fusion = Fusion(
            members, given, 0, lambda model: self.trades[model],
            stacker=stacker, x=self.x, y=self.y,
        )  # fmt: skip
        self.fusion.now = lambda: self.now
        self.fusion.signals = self.signals

    def says(self, model, action, chances, *, age=0, reason=HoldReason.NONE) -> None:
        self.signals[(model, 0)] = Signal(
            1, self.now - age, 5, 0, model, int(action), int(reason), *chances
        )

    def fused(self) -> tuple[int, int]:
        self.fusion.run()
        return int(self.y[0, 3]), int(self.y[0, 4])


def test_fault_M22_who_is_late_was_not_asked_or_may_not_trade_is_missing():
    world = World(rules(least=2))
    assert world.fused() == (HOLD, HoldReason.MEMBERS_MISSING)  # nobody has spoken yet
    up = (0.1, 0.1, 0.8)
    world.says(0, BUY, up)
    world.says(1, BUY, up)
    assert world.fused() == (BUY, HoldReason.NONE)
    assert world.x[0].tolist() == pytest.approx([*up, *up])
    world.says(1, BUY, up, age=MINUTE)
    assert world.fused()[0] == BUY
    world.says(1, BUY, up, age=MINUTE + 1)
    assert world.fused() == (HOLD, HoldReason.MEMBERS_MISSING)
    assert world.x[0, 3:].tolist() == [0.0, 0.0, 0.0]
    assert world.fusion.owners == ()
    for reason in (HoldReason.NOT_WARM, HoldReason.STALE_DATA, HoldReason.MODEL_NAN):
        world.says(1, HOLD, (0.0, 0.0, 0.0), reason=reason)
        assert world.fused() == (HOLD, HoldReason.MEMBERS_MISSING)
    world.says(1, BUY, up)
    world.trades[1] = False
    assert world.fused() == (HOLD, HoldReason.MEMBERS_MISSING)


def test_one_of_two_is_enough_where_the_settings_say_so_and_its_weight_is_the_sum():
    world = World(rules(threshold=0.75, least=1))
    world.says(0, BUY, (0.1, 0.1, 0.8))
    assert world.fused() == (BUY, HoldReason.NONE)
    assert float(world.y[0, 2]) == pytest.approx(0.8)
    world.says(1, HOLD, (0.1, 0.8, 0.1), reason=HoldReason.MODEL_SAYS_HOLD)
    assert world.fused() == (HOLD, HoldReason.BELOW_THRESHOLD)  # 2 x 0.8 / 3


class Stacked:
    """Stands for the session of a stacking model: counts, answers, or raises."""

    def __init__(self, fails: bool = False) -> None:
        self.y, self.calls, self.fails = np.array([[0.1, 0.1, 0.8]], np.float32), 0, fails

    def run(self) -> None:
        self.calls += 1
        if self.fails:
            raise RuntimeError("no answer")


def test_a_stacking_model_is_asked_only_when_enough_members_are_there():
    stacker = Stacked()
    world = World(rules("stacking", 0.6, 2), stacker)
    world.says(0, BUY, (0.1, 0.1, 0.8))
    assert world.fused() == (HOLD, HoldReason.MEMBERS_MISSING)
    assert stacker.calls == 0
    world.says(1, BUY, (0.2, 0.2, 0.6))
    assert world.fused() == (BUY, HoldReason.NONE)
    assert stacker.calls == 1


def test_a_failing_stacking_model_leaves_no_owners_behind():
    world = World(rules("stacking", 0.6, 1), Stacked(fails=True))
    world.says(0, BUY, (0.1, 0.1, 0.8))
    world.fusion.owners = ((0, 1),)
    with pytest.raises(RuntimeError):
        world.fusion.run()
    assert world.fusion.owners == ()
