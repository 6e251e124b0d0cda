"""A live run's replay: each submit must be the journal's intent, and every intent must come."""

import pytest

from engine.account_state import AccountOrder
from engine.errors import RunError
from engine.journal_layout import Kind, Record
from tests.venues.desk_world import BTC, approved
from venues.outbox import Outbox
from venues.recorded import Recorded

TAG = "3ibe6807"


def told(ordinal: int, **changes: int) -> AccountOrder:
    """Return an order as the journal knows it."""
    fields = {"qty": 100, "tick": 6_000_000, "wire": 6_000_000, "side": 1, "kind": 1} | changes
    record = Record(
        0, 0, 0, TAG, ordinal, 1, 0, int(Kind.INTENT), fields["side"], fields["kind"], 0, 0, b""
    )
    body = [fields["qty"], fields["tick"], fields["wire"], 0, 0, 0, 0, 0, 0]
    packed = b"".join(word.to_bytes(8, "little", signed=True) for word in body)
    return AccountOrder(record._replace(body=packed))


def recorded(*orders: AccountOrder, unsent: tuple[int, ...] = ()) -> Recorded:
    return Recorded({o.ordinal: o for o in orders}, {1: "BTCUSDT"}, unsent, TAG, [BTC])


def test_the_same_orders_pass():
    venue = recorded(told(0), told(2, side=-1), unsent=(1,))
    for given in (approved(0), approved(1), approved(2, side=-1), approved(3)):
        venue.submit(given)  # 1 was not sent, 3 was cut off by the end of the tape
    venue.check_all_seen()
    assert venue.cancel(approved(0).order)


@pytest.mark.parametrize(
    ("changes", "word"),
    [({"qty": 99}, "size"), ({"tick": 7}, "price"), ({"side": -1}, "side"), ({"kind": 3}, "type")],
)
def test_the_first_difference_ends_it(changes, word):
    with pytest.raises(RunError, match=f"order 0 has {word}"):
        recorded(told(0, **changes)).submit(approved(0))


def test_an_order_that_the_journal_lacks_ends_it():
    with pytest.raises(RunError, match="order 1 is not in the journal"):
        recorded(told(0), told(2)).submit(approved(1))


def test_an_intent_that_is_not_decided_again_ends_it():
    venue = recorded(told(0), told(1))
    venue.submit(approved(0))
    with pytest.raises(RunError, match="order 1 of the account's journal is not decided"):
        venue.check_all_seen()


def test_the_outbox_keeps_order_and_time():
    times = iter([10, 20, 30])
    box = Outbox(lambda: next(times))
    first, second = approved(0), approved(1)
    box.submit(first)
    assert box.cancel(first.order)
    box.submit(second)
    assert list(box.take()) == [(10, first, None), (20, None, first.order), (30, second, None)]
    assert not box.take()


@pytest.mark.parametrize("against", ["", "a cancel waits", "its age", "reduce-only", "closing"])
def test_the_outbox_gives_an_order_away_unless_something_stands_against_it(against):
    given, held = [], set()
    box = Outbox(lambda: 1_000)
    box.wall_ns = lambda: 1_600 if against == "its age" else 1_500
    box.max_age_ns, box.held = 500, held
    if against != "closing":
        box.hand_over = lambda approved, now: given.append((approved, now))
    if against == "reduce-only":
        held.add("BTCUSDT")
    if against == "a cancel waits":
        assert box.cancel(approved(1).order)
    order = approved(0)
    box.submit(order)
    waiting = [one for _, one, _ in box.take() if one is not None]
    assert (given, waiting) == (([], [order]) if against else ([(order, 1_500)], []))
