"""An operator's word, and what the next start at the exchange makes of it."""

from pathlib import Path

import pytest
import pytest_asyncio

import lab
from engine.events import OrderState
from engine.journal_reader import fold
from tests.venues.desk_world import desk_world
from tests.venues.scripted_exchange import ScriptedExchange
from venues.outcome import BINANCE

S = OrderState
RULES = BINANCE._replace(lag_bound_s=0.2, polls=2, request_life_s=0.0)  # "not found" proves nothing
pytestmark = pytest.mark.asyncio


@pytest_asyncio.fixture
async def exchange():
    async with ScriptedExchange() as server:
        yield server


def spoken(folder: Path, *words: str) -> None:
    """Say something on the account in a folder."""
    why = ("--why", "looked at the exchange")
    assert lab.main(["account", *words, *why, "--account", str(folder)]) == 0


async def test_fault_V07_an_order_that_no_proof_ends_is_ended_by_an_operator(tmp_path, exchange):
    folder = tmp_path / "embedded-main"
    async with desk_world(folder, exchange, rules=RULES) as world:
        exchange.script = ["close before"]
        client = world.submit()
        await world.until(lambda: "orders.unresolved" in world.troubles())
    assert fold(folder).orders[client].state == S.UNKNOWN
    spoken(folder, "end-order", client)
    async with desk_world(folder, exchange, rules=RULES, chance=2) as again:
        assert not again.desk.account.state.live
        assert not again.troubles()
        await again.settled(again.submit(), S.ACKED)


async def test_an_operator_who_was_wrong_is_found_out_at_the_next_start(tmp_path, exchange):
    """The order did arrive: it is followed again, and the account halts."""
    folder = tmp_path / "embedded-main"
    async with desk_world(folder, exchange, rules=RULES) as world:
        exchange.script = ["close before"]
        client = world.submit()
        await world.until(lambda: "orders.unresolved" in world.troubles())
    spoken(folder, "end-order", client)
    exchange.add(client)
    async with desk_world(folder, exchange, rules=RULES, chance=2) as again:
        assert again.troubles() == ["orders.ack_after_end"]
        assert again.state(client) == S.ACKED
        again.desk.orders.cancel_client(client)
        await again.settled(client, S.CANCELED)


async def test_fault_V18_V19_a_lost_order_halts_until_it_is_gone_at_the_exchange(
    tmp_path, exchange
):
    folder = tmp_path / "embedded-main"
    async with desk_world(folder, exchange) as world:
        await world.settled(world.submit(), S.ACKED)
    exchange.add("3ibe680715")  # the form of ours, and no journal knows it
    async with desk_world(folder, exchange, chance=2) as again:
        assert again.troubles() == ["account.lost_order"]
    exchange.orders["3ibe680715"]["status"] = "CANCELED"  # by hand, at the exchange
    async with desk_world(folder, exchange, chance=3) as third:
        assert not third.troubles()


async def test_fault_V18_a_declared_balance_is_what_the_next_start_counts_from(tmp_path, exchange):
    folder = tmp_path / "embedded-main"
    async with desk_world(folder, exchange) as world:
        client = world.submit()
        await world.settled(client, S.ACKED)
        exchange.fill(client, "0.0004")
        await world.settled(client, S.PARTIAL)
    exchange.balances["USDT"] -= 5
    async with desk_world(folder, exchange, chance=2) as again:
        assert again.troubles() == ["account.balance_differs"]
    spoken(folder, "declare", "USDT", f"{exchange.balances['USDT']:f}")
    async with desk_world(folder, exchange, chance=3) as third:
        assert not third.troubles()
        exchange.fill(client, "0.0002")
        await third.until(lambda: third.order(client).filled_lot == 60)
    async with desk_world(folder, exchange, chance=4) as fourth:
        assert not fourth.troubles()


async def test_an_order_that_was_changed_at_the_exchange_is_ended_by_an_operator(
    tmp_path, exchange
):
    """What the exchange says of it is about another order: it proves no end of ours."""
    folder = tmp_path / "embedded-main"
    async with desk_world(folder, exchange) as world:
        client = world.submit()
        await world.settled(client, S.ACKED)
    exchange.orders[client]["origQty"] = "0.002"
    for chance, status in ((2, "NEW"), (3, "CANCELED")):
        exchange.orders[client]["status"] = status
        async with desk_world(folder, exchange, chance=chance) as again:
            assert again.troubles() == ["orders.quarantine"]
            assert again.state(client) == S.ACKED
    spoken(folder, "end-order", client)
    async with desk_world(folder, exchange, chance=4) as last:
        assert not last.troubles()
        assert last.state(client) == S.CANCELED
    exchange.orders[client]["status"] = "NEW"  # the operator was wrong
    async with desk_world(folder, exchange, chance=5) as wrong:
        assert wrong.troubles() == ["orders.quarantine"]
