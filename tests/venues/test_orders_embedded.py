"""The order desk on the embedded exchange: our ledger and its own agree, also after kill -9."""

import json
import random
import signal
import subprocess
import sys
import time
from decimal import Decimal

import pytest

from engine.events import OrderState
from engine.journal_reader import fold, verify
from tests.venues.embedded_flow import finish, open_desk, picture
from venues.embedded.launcher import start_exchange
from venues.embedded.ledger import AccountSpec

KEY, SECRET = "flow-key-canary-1234", "flow-secret-canary-5678"
START = {"BTC": "50", "USDT": "5000000", "BNB": "100"}


@pytest.fixture
def exchange(monkeypatch):
    monkeypatch.setenv("FLOW_KEY", KEY)
    monkeypatch.setenv("FLOW_SECRET", SECRET)
    account = AccountSpec(
        name="main", api_key=KEY, api_secret=SECRET, balances=START, fee_asset="BNB",
        fee_asset_price="600",
    )  # fmt: skip
    options = ("--seed", "7", "--orders-per-10s", "100000", "--weight-per-minute", "1000000")
    with start_exchange(accounts=[account], options=options, stderr=subprocess.DEVNULL) as running:
        yield running


def flow(folder, exchange, orders: int, seed: int, *, polls: bool = False) -> subprocess.Popen:
    command = [sys.executable, "-m", "tests.venues.embedded_flow", str(folder)]
    stream = "" if polls else exchange.ws_api_url
    command += [exchange.rest_url, stream, str(orders), str(seed)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def faults(exchange) -> None:
    """Let one order in a while be lost in each way, and fill in fragments."""
    order = "POST /api/v3/order"
    exchange.fault("rest", "hang", order, skip=3, every=37, phase="after")
    exchange.fault("rest", "reset", order, skip=7, every=23, phase="after")
    exchange.fault("rest", "truncate", order, skip=11, every=29, phase="after")
    exchange.fault("rest", "status", order, skip=13, every=31, phase="after", status=502)
    exchange.fault("rest", "reset", order, skip=17, every=41, phase="before")
    exchange.fault("user", "drop", "executionReport:*", skip=5, every=11)
    exchange.fault("user", "duplicate", "executionReport:*", skip=2, every=5)
    exchange.control("POST", "/engine", {"fragments": 3})


def truth(exchange) -> dict:
    """Return the exchange's own ledger of the account."""
    return exchange.control("GET", "/ledger")["accounts"]["main"]


def agree(exchange, found: dict) -> None:
    """Compare our ledger with the exchange's, to the last unit."""
    theirs = truth(exchange)
    held = {
        asset: Decimal(parts["free"]) + Decimal(parts["locked"])
        for asset, parts in theirs["balances"].items()
    }
    for asset, amount in found["money"].items():
        assert Decimal(amount) == held.get(asset, Decimal(0)), asset
    assert found["fills"] == len(theirs["fills"])
    lots = {order["clientOrderId"]: Decimal(order["executedQty"]) for order in theirs["orders"]}
    for client, (_, filled, _) in found["orders"].items():
        assert Decimal(filled) * Decimal("0.00001") == lots.pop(client, Decimal(0)), client
    assert not lots, "the exchange knows orders that the journal does not"


def test_our_ledger_is_the_exchanges_through_every_fault(tmp_path, exchange):
    faults(exchange)
    process = flow(tmp_path / "a", exchange, 80, 3)
    said = process.communicate(timeout=120)[0].splitlines()
    assert process.returncode == 0, said
    found = json.loads(said[-1])
    finals = {"FILLED", "CANCELED", "REJECTED", "EXPIRED"}
    assert set(found["states"]) <= finals, found["states"]
    assert found["unknowns"] > 0
    assert found["rejects"] > 0
    hit = sum(Decimal(filled) > 0 for _, filled, _ in found["orders"].values())
    assert found["fills"] > hit  # orders that filled in pieces
    assert not {"orders.quarantine", "orders.fills_missing"} & set(found["troubles"]), found
    agree(exchange, found)
    assert verify(tmp_path / "a").orders == 80


def test_polls_alone_see_everything_too(tmp_path, exchange):
    process = flow(tmp_path / "a", exchange, 40, 4, polls=True)
    said = process.communicate(timeout=60)[0].splitlines()
    assert process.returncode == 0, said
    found = json.loads(said[-1])
    assert found["fills"] > 0
    assert not found["troubles"]
    agree(exchange, found)


@pytest.mark.slow
@pytest.mark.asyncio
@pytest.mark.parametrize("rounds", [12])
async def test_fault_P01_kill_9_of_a_trading_engine_loses_and_doubles_nothing(
    tmp_path, exchange, rounds
):
    exchange.fault("rest", "delay", "POST /api/v3/order", phase="after", delay_ms=250)
    chance = random.Random(5)
    folder = tmp_path / "a"
    in_flight = partly = 0
    for round_ in range(rounds):
        process = flow(folder, exchange, 10_000, 100 + round_)
        assert process.stdout.readline() == "started\n"
        before = len(fold(folder).orders)
        for _ in range(200):  # until it trades; a busy machine takes its time
            if len(fold(folder).orders) > before + 1:
                break
            time.sleep(0.05)
        time.sleep(0.3 + chance.random() * 0.7)
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()
        state = fold(folder)
        in_flight += sum(order.state in (1, 2) for order in state.live.values())
        partly += any(0 < order.filled_lot < order.qty_lot for order in state.live.values())
    desk, events = await open_desk(folder, exchange.rest_url, exchange.ws_api_url)
    try:
        await desk.start(999)
        await finish(desk)
        found = picture(desk, events)
    finally:
        await desk.close()
    assert in_flight > 0
    assert OrderState.UNKNOWN.name not in found["states"]
    agree(exchange, found)
