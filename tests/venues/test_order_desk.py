"""The whole desk: a run's end, kill in flight, starts after anything, a full disk."""

import asyncio
import errno
import os
import sys
from decimal import Decimal

import pytest
import pytest_asyncio

from engine.events import OrderState, RejectReason
from engine.journal_reader import fold, verify
from engine.venue_events import Acked, NotSent
from tests.venues.desk_world import desk_world
from tests.venues.scripted_exchange import ScriptedExchange

S = OrderState
pytestmark = pytest.mark.asyncio


@pytest_asyncio.fixture
async def exchange():
    async with ScriptedExchange() as server:
        yield server


@pytest.mark.parametrize("policy", ["written", "synced"])
async def test_a_run_leaves_a_journal_that_verifies_and_folds_to_the_exchange(
    tmp_path, exchange, policy
):
    async with desk_world(tmp_path / "a", exchange, stream=True, policy=policy) as world:
        words = ["rest", "fill", "fill 0.0002 0.0003", "error -2010 x", "reset", "html", "hang"]
        clients = []
        for at in range(35):
            exchange.script.append(words[at % len(words)])
            clients.append(world.submit(side=1 if at % 2 else -1))
            await asyncio.sleep(0.005)
        await world.until(lambda: not world.desk.orders._sends, 5.0)
        for client in clients[::3]:
            world.desk.orders.cancel_client(client)
        await world.until(lambda: not world.desk.orders._tasks, 20.0)
        unknown = [c for c in clients if world.state(c) == S.UNKNOWN]
        await world.until(lambda: all(world.state(c) != S.UNKNOWN for c in unknown), 10.0)
        lots = sum(
            int(Decimal(t["qty"]) * 100_000) * (1 if t["isBuyer"] else -1) for t in exchange.trades
        )
        assert sum(world.desk.account.state.positions.values()) == lots
    assert verify(tmp_path / "a").torn_bytes == 0
    state = fold(tmp_path / "a")
    assert len(exchange.sent("POST", "order")) == len(clients)
    for client in clients:
        order = state.orders[client]
        theirs = exchange.orders.get(client)
        if theirs is None:
            assert order.state == S.REJECTED
            continue
        assert order.filled_lot == int(Decimal(theirs["executedQty"]) * 100_000)
        assert {"NEW": S.ACKED, "PARTIALLY_FILLED": S.PARTIAL, "FILLED": S.FILLED,
                "CANCELED": S.CANCELED}[theirs["status"]] == order.state  # fmt: skip


async def test_fault_V23_V24_a_kill_in_flight_ends_every_order_and_sends_no_new_one(
    tmp_path, exchange
):
    async with desk_world(tmp_path / "a", exchange, timeout_s=1.0) as world:
        exchange.cancel_script = ["busy"] * 10
        clients = [world.submit(side=1 if at % 2 else -1) for at in range(30)]
        world.desk.orders.stopped = True
        assert all(world.desk.orders.cancel_client(client) for client in clients)
        refused = world.submit()
        assert world.state(refused) == S.REJECTED
        await world.until(lambda: not world.desk.account.state.live, 15.0)
        assert len(exchange.sent("POST", "order")) <= 30
        assert not [o for o in exchange.orders.values() if o["status"] == "NEW"]
        assert {world.state(client) for client in clients} <= {S.CANCELED, S.REJECTED}


async def test_fault_V18_V19_a_start_tells_of_foreign_orders_and_odd_balances(tmp_path, exchange):
    async with desk_world(tmp_path / "a", exchange) as world:
        client = world.submit()
        await world.settled(client, S.ACKED)
        exchange.fill(client, "0.0004")
        await world.settled(client, S.PARTIAL)
    exchange.add("web_manual")
    exchange.balances["USDT"] -= Decimal("0.01")
    async with desk_world(tmp_path / "a", exchange, chance=2) as again:
        assert again.troubles() == ["account.foreign_order", "account.balance_differs"]
        assert exchange.orders["web_manual"]["status"] == "NEW"
        assert not exchange.sent("DELETE", "order")


async def test_what_happened_while_nobody_looked_is_found_at_the_next_start(tmp_path, exchange):
    async with desk_world(tmp_path / "a", exchange) as world:
        resting, filled, gone = world.submit(), world.submit(), world.submit()
        await world.until(lambda: len(world.of(Acked)) == 3)
    exchange.fill(filled, "0.001")
    exchange.fill(gone, "0.0002")
    exchange.orders[gone]["status"] = "CANCELED"
    async with desk_world(tmp_path / "a", exchange, chance=2) as again:
        assert [again.state(c) for c in (resting, filled, gone)] == [S.ACKED, S.FILLED, S.CANCELED]
        assert [qty for _, qty in again.fills()] == [100, 20]
        assert not again.troubles()


