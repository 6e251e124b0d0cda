"""Orders through unmodified ccxt, against a server on loopback: outcomes, cancels, restarts."""

import asyncio
from decimal import Decimal

import pytest
import pytest_asyncio

from engine.events import OrderState, RejectReason
from engine.journal_layout import Kind
from engine.journal_reader import read_journal
from engine.venue_events import Acked, Canceled, Expired, Filled, NotSent, Rejected, Unknown
from tests.venues.desk_world import desk_world
from tests.venues.scripted_exchange import ScriptedExchange

S = OrderState
pytestmark = pytest.mark.asyncio


@pytest_asyncio.fixture
async def exchange():
    async with ScriptedExchange() as server:
        yield server


async def test_an_order_goes_out_as_approved_and_comes_back_as_events(tmp_path, exchange):
    async with desk_world(tmp_path / "a", exchange) as world:
        client = world.submit(qty=123_456, tick=5_999_999)
        await world.settled(client, S.ACKED)
        (request,) = exchange.sent("POST", "order")
        assert request["quantity"] == "1.23456"
        assert request["price"] == "59999.99"
        assert request["newClientOrderId"] == client
        assert (request["side"], request["type"], request["timeInForce"]) == ("BUY", "LIMIT", "GTC")
        exchange.fill(client, "0.23456")
        exchange.fill(client, "1.00000")
        await world.settled(client, S.FILLED)
        assert [type(event) for event in world.events] == [Acked, Filled, Filled]
        assert sum(qty for _, qty in world.fills()) == 123_456
    kinds = []
    read_journal(tmp_path / "a", lambda record: kinds.append(record.kind))
    order = [kinds.index(kind) for kind in (Kind.INTENT, Kind.SENT, Kind.ACK, Kind.FILL)]
    assert order == sorted(order)


async def test_the_kinds_of_order_on_the_wire(tmp_path, exchange):
    async with desk_world(tmp_path / "a", exchange) as world:
        clients = [world.submit(kind=kind, side=-1) for kind in (0, 2, 3)]
        await world.until(lambda: len(exchange.sent("POST", "order")) == 3)
        sent = {request["newClientOrderId"]: request for request in exchange.sent("POST", "order")}
        market, ioc, post = (sent[client] for client in clients)
        assert (market["type"], market["timeInForce"], market["price"]) == (
            "LIMIT", "IOC", "59999.95",
        )  # fmt: skip
        assert (ioc["type"], ioc["timeInForce"], ioc["price"]) == ("LIMIT", "IOC", "60000")
        assert post["type"] == "LIMIT_MAKER"
        assert "timeInForce" not in post


AFTER_ACCEPT = [
    "hang",
    "reset",
    "truncate",
    "html",
    "empty",
    "504",
    "1006",
    "duplicate",
    "redirect",
]


@pytest.mark.parametrize("word", AFTER_ACCEPT)
async def test_fault_V01_V02_V03_V05_what_proves_nothing_is_unknown_and_found(
    tmp_path, exchange, word
):
    async with desk_world(tmp_path / "a", exchange, timeout_s=0.4, poll_s=5.0) as world:
        exchange.script = [word]
        client = world.submit()
        await world.settled(client, S.ACKED)
        assert [type(e) for e in world.events if not hasattr(e, "measure")] == [Unknown, Acked]
        assert len(exchange.sent("POST", "order")) == 1


@pytest.mark.parametrize("word", ["500 before", "403 before", "close before"])
async def test_fault_V03_an_order_that_never_arrived_stays_unknown_without_proof(
    tmp_path, exchange, word
):
    async with desk_world(tmp_path / "a", exchange) as world:
        exchange.script = [word]
        client = world.submit()
        await world.settled(client, S.UNKNOWN)
        await world.until(lambda: len(exchange.sent("GET", "order")) >= 2)
        assert world.state(client) == S.UNKNOWN
        assert len(exchange.sent("POST", "order")) == 1
        assert not world.of(Rejected)


async def test_fault_V04_only_our_own_record_proves_that_nothing_left(tmp_path, exchange):
    async with desk_world(tmp_path / "a", exchange) as world:
        await exchange._runner.cleanup()
        client = world.submit()
        await world.until(lambda: world.order(client).over or world.state(client) == S.UNKNOWN)
        if world.state(client) == S.UNKNOWN:  # a kept connection took the first bytes
            client = world.submit()
            await world.until(lambda: world.order(client).over)
        assert world.of(NotSent)[-1].reason == RejectReason.NOT_REACHED


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ("error -2010 Account has insufficient balance for requested action.", "BALANCE"),
        ("error -2010 Order would immediately match and take.", "POST_ONLY_WOULD_CROSS"),
        ("error -1013 Filter failure: LOT_SIZE", "LOT_SIZE"),
        ("error -1013 Filter failure: NOTIONAL", "MIN_NOTIONAL"),
        ("error -1121 Invalid symbol.", "VENUE"),
        ("error -2015 Invalid API-key, IP, or permissions for action.", "ACCESS"),
    ],
)
async def test_fault_V08_a_listed_code_proves_a_rejection(tmp_path, exchange, answer, reason):
    async with desk_world(tmp_path / "a", exchange) as world:
        exchange.script = [answer]
        client = world.submit()
        await world.settled(client, S.REJECTED)
        (event,) = world.of(Rejected)
        assert event.reason == RejectReason[reason]
        assert event.code == answer.split(" ")[1]


