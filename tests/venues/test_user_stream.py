"""The order stream: decoded exactly, and after every loss orders are held until all is compared."""

import asyncio
import json

import pytest
import pytest_asyncio
from hypothesis import given
from hypothesis import strategies as st

from engine.account_state import Market
from engine.events import OrderState, RejectReason
from engine.venue_events import Acked, Filled, NotSent
from tests.venues.desk_world import BTC, desk_world
from tests.venues.scripted_exchange import ScriptedExchange
from venues.binance_spot.decode_user import decode_user

S = OrderState
MARKETS = {"BTCUSDT": Market(1, BTC)}
EVENT = {
    "e": "executionReport", "E": 5, "s": "BTCUSDT", "c": "mine1", "S": "SELL", "o": "LIMIT",
    "f": "GTC", "q": "0.00500", "p": "60000.10", "C": "", "x": "TRADE", "X": "PARTIALLY_FILLED",
    "r": "NONE", "i": 77, "l": "0.00200", "z": "0.00300", "L": "60000.20", "n": "0.00000123",
    "N": "BNB", "T": 1234, "t": 9, "I": 1, "w": True, "m": True, "Z": "0",
}  # fmt: skip


def frame(**changes) -> str:
    return json.dumps({"subscriptionId": 0, "event": {**EVENT, **changes}})


def test_an_execution_is_whole_numbers():
    message = decode_user(frame(), MARKETS)
    trade, order = message.trade, message.order
    assert (trade.price_tick, trade.qty_lot, trade.fee_minor) == (6_000_020, 200, 123)
    assert (trade.side, trade.fee_asset, trade.liquidity, trade.trade_id) == (-1, "BNB", 1, "9")
    assert (order.qty_lot, order.filled_lot, order.status, order.ts_event) == (
        500, 300, "open", 1_234_000_000,
    )  # fmt: skip


def test_a_cancel_names_its_order_in_another_field():
    message = decode_user(frame(x="CANCELED", X="CANCELED", c="cancel7", C="mine1"), MARKETS)
    assert message.order.client_id == "mine1"
    assert message.order.status == "canceled"
    assert message.trade is None


@pytest.mark.parametrize(
    "changes",
    [{"q": "0.000001"}, {"L": "1e400"}, {"l": "NaN"}, {"S": "HOLD"}, {"X": "WEIRD"}, {"t": -1},
     {"i": "seven"}, {"n": "much"}],
)  # fmt: skip
def test_what_cannot_be_read_is_bad_and_never_left_out(changes):
    assert decode_user(frame(**changes), MARKETS).kind == "bad"


@given(st.text(max_size=300) | st.binary(max_size=300))
def test_any_bytes_are_read_or_bad(data):
    assert decode_user(data, MARKETS).kind in ("bad", "answer", "other")


@pytest_asyncio.fixture
async def exchange():
    async with ScriptedExchange() as server:
        yield server


@pytest.mark.asyncio
async def test_fault_V20_without_the_stream_no_order_leaves_and_what_was_missed_is_found(
    tmp_path, exchange
):
    async with desk_world(tmp_path / "a", exchange, stream=True, poll_s=30.0) as world:
        client = world.submit()
        await world.settled(client, S.ACKED)
        exchange.fill(client, "0.0004")
        for socket in list(exchange.sockets):
            await socket.close()
        await world.until(lambda: "orders.stream_lost" in world.troubles())
        held = world.submit()
        assert world.of(NotSent)[0].reason == RejectReason.PAUSED
        assert world.state(held) == S.REJECTED
        await world.until(lambda: "orders.stream_lost" in world.healed())
        assert world.fills() == [("900", 40)]
        again = world.submit()
        await world.settled(again, S.ACKED)


@pytest.mark.asyncio
async def test_a_frame_that_cannot_be_read_makes_the_desk_ask(tmp_path, exchange):
    async with desk_world(tmp_path / "a", exchange, stream=True, poll_s=30.0) as world:
        client = world.submit()
        await world.settled(client, S.ACKED)
        exchange.fill(client, "0.001")
        await exchange.push('{"subscriptionId":0,"event":{"e":"executionReport","s":')
        await world.settled(client, S.FILLED)
        assert "orders.bad_frame" in world.troubles()


@pytest.mark.asyncio
async def test_a_shutdown_notice_makes_it_connect_anew(tmp_path, exchange):
    async with desk_world(tmp_path / "a", exchange, stream=True, poll_s=30.0) as world:
        await exchange.push({"e": "serverShutdown", "E": 1})
        await world.until(lambda: world.desk.stream.connections == 2)
        await world.until(lambda: "orders.stream_lost" in world.healed())
        assert world.troubles().count("orders.stream_lost") == 1
        client = world.submit()
        await world.settled(client, S.ACKED)
        await exchange.push(exchange.execution(client, "TRADE", exchange.fill(client, "0.001")))
        await world.settled(client, S.FILLED)
        assert len(world.fills()) == 1, "the new connection is heard"


@pytest.mark.asyncio
async def test_a_gap_in_the_stream_is_seen_by_the_sum_and_asked_for(tmp_path, exchange):
    async with desk_world(tmp_path / "a", exchange, stream=True, poll_s=30.0) as world:
        client = world.submit()
        await world.settled(client, S.ACKED)
        exchange.fill(client, "0.0003")  # never told
        second = exchange.fill(client, "0.0003")
        await exchange.push(exchange.execution(client, "TRADE", second))
        await world.until(lambda: len(world.fills()) == 2)
        exchange.fill(client, "0.0001")
        exchange.orders[client]["status"] = "CANCELED"
        await exchange.push(exchange.execution(client, "CANCELED"))
        await world.settled(client, S.CANCELED)
        assert [type(e).__name__ for e in world.events if not hasattr(e, "measure")] == [
            "Acked", "Filled", "Filled", "Filled", "Canceled",
        ]  # fmt: skip
        assert len(world.of(Acked)) == 1
        assert len(world.of(Filled)) == 3


@pytest.mark.asyncio
async def test_two_desks_one_account(tmp_path, exchange):
    from engine.errors import UsageError

    async with desk_world(tmp_path / "a", exchange):
        with pytest.raises(UsageError, match="trades this account"):
            async with desk_world(tmp_path / "a", exchange):
                pass
    await asyncio.sleep(0)
