"""Reconciliation as a pure plan, and what carrying it out does."""

import tempfile
from decimal import Decimal
from pathlib import Path

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine.account_reports import carry_out
from engine.events import OrderState, RejectReason
from engine.journal_layout import Kind, Name, named
from engine.reconcile import (
    Book,
    Contradiction,
    Differs,
    Doubtful,
    End,
    Foreign,
    Missing,
    VenueState,
    balance_steps,
    end_of,
    plan,
)
from engine.venue_events import OrderReport, Trouble
from tests.engine.account_world import World, picture

S = OrderState


@pytest.fixture
def world(tmp_path):
    made = World(tmp_path / "a", segment_records=256)
    yield made
    made.account.journal.close()


def report(client: str, venue_id: str, status: str = "open", filled: int = 0, **other):
    fields = {
        "symbol": "BTCUSDT", "client_id": client, "venue_id": venue_id, "status": status,
        "side": 1, "qty_lot": 100, "price_tick": 6_000_000, "filled_lot": filled,
    }  # fmt: skip
    return OrderReport(**{**fields, **other})


def venue(*, open_orders=(), queried=None, trades=()) -> VenueState:
    return VenueState(open_orders=list(open_orders), queried=queried or {}, trades=list(trades))


def test_missed_answers_fills_and_ends_are_booked_in_order(world):
    resting, filled, gone = (world.sent(at) for at in range(3))
    trade = world.trade(filled, "t1", 100, client_id="", venue_id="11")
    part = world.trade(gone, "t2", 40, client_id="", venue_id="12", ts_event=1)
    state = venue(
        open_orders=[report(resting, "10")],
        queried={
            filled: report(filled, "11", "filled", 100),
            gone: report(gone, "12", "canceled", 40),
        },
        trades=[trade, part],
    )
    steps = plan(world.account.state, state)
    assert not carry_out(world.account, steps)
    orders = world.account.state.orders
    assert [S(orders[c].state) for c in (resting, filled, gone)] == [S.ACKED, S.FILLED, S.CANCELED]
    names = [type(event).__name__ for event in world.events]
    assert names == ["Acked", "Acked", "Acked", "Filled", "Filled", "Canceled"]
    assert plan(world.account.state, state) == []


def test_an_intent_that_nobody_knows_stays_unknown(world):
    client = world.sent(0)
    steps = plan(world.account.state, venue(queried={client: None}))
    assert steps == [Doubtful(client)]
    carry_out(world.account, steps)
    assert world.account.state.orders[client].state == S.UNKNOWN
    assert plan(world.account.state, venue()) == [Doubtful(client)]


def test_fault_V19_foreign_orders_are_reported_and_never_touched(world):
    before = picture(world.account.state)["orders"]
    state = venue(open_orders=[report("web_abc", "55"), report("zzzzzzzz1", "56")])
    steps = plan(world.account.state, state)
    assert [(type(step), step.lost) for step in steps] == [(Foreign, False), (Foreign, True)]
    carry_out(world.account, steps)
    assert [e.code for e in world.events] == ["account.foreign_order", "account.lost_order"]
    assert picture(world.account.state)["orders"] == before


def test_an_order_is_not_ended_while_fills_of_it_are_missing(world):
    client = world.sent(0)
    state = venue(queried={client: report(client, "9", "canceled", 30)})
    steps = plan(world.account.state, state)
    assert Missing(client, 30) in steps
    assert not [step for step in steps if isinstance(step, End)]


@pytest.mark.parametrize(
    ("field", "other"),
    [("side", {"side": -1}), ("quantity", {"qty_lot": 99}), ("price", {"price_tick": 1}),
     ("symbol", {"symbol": "ETHUSDT"})],
)  # fmt: skip
def test_an_order_that_is_not_ours_under_our_id_halts(world, field, other):
    client = world.sent(0)
    steps = plan(world.account.state, venue(open_orders=[report(client, "9", **other)]))
    assert steps == [Contradiction(client, field)]
    carry_out(world.account, steps)
    (trouble,) = world.events
    assert isinstance(trouble, Trouble)
    assert trouble.code == "orders.quarantine"