async def test_fault_V12_a_fill_after_cancel_and_end_is_found_at_the_next_start_once(
    tmp_path, exchange
):
    """The order is over in the journal, so only the balance tells that something is missing."""
    async with desk_world(tmp_path / "a", exchange) as world:
        client = world.submit()
        await world.settled(client, S.ACKED)
        world.desk.orders.cancel_client(client)
        await world.settled(client, S.CANCELED)
    trade = exchange.fill(client, "0.0004")
    exchange.orders[client]["status"] = "CANCELED"
    for chance, told in ((2, [(str(trade["id"]), 40)]), (3, [])):
        async with desk_world(tmp_path / "a", exchange, chance=chance) as again:
            assert again.fills() == told
            assert "account.balance_differs" not in again.troubles()
            assert again.order(client).filled_lot == 40
            assert again.state(client) == S.CANCELED
            assert list(again.desk.account.state.positions.values()) == [40]


async def test_fault_P04_without_room_in_the_journal_no_order_leaves(
    tmp_path, exchange, monkeypatch
):
    async with desk_world(tmp_path / "a", exchange) as world:
        resting = world.submit()
        await world.settled(resting, S.ACKED)
        journal = world.desk.account.journal
        journal._reserved = journal._segment.capacity

        def full(descriptor, offset, size):
            raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr(os, "posix_fallocate", full)
        sent = len(exchange.sent("POST", "order"))
        world.submit()
        assert world.of(NotSent)[-1].reason == RejectReason.JOURNAL
        assert "journal.failed" in world.troubles()
        world.desk.orders.cancel_client(resting)
        await world.settled(resting, S.CANCELED)
        assert len(exchange.sent("POST", "order")) == sent


@pytest.mark.parametrize("policy", ["written", "synced"])
async def test_I1_the_intent_is_in_the_file_before_the_first_byte_is_out(
    tmp_path, exchange, monkeypatch, policy
):
    synced = []
    real = os.fdatasync

    def watched(descriptor):
        real(descriptor)
        synced.append(fold(tmp_path / "a"))

    seen = []
    async with desk_world(tmp_path / "a", exchange, policy=policy) as world:
        monkeypatch.setattr(os, "fdatasync", watched)
        exchange.witness = lambda client: seen.append(
            (client, fold(tmp_path / "a").orders[client].sent, bool(synced))
        )
        client = world.submit()
        await world.settled(client, S.ACKED)
    assert seen == [(client, True, policy == "synced")]
    if synced:
        assert synced[0].orders[client].sent


async def test_fault_P06_a_disk_that_refuses_to_sync_stops_orders(tmp_path, exchange, monkeypatch):
    async with desk_world(tmp_path / "a", exchange, policy="synced") as world:

        def refuses(descriptor):
            raise OSError(errno.EIO, "Input/output error")

        with monkeypatch.context() as patch:
            patch.setattr(os, "fdatasync", refuses)
            first = world.submit()
            await world.settled(first, S.REJECTED)
        assert world.of(NotSent)[0].reason == RejectReason.JOURNAL
        world.submit()
        assert world.of(NotSent)[1].reason == RejectReason.JOURNAL
        assert world.troubles().count("journal.failed") == 2
        assert not exchange.sent("POST", "order")


async def test_nothing_heavy_is_imported_before_a_client_is_opened():
    code = (
        "import sys, venues.order_desk, venues.orders_ccxt, app.live_permission\n"
        "print({'ccxt', 'aiohttp', 'websockets'} & set(sys.modules))"
    )
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", code, stdout=asyncio.subprocess.PIPE
    )
    said, _ = await process.communicate()
    assert said.decode().strip() == "set()"


async def test_a_close_does_not_wait_for_a_ban_and_loses_no_doubt(tmp_path, exchange, monkeypatch):
    monkeypatch.setattr("venues.orders_ccxt.CLOSE_S", 0.2)
    async with desk_world(tmp_path / "a", exchange, timeout_s=5.0) as world:
        resting = world.submit()
        await world.settled(resting, S.ACKED)
        exchange.script = ["hang", "ban 418 3600"]
        hanging = world.submit()
        banned = world.submit()
        await world.settled(banned, S.REJECTED)
        world.desk.orders.cancel_client(resting)  # must wait an hour
    state = fold(tmp_path / "a")
    assert state.orders[hanging].state == S.UNKNOWN
    assert state.orders[resting].state == S.PENDING_CANCEL
