"""The account's fold: whatever order and however often a venue speaks, the sums are the same."""

import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine.account_marks import market_of
from engine.client_ids import client_id, parse_client_id, run_tag
from engine.errors import UsageError
from engine.events import OrderState, RejectReason
from engine.journal_layout import Doubt, Kind
from engine.journal_reader import fold
from engine.venue_events import Filled, NotSent, Trouble
from engine.wire_order import WireOrder, count_of, decimal_text
from tests.engine.account_world import ETH, World, picture

MESSAGES = st.lists(
    st.tuples(st.sampled_from(["ack", "fill", "cancel", "expire", "unknown", "asked"]),
              st.integers(0, 3), st.integers(0, 5)),
    max_size=40,
)  # fmt: skip


def say(world: World, client: str, what: str, trade: int) -> None:
    account = world.account
    if what == "ack":
        account.acked(client, f"v{client}")
    elif what == "fill":
        account.filled(world.trade(client, f"{client}-{trade}", 10 + trade))
    elif what == "cancel":
        account.ended(client, Kind.CANCELED, RejectReason.BY_REQUEST)
    elif what == "expire":
        account.ended(client, Kind.EXPIRED, RejectReason.NO_LIQUIDITY)
    elif what == "unknown":
        account.unknown(client, Doubt.NO_ANSWER)
    else:
        account.cancel_asked(client)


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(MESSAGES, st.randoms(use_true_random=False))
def test_messages_twice_or_in_another_order_change_no_sum(messages, chance):
    sums = []
    for variant in ("once", "doubled", "shuffled"):
        with tempfile.TemporaryDirectory() as name:
            world = World(Path(name) / "a", segment_records=1024)
            clients = [world.sent(ordinal, qty=1000) for ordinal in range(4)]
            said = list(messages)
            if variant == "doubled":
                said = [message for message in messages for _ in range(2)]
            elif variant == "shuffled":
                chance.shuffle(said)
            for what, which, trade in said:
                say(world, clients[which], what, trade)
            state = world.account.state
            filled = {client: state.orders[client].filled_lot for client in clients}
            sums.append((filled, state.fills, state.positions, state.money))
            booked = sum(event.qty_lot for event in world.events if isinstance(event, Filled))
            assert booked == sum(filled.values())
            live = picture(state)
            world.account.journal.close()
            assert picture(fold(Path(name) / "a")) == live
    assert sums[0] == sums[1] == sums[2]


@given(st.integers(0, 2**40), st.integers(0, 2**40), st.integers(0, 36**10 - 1))
def test_client_ids_are_unique_and_read_back(second, chance, ordinal):
    tag = run_tag(second, chance)
    name = client_id(tag, ordinal)
    assert name.isalnum()
    assert name == name.lower()
    assert 9 <= len(name) <= 18
    assert parse_client_id(name) == (tag, ordinal)


@pytest.mark.parametrize("text", ["", "abc", "UPPERCASE1", "a" * 19, "aaaaaaaa01", "web_x8kf7a1s2"])
def test_what_is_no_client_id_of_ours(text):
    with pytest.raises(UsageError):
        parse_client_id(text)


@given(st.integers(1, 2**62), st.sampled_from(["0.01", "1e-8", "0.00025", "5", "1000", "0.5"]))
def test_texts_on_the_wire_are_exact_and_read_back(count, increment):
    text = decimal_text(count, increment)
    assert "e" not in text.lower()
    assert count_of(text, increment) == count


def test_a_run_tag_is_never_given_twice(tmp_path):
    tags = set()
    for _ in range(5):
        world = World(tmp_path / "a", segment_records=64)
        tags.add(world.tag)
        world.account.journal.close()
    assert len(tags) == 5


def test_after_a_crash_only_this_boot_proves_that_an_intent_was_not_sent(tmp_path):
    world = World(tmp_path / "a", segment_records=64)
    world.intent(0)
    world.sent(1)
    acked = world.sent(2)
    world.account.acked(acked, "77")
    world.account.journal.close()
    same = World(tmp_path / "a", segment_records=64)
    assert [type(event).__name__ for event in same.events] == ["NotSent", "Unknown"]
    states = [OrderState(order.state) for order in same.account.state.orders.values()]
    assert states == [OrderState.REJECTED, OrderState.UNKNOWN, OrderState.ACKED]
    same.intent(0)
    same.account.journal.close()
    other = World(tmp_path / "a", boot="boot-2", segment_records=64)
    assert not [event for event in other.events if isinstance(event, NotSent)]
    assert len([order for order in other.account.state.live.values() if order.state == 9]) == 2
    other.account.journal.close()


@pytest.mark.parametrize(
    "wrong",
    [
        {"side": -1},
        {"symbol": "ETHUSDT"},
        {"qty_lot": 101},
        {"price_tick": 6_000_001},
        {"qty_lot": 0},
    ],
)
def test_fault_V14_a_fill_that_cannot_be_true_is_not_booked(tmp_path, wrong):
    world = World(tmp_path / "a", segment_records=64)
    client = world.sent(0)
    assert not world.account.filled(world.trade(client, "t", 10, **wrong))
    (trouble,) = [event for event in world.events if isinstance(event, Trouble)]
    assert trouble.code == "orders.quarantine"
    assert not world.account.state.fills
    world.account.journal.close()


def test_a_fill_of_a_foreign_order_is_left_alone(tmp_path):
    world = World(tmp_path / "a", segment_records=64)
    assert not world.account.filled(world.trade("zzzzzzzz1", "t", 10))
    assert not world.events
    world.account.journal.close()


def test_an_order_called_never_arrived_that_shows_itself_is_followed_again(tmp_path):
    world = World(tmp_path / "a", segment_records=64)
    client = world.sent(0)
    world.account.ended(client, Kind.REJECT, RejectReason.NEVER_ARRIVED)
    world.account.acked(client, "9")
    assert world.account.state.orders[client].state == OrderState.ACKED
    assert client in world.account.state.live
    assert world.events[-1].code == "orders.ack_after_end"
    world.account.filled(world.trade(client, "t", 100))
    assert world.account.state.orders[client].state == OrderState.FILLED
    world.account.journal.close()


def test_fault_V15_trade_ids_may_be_the_same_on_two_symbols(tmp_path):
    world = World(tmp_path / "a", segment_records=64)
    eth = market_of(world.account, ETH)
    client = world.sent(0)
    order = WireOrder(world.tag, 1, "ETHUSDT", 1, 1, 100, 6_000_000)
    world.account.intent(order, eth, (0, 6_000_000, 0, 0, 1, 0))
    other = client_id(world.tag, 1)
    assert world.account.filled(world.trade(client, "7", 10))
    assert world.account.filled(world.trade(other, "7", 20, symbol="ETHUSDT"))
    assert not world.account.filled(world.trade(other, "7", 20, symbol="ETHUSDT"))
    assert sorted(world.account.state.positions.values()) == [10, 20]
    world.account.journal.close()