def test_another_order_of_the_venue_under_our_id_is_not_ours(world):
    client = world.sent(0)
    world.account.acked(client, "9")
    assert plan(world.account.state, venue(open_orders=[report(client, "9")])) == []
    steps = plan(world.account.state, venue(open_orders=[report(client, "10")]))
    assert steps == [Contradiction(client, "venue order id")]


def test_only_what_no_known_trade_tells_of_is_missing(world):
    client = world.sent(0)
    trade = world.trade(client, "t1", 10, venue_id="9")
    state = venue(queried={client: report(client, "9", "canceled", 30)}, trades=[trade])
    assert Missing(client, 20) in plan(world.account.state, state)


@pytest.mark.parametrize(
    ("status", "order_type", "asked", "said", "reason"),
    [
        ("canceled", 1, False, 0, RejectReason.ENDED_BY_VENUE),
        ("canceled", 1, True, 0, RejectReason.BY_REQUEST),
        ("expired", 1, True, 0, RejectReason.ENDED_BY_VENUE),
        ("expired", 2, False, 0, RejectReason.NO_LIQUIDITY),
        ("canceled", 2, True, 0, RejectReason.BY_REQUEST),
        ("expired", 2, False, RejectReason.COLLAR, RejectReason.COLLAR),
    ],
)
def test_an_end_has_its_reason(world, status, order_type, asked, said, reason):
    order = world.account.state.orders[world.sent(0)]
    order.order_type, order.asked_cancel = order_type, asked
    found = end_of(order, report(order.client_id, "9", status, reason=said))
    assert found is not None
    assert found[1] == reason
    assert end_of(order, report(order.client_id, "9", "open")) is None


def test_fault_V18_balances_that_differ_halt_until_someone_looks(world):
    account = world.account
    ref = account.name(Name.ASSET, "USDT")
    account.put(Kind.BALANCE, ref=ref, body=named("1000"))
    client = world.sent(0)
    account.filled(world.trade(client, "t", 100, fee_asset="USDT", fee_minor=6_000_000))
    found = {"USDT": Decimal("1000") - Decimal("60.00") - Decimal("0.06")}
    assert balance_steps(account.state, found, ["USDT", "BTC"]) == []
    found["USDT"] -= Decimal("0.00000001")
    steps = balance_steps(account.state, found, ["USDT", "BTC"])
    assert steps == [Differs("USDT", "939.94", "939.93999999")]
    carry_out(account, steps)
    assert world.events[-1].code == "account.balance_differs"


WORDS = st.lists(
    st.tuples(st.integers(0, 3), st.sampled_from(["open", "filled", "canceled", "expired"]),
              st.lists(st.integers(1, 40), max_size=3)),
    max_size=4, unique_by=lambda word: word[0],
)  # fmt: skip


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(WORDS, st.integers(0, 3))
def test_a_plan_carried_out_agrees_with_the_venue_and_has_no_second_step(words, known):
    with tempfile.TemporaryDirectory() as name:
        world = World(Path(name) / "a", segment_records=256)
        clients = [world.sent(at) for at in range(4)]
        queried, trades, lots = {}, [], {}
        for which, status, sizes in words:
            client, venue_id = clients[which], str(50 + which)
            if status == "filled":
                sizes = [*sizes, 100 - sum(sizes)] if sum(sizes) < 100 else [100]
            lots[client] = sum(sizes)
            if lots[client] > 100 or (lots[client] == 100 and status != "filled"):
                continue
            queried[client] = report(client, venue_id, status, lots[client])
            fills = [
                world.trade(client, f"{which}-{at}", qty, client_id="", venue_id=venue_id)
                for at, qty in enumerate(sizes)
            ]
            trades += fills
            for trade in fills[:known]:
                world.account.filled(msgspec.structs.replace(trade, client_id=client))
        state = venue(queried=queried, trades=trades)
        steps = plan(world.account.state, state)
        assert len([step for step in steps if isinstance(step, Book)]) <= len(trades)
        assert not carry_out(world.account, steps)
        for client, one in queried.items():
            order = world.account.state.orders[client]
            assert order.filled_lot == one.filled_lot
            assert order.over == (one.status != "open")
        assert not plan(world.account.state, state)
        world.account.journal.close()
