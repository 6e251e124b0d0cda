"""The WebSocket API and the user data stream on it."""

import json
from decimal import Decimal

import pytest

from tests.venues.embedded.clients import ALICE, BOB, Rest, ask, events, request, user_socket
from venues.embedded.launcher import RunningExchange

pytestmark = pytest.mark.asyncio
SUBSCRIBE = "userDataStream.subscribe.signature"


async def test_orders_over_the_socket_and_their_events(still: RunningExchange) -> None:
    bid, ask_price = Rest(still).touch("BTCUSDT")
    async with user_socket(still) as orders, user_socket(still) as stream:
        answer = await ask(stream, request(SUBSCRIBE, 1, ALICE))
        assert answer["status"] == 200
        assert answer["result"]["subscriptionId"] >= 0
        placed = await ask(
            orders,
            request(
                "order.place", 2, ALICE, symbol="BTCUSDT", side="BUY", type="LIMIT",
                timeInForce="GTC", price=f"{bid - 50:.1f}", quantity="0.00300",
                newClientOrderId="wsorder1", newOrderRespType="RESULT",
            ),
        )  # fmt: skip
        assert placed["status"] == 200
        assert (placed["result"]["status"], placed["result"]["origQty"]) == ("NEW", "0.00300000")
        report, position = await events(stream, 2)
        assert (report["x"], report["X"], report["c"]) == ("NEW", "NEW", "wsorder1")
        assert [one["a"] for one in position["B"]] == ["USDT"]
        status = await ask(
            orders,
            request("order.status", 3, ALICE, symbol="BTCUSDT", origClientOrderId="wsorder1"),
        )
        assert status["result"]["orderId"] == placed["result"]["orderId"]
        opened = await ask(orders, request("openOrders.status", 4, ALICE))
        assert [one["clientOrderId"] for one in opened["result"]] == ["wsorder1"]
        canceled = await ask(
            orders,
            request("order.cancel", 5, ALICE, symbol="BTCUSDT",
                    orderId=placed["result"]["orderId"], newClientOrderId="cancel1"),
        )  # fmt: skip
        assert canceled["result"]["origClientOrderId"] == "wsorder1"
        report, _ = await events(stream, 2)
        assert (report["x"], report["c"], report["C"]) == ("CANCELED", "cancel1", "wsorder1")
        taken = await ask(
            orders,
            request("order.place", 6, ALICE, symbol="BTCUSDT", side="BUY", type="LIMIT",
                    timeInForce="IOC", price=f"{ask_price:.1f}", quantity="0.00100"),
        )  # fmt: skip
        fill = taken["result"]["fills"][0]
        new, trade, position = await events(stream, 3)
        assert (new["x"], trade["x"], trade["X"]) == ("NEW", "TRADE", "FILLED")
        assert (trade["t"], trade["L"], trade["n"]) == (
            fill["tradeId"], fill["price"], fill["commission"],
        )  # fmt: skip
        assert {one["a"] for one in position["B"]} == {"BTC", "USDT"}
        account = await ask(orders, request("account.status", 7, ALICE))
        free = {one["asset"]: one["free"] for one in account["result"]["balances"]}
        assert {one["a"]: one["f"] for one in position["B"]} == {
            a: free[a] for a in ("BTC", "USDT")
        }


async def test_events_go_to_their_account_only(still: RunningExchange) -> None:
    bid, _ = Rest(still).touch("ETHUSDT")
    async with user_socket(still) as socket:
        await ask(socket, request(SUBSCRIBE, 1, ALICE))
        Rest(still, BOB).order(
            "ETHUSDT", "BUY", "LIMIT", timeInForce="GTC", price=f"{bid - 1:.2f}", quantity="0.1",
            newClientOrderId="bobs",
        )  # fmt: skip
        Rest(still, ALICE).order(
            "ETHUSDT", "BUY", "LIMIT", timeInForce="GTC", price=f"{bid - 1:.2f}", quantity="0.1",
            newClientOrderId="alices",
        )  # fmt: skip
        first = (await events(socket, 1))[0]
        assert first["c"] == "alices"
    for account in (ALICE, BOB):
        assert Rest(still, account).signed("DELETE", "openOrders", symbol="ETHUSDT")[0] == 200


async def test_deposits_are_told(still: RunningExchange) -> None:
    async with user_socket(still) as socket:
        await ask(socket, request(SUBSCRIBE, 1, ALICE))
        for amount in ("0.5", "-0.5"):
            still.control(
                "POST", "/deposit", {"account": "alice", "asset": "BNB", "amount": amount}
            )
            event = (await events(socket, 1))[0]
            assert (event["e"], event["a"], Decimal(event["d"])) == (
                "balanceUpdate", "BNB", Decimal(amount),
            )  # fmt: skip


async def test_refusals_over_the_socket(still: RunningExchange) -> None:
    async with user_socket(still) as socket:
        assert (await ask(socket, request("ping", 1)))["result"] == {}
        assert (await ask(socket, request("time", 2)))["result"]["serverTime"] > 0
        for text, status, code in [
            (request("session.logon", 3, ALICE), 400, -4056),
            (request("nonsense", 4), 400, -1000),
            (request("account.status", 5, ALICE, timestamp=1), 400, -1021),
            (request("order.cancel", 6, ALICE, symbol="BTCUSDT", orderId=1 << 40), 400, -2011),
            (request("depth", 7, symbol="NOPE"), 400, -1121),
        ]:
            answer = await ask(socket, text)
            assert (answer["status"], answer["error"]["code"]) == (status, code)
        forged = json.loads(request("account.status", 8, ALICE))
        forged["params"]["signature"] = "0" * 64
        answer = await ask(socket, json.dumps(forged))
        assert answer["error"]["code"] == -1022
        await socket.send("no json")
        assert json.loads(await socket.recv())["status"] == 400
