"""One exchange process for the tests of its wire; each test gets it without faults."""

import asyncio
import subprocess
from collections.abc import Callable, Iterator, Mapping

import pytest
import uvloop

from tests.venues.embedded.clients import ALICE, BOB
from venues.embedded.launcher import RunningExchange, start_exchange

OPTIONS = (
    "--seed", "7", "--rows-per-s", "150", "--history-hours", "6", "--orders-per-10s", "5000",
    "--weight-per-minute", "100000",
)  # fmt: skip


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    return {"uvloop": uvloop.new_event_loop}


@pytest.fixture(scope="session")
def running() -> Iterator[RunningExchange]:
    exchange = start_exchange(accounts=(ALICE, BOB), options=OPTIONS, stderr=subprocess.DEVNULL)
    yield exchange
    assert exchange.stop() == 0


@pytest.fixture
def exchange(running: RunningExchange) -> Iterator[RunningExchange]:
    """Give the exchange with its market running and no fault set."""
    yield running
    running.control("DELETE", "/faults")
    running.control("POST", "/clock", {"offset_ms": 0})
    running.control("POST", "/speed", {"speed": 1.0})
    for symbol in running.symbols:
        running.control("POST", "/symbol", {"symbol": symbol, "status": "TRADING", "restock": True})
    running.control("POST", "/connections", {"how": "reset"})


@pytest.fixture
def still(exchange: RunningExchange) -> RunningExchange:
    """Stop the market: nothing moves but what the test does."""
    exchange.control("POST", "/speed", {"speed": 0.0})
    return exchange