async def test_fault_V06_not_found_proves_nothing_while_queries_may_lag(tmp_path, exchange):
    async with desk_world(tmp_path / "a", exchange, poll_s=5.0) as world:
        exchange.script, exchange.hidden = ["reset"], 2
        client = world.submit()
        await world.until(lambda: len(exchange.sent("GET", "order")) >= 2)
        assert world.state(client) == S.UNKNOWN
        await world.settled(client, S.ACKED)
        assert not world.of(Rejected)


async def test_fault_V06_an_order_that_can_no_longer_arrive_is_rejected(tmp_path, exchange):
    from venues.outcome import BINANCE

    rules = BINANCE._replace(lag_bound_s=0.5, polls=3, request_life_s=0.6)
    async with desk_world(tmp_path / "a", exchange, rules=rules) as world:
        exchange.script = ["close before"]
        client = world.submit()
        await world.settled(client, S.UNKNOWN)
        await world.settled(client, S.REJECTED, 8.0)
        assert world.of(Rejected)[0].reason == RejectReason.NEVER_ARRIVED
        assert len(exchange.sent("GET", "order")) >= 3


async def test_fault_V07_without_such_a_proof_the_symbol_may_only_reduce(tmp_path, exchange):
    from venues.outcome import BINANCE

    rules = BINANCE._replace(lag_bound_s=0.3, polls=2, request_life_s=0.0)
    async with desk_world(tmp_path / "a", exchange, rules=rules) as world:
        exchange.script = ["close before"]
        client = world.submit()
        await world.until(lambda: "orders.unresolved" in world.troubles())
        assert world.state(client) == S.UNKNOWN
        (note,) = [text for code, text in world.desk.account.state.notes if code == 6]
        assert note == client
    async with desk_world(tmp_path / "a", exchange, rules=rules, chance=2) as again:
        assert again.state(client) == S.UNKNOWN


async def test_fault_V09_a_thousand_fragments_add_up_exactly(tmp_path, exchange):
    async with desk_world(tmp_path / "a", exchange) as world:
        client = world.submit(qty=100_000)
        await world.settled(client, S.ACKED)
        for at in range(1000):
            exchange.fill(client, "0.001", fee=f"0.000000{at % 89 + 10}")
        await world.settled(client, S.FILLED, 10.0)
        state = world.desk.account.state
        assert len(world.fills()) == 1000
        for asset in ("BTC", "USDT", "BNB"):
            assert state.expected(asset) == exchange.balances[asset] or asset == "BNB"
        fees = sum(Decimal(trade["commission"]) for trade in exchange.trades)
        assert Decimal(-state.money["BNB"]) / 10**8 == fees


async def test_fault_V11_answer_poll_stream_and_restart_count_a_fill_once(tmp_path, exchange):
    async with desk_world(tmp_path / "a", exchange, stream=True, poll_s=0.05) as world:
        exchange.script = ["fill 0.0004"]
        client = world.submit()
        await world.settled(client, S.PARTIAL)
        trade = exchange.trades[0]
        for _ in range(3):
            await exchange.push(exchange.execution(client, "TRADE", trade))
        await world.until(lambda: len(exchange.sent("GET", "myTrades")) >= 2)
        assert len(world.fills()) == 1
        position = dict(world.desk.account.state.positions)
    async with desk_world(tmp_path / "a", exchange, stream=True, chance=2) as again:
        await exchange.push(exchange.execution(client, "TRADE", exchange.trades[0]))
        assert again.desk.account.state.positions == position
        assert not again.fills()
        exchange.fill(client, "0.0006")
        await again.settled(client, S.FILLED, 15.0)


async def test_fault_V10_a_fill_before_the_answer_proves_the_order(tmp_path, exchange):
    async with desk_world(tmp_path / "a", exchange, stream=True, timeout_s=1.0) as world:
        exchange.script = ["hang"]
        client = world.submit()
        await world.until(lambda: client in exchange.orders)
        trade = exchange.fill(client, "0.0004")
        await exchange.push(exchange.execution(client, "TRADE", trade))
        await world.settled(client, S.PARTIAL, 0.9)
        await asyncio.sleep(0)
        assert [type(e) for e in world.events] == [Acked, Filled]
        await world.until(lambda: not world.desk.orders._sends, 3.0)
        assert world.state(client) == S.PARTIAL  # the lost answer does not make it UNKNOWN again


