"""A/B splits: the same arm for the same key, shares by weight, and only exits out of turn."""

import hashlib
from types import SimpleNamespace

from hypothesis import given
from hypothesis import strategies as st

from engine.events import Cancel, Place, Purpose, Replace
from ml.runtime.split import InTurn, TimeSlices, arm_of

HOUR = 3_600_000_000_000


@given(
    st.integers(0, 2**53),
    st.text("abcXYZ019_.-", min_size=1, max_size=12),
    st.lists(st.floats(0.01, 100.0), min_size=2, max_size=5),
    st.integers(0, 10**9),
)
def test_an_arm_is_the_part_of_the_weights_that_the_hash_lies_in(seed, name, weights, number):
    digest = hashlib.sha256(f"{seed}|{name}|{number}".encode()).hexdigest()
    place = int(digest[:16], 16) / 2**64 * sum(weights)
    arm = arm_of(seed, name, str(number), weights)
    below = sum(weights[:arm])
    assert below - 1e-6 <= place <= below + weights[arm] + 1e-6
    slices = TimeSlices(seed, name, weights, HOUR)
    first = number * HOUR
    assert slices.arm(first) == slices.arm(first + HOUR - 1) == arm


def test_three_to_one_is_three_quarters_of_many_slices():
    slices = TimeSlices(7, "tick", (3.0, 1.0), HOUR)
    arms = [slices.arm(at * HOUR) for at in range(4000)]
    assert 0.72 < arms.count(0) / 4000 < 0.78
    assert arms != [TimeSlices(8, "tick", (3.0, 1.0), HOUR).arm(at * HOUR) for at in range(4000)]


class Wants:
    """A strategy that wants one of everything."""

    name, index = "wants", 3
    entry = Place(instrument=0, side=1, qty_lot=1)
    leave = Place(instrument=0, side=-1, qty_lot=1, purpose=int(Purpose.EXIT))

    def __init__(self) -> None:
        self.asked = 0

    def decide(self, view):
        self.asked += 1
        return self.entry, self.leave, Cancel(7), Replace(7, self.entry)


def seen(ts: int, position: int = 0, orders=()):
    return SimpleNamespace(signal=SimpleNamespace(ts=ts), position_lot=position, orders=orders)


def test_out_of_turn_nothing_opens_and_what_is_held_may_be_closed():
    strategy = Wants()
    turned = InTurn(strategy, lambda ts: ts < HOUR)
    assert (turned.name, turned.index) == ("wants", 3)
    assert len(turned.decide(seen(0))) == 4
    assert turned.decide(seen(HOUR, position=2)) == (Wants.leave, Cancel(7))
    assert turned.decide(seen(HOUR, orders={7: 1})) == (Wants.leave, Cancel(7))
    asked = strategy.asked
    assert turned.decide(seen(HOUR)) == ()
    assert strategy.asked == asked  # it holds nothing: it is not even asked
    turned.index = 5
    assert strategy.index == 5
