"""Many orders in a running market: stream, queries and the exchange's ledger tell one story."""

import asyncio
import json
import random
from decimal import Decimal

import pytest

from tests.venues.embedded.clients import BALANCES, BOB, Rest, ask, request, user_socket
from venues.embedded.launcher import RunningExchange

ORDERS, RESTS = 150, ("NEW", "PARTIALLY_FILLED")
SYMBOL = "ETHUSDT"


async def made_a_trade(rest: Rest) -> None:
    """Wait until an order that rests was met."""
    async with asyncio.timeout(30):
        while not any(one["isMaker"] for one in rest.signed("GET", "myTrades", symbol=SYMBOL)[1]):
            await asyncio.sleep(0.2)


@pytest.mark.asyncio
async def test_stream_queries_and_ledger_agree(exchange: RunningExchange) -> None:
    exchange.control("POST", "/speed", {"speed": 20.0})
    rng, rest = random.Random(5), Rest(exchange, BOB)
    before = exchange.control("GET", "/ledger")["accounts"]["bob"]
    async with user_socket(exchange) as orders, user_socket(exchange) as stream:
        await ask(stream, request("userDataStream.subscribe.signature", 1, BOB))
        opened: list[str] = []
        for number in range(ORDERS):
            bid, ask_price = rest.touch(SYMBOL)
            price = rng.choice([bid, bid - 0.2, ask_price, ask_price + 0.2])
            side = rng.choice(["BUY", "SELL"])
            answer = await ask(
                orders,
                request("order.place", number, BOB, symbol=SYMBOL, side=side, type="LIMIT",
                        timeInForce=rng.choice(["GTC", "GTC", "IOC"]), price=f"{price:.2f}",
                        quantity=f"{rng.randint(1, 30) / 100:.2f}",
                        newClientOrderId=f"many{number}"),
            )  # fmt: skip
            if answer["status"] == 200 and answer["result"]["status"] in RESTS:
                opened.append(f"many{number}")
            if opened and rng.random() < 0.2:
                gone = opened.pop(rng.randrange(len(opened)))
                await ask(
                    orders,
                    request("order.cancel", 1000 + number, BOB, symbol=SYMBOL,
                            origClientOrderId=gone),
                )  # fmt: skip
        await made_a_trade(rest)
        rest.signed("DELETE", "openOrders", symbol=SYMBOL)
        exchange.control("POST", "/speed", {"speed": 0.0})
        events = []
        while True:
            try:
                async with asyncio.timeout(0.5):
                    events.append(json.loads(await stream.recv())["event"])
            except TimeoutError:
                break
    after = exchange.control("GET", "/ledger")["accounts"]["bob"]
    mine = [one for one in after["orders"] if one["clientOrderId"].startswith("many")]
    assert {one["status"] for one in mine} <= {"FILLED", "CANCELED", "EXPIRED", "EXPIRED_IN_MATCH"}
    reports = [one for one in events if one["e"] == "executionReport"]
    trades = [one for one in reports if one["x"] == "TRADE"]
    assert len({one["t"] for one in trades}) == len(trades) > 20
    assert any(not one["m"] for one in trades)
    assert any(one["m"] for one in trades)
    free = {asset: Decimal(one["free"]) for asset, one in before["balances"].items()}
    for one in trades:  # the stream alone gives the balances
        sign = 1 if one["S"] == "BUY" else -1
        free["ETH"] += sign * Decimal(one["l"])
        free["USDT"] -= sign * Decimal(one["Y"])
        free[one["N"]] -= Decimal(one["n"])
    assert free == {asset: Decimal(one["free"]) for asset, one in after["balances"].items()}
    for order in mine:
        filled = sum(Decimal(one["l"]) for one in trades if one["i"] == order["orderId"])
        assert filled == Decimal(order["executedQty"]) <= Decimal(order["origQty"])
    told = {one["id"] for one in rest.signed("GET", "myTrades", symbol=SYMBOL, limit=1000)[1]}
    assert {one["t"] for one in trades} <= told
    assert set(BALANCES) == set(free)