async def test_a_cancel_ends_an_order_and_a_second_one_is_not_sent(tmp_path, exchange):
    async with desk_world(tmp_path / "a", exchange) as world:
        client = world.submit()
        await world.settled(client, S.ACKED)
        assert world.desk.orders.cancel_client(client)
        assert world.desk.orders.cancel_client(client)
        await world.settled(client, S.CANCELED)
        assert world.of(Canceled)[0].reason == RejectReason.BY_REQUEST
        assert len(exchange.sent("DELETE", "order")) == 1
        assert not world.desk.orders.cancel_client(client)


async def test_fault_V13_a_cancel_that_loses_the_race_ends_as_filled(tmp_path, exchange):
    async with desk_world(tmp_path / "a", exchange, poll_s=5.0) as world:
        client = world.submit()
        await world.settled(client, S.ACKED)
        exchange.cancel_script = ["busy", "fill"]
        world.desk.orders.cancel_client(client)
        await world.settled(client, S.FILLED)
        assert len(world.fills()) == 1
        assert not world.of(Canceled)


async def test_fault_V12_a_fill_after_the_cancel_is_booked_and_marked(tmp_path, exchange):
    async with desk_world(tmp_path / "a", exchange, stream=True) as world:
        client = world.submit()
        await world.settled(client, S.ACKED)
        world.desk.orders.cancel_client(client)
        await world.settled(client, S.CANCELED)
        trade = exchange.fill(client, "0.0003")
        exchange.orders[client]["status"] = "CANCELED"
        await exchange.push(exchange.execution(client, "TRADE", trade))
        await world.until(world.fills)
        assert world.of(Filled)[0].late
        assert world.order(client).filled_lot == 30
        assert sum(world.desk.account.state.positions.values()) == 30


async def test_fault_V14_what_cannot_be_true_is_put_aside(tmp_path, exchange):
    async with desk_world(tmp_path / "a", exchange, stream=True, poll_s=5.0) as world:
        client = world.submit()
        await world.settled(client, S.ACKED)
        trade = exchange.fill(client, "0.0003")
        for wrong in ({"l": "0.5"}, {"S": "SELL"}, {"L": "60000.01"}):
            await exchange.push({**exchange.execution(client, "TRADE", trade), **wrong, "z": "0"})
        await exchange.push(exchange.execution("someoneelse", "NEW") if False else "{]")
        await world.until(lambda: world.troubles().count("orders.quarantine") >= 3)
        await world.until(world.fills)
        assert world.fills() == [(str(trade["id"]), 30)]


async def test_fault_V16_a_ban_stops_orders_for_its_time_and_nothing_storms(tmp_path, exchange):
    async with desk_world(tmp_path / "a", exchange, poll_s=0.05) as world:
        exchange.script = ["ban 429 1"]
        begun = asyncio.get_running_loop().time()
        first = world.submit()
        await world.settled(first, S.REJECTED)
        assert world.of(Rejected)[0].reason == RejectReason.RATE_LIMIT
        count = len(exchange.requests)
        second = world.submit()
        assert world.state(second) == S.REJECTED
        assert world.of(NotSent)[0].reason == RejectReason.PAUSED
        while asyncio.get_running_loop().time() < begun + 0.9:
            assert len(exchange.requests) == count
            await asyncio.sleep(0.02)
        await world.until(lambda: "venue.rate_limited" in world.healed())
        third = world.submit()
        await world.settled(third, S.ACKED)


async def test_fault_V16_a_limit_on_orders_leaves_cancels_alone(tmp_path, exchange):
    async with desk_world(tmp_path / "a", exchange) as world:
        resting = world.submit()
        await world.settled(resting, S.ACKED)
        exchange.script = ["error -1015 Too many new orders."]
        refused = world.submit()
        await world.settled(refused, S.REJECTED)
        assert "venue.rate_limited" in world.troubles() or "venue.order_limit" in world.troubles()


async def test_fault_V22_a_clock_that_is_off_is_corrected_once(tmp_path, exchange):
    async with desk_world(tmp_path / "a", exchange, poll_s=5.0) as world:
        exchange.offset_ms = 60_000
        client = world.submit()
        await world.settled(client, S.REJECTED)
        assert world.of(Rejected)[0].reason == RejectReason.CLOCK
        await world.until(lambda: "venue.clock" in world.healed())
        asked = len(exchange.sent("GET", "time"))
        again = world.submit()
        await world.settled(again, S.ACKED)
        assert len(exchange.sent("GET", "time")) == asked


async def test_immediate_orders_end_as_the_venue_says(tmp_path, exchange):
    async with desk_world(tmp_path / "a", exchange) as world:
        client = world.submit(kind=2)
        await world.settled(client, S.ACKED)
        exchange.fill(client, "0.0002")
        exchange.orders[client]["status"] = "EXPIRED"
        await world.settled(client, S.EXPIRED)
        assert [type(e) for e in world.events] == [Acked, Filled, Expired]
