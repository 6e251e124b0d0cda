"""Faults of orders and answers, by the ids of the fault list."""

import asyncio
import http.client
import json
import time

import pytest
from websockets.exceptions import ConnectionClosed

from tests.venues.embedded.clients import ALICE, Rest, ask, events, request, user_socket
from venues.embedded.launcher import RunningExchange

ORDER = "POST /api/v3/order"
SUBSCRIBE = "userDataStream.subscribe.signature"


def resting(rest: Rest, number: str) -> dict:
    """Return the parameters of an order that rests."""
    bid, _ = rest.touch("BTCUSDT")
    return {
        "symbol": "BTCUSDT", "side": "BUY", "kind": "LIMIT", "timeInForce": "GTC",
        "price": f"{bid - 100:.1f}", "quantity": "0.001", "newClientOrderId": number,
    }  # fmt: skip


def query(rest: Rest, number: str) -> tuple[int, dict]:
    return rest.signed("GET", "order", symbol="BTCUSDT", origClientOrderId=number)


def cancel(rest: Rest, number: str) -> tuple[int, dict]:
    return rest.signed("DELETE", "order", symbol="BTCUSDT", origClientOrderId=number)


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        ({"action": "hang"}, TimeoutError),
        ({"action": "reset"}, ConnectionError),
        ({"action": "truncate", "bytes": 30}, http.client.IncompleteRead),
    ],
    ids=["V01", "V02-reset", "V02-truncated"],
)
def test_fault_V01_V02_answer_lost_after_accept(
    still: RunningExchange, fault: dict, error: type, monkeypatch: pytest.MonkeyPatch
) -> None:
    rest, number = Rest(still), f"lost-{fault['action']}"
    params = resting(rest, number)
    still.control("POST", "/faults", {"target": "rest", "match": ORDER, "phase": "after",
                                      "count": 1, **fault})  # fmt: skip
    connection = http.client.HTTPConnection
    monkeypatch.setattr(
        http.client, "HTTPConnection", lambda host, port, timeout: connection(host, port, timeout=1)
    )
    with pytest.raises(error):
        rest.order(**params)
    status, found = query(rest, number)
    assert (status, found["status"]) == (200, "NEW")
    assert cancel(rest, number)[0] == 200


@pytest.mark.parametrize("phase", ["before", "after"])
@pytest.mark.parametrize(
    ("status", "body"),
    [
        (503, '{"code":-1000,"msg":"An unknown error occurred."}'),
        (504, '{"code":-1007,"msg":"Timeout waiting for response from backend server."}'),
        (200, "<html><body>maintenance</body></html>"),
    ],
)
def test_fault_V03_answers_that_prove_nothing(
    still: RunningExchange, phase: str, status: int, body: str
) -> None:
    rest, number = Rest(still), f"v03-{phase}-{status}"
    params = resting(rest, number)
    still.fault("rest", "status", ORDER, phase=phase, status=status, body=body, count=1)
    got, answer = rest.order(**params)
    assert got == status
    assert answer == (body.encode() if body.startswith("<") else json.loads(body))
    assert query(rest, number)[0] == (200 if phase == "after" else 400)
    if phase == "after":
        assert cancel(rest, number)[0] == 200


def test_fault_V04_connection_refused(still: RunningExchange) -> None:
    still.control("POST", "/listen", {"open": False})
    try:
        with pytest.raises(ConnectionRefusedError):
            Rest(still).call("GET", "ping")
    finally:
        still.control("POST", "/listen", {"open": True})
    assert Rest(still).call("GET", "ping") == (200, {})


def test_fault_V05_duplicate_client_id(still: RunningExchange) -> None:
    rest = Rest(still)
    params = resting(rest, "v05")
    assert rest.order(**params)[0] == 200
    assert rest.order(**params) == (400, {"code": -2010, "msg": "Duplicate order sent."})
    assert cancel(rest, "v05")[0] == 200


def test_fault_V06_order_is_hidden_for_a_while(still: RunningExchange) -> None:
    rest = Rest(still)
    still.control("POST", "/engine", {"hide_ms": 400})
    assert rest.order(**resting(rest, "v06"))[0] == 200
    placed = time.monotonic()
    assert query(rest, "v06")[1]["code"] == -2013
    assert rest.signed("GET", "openOrders", symbol="BTCUSDT") == (200, [])
    while query(rest, "v06")[0] != 200:
        assert time.monotonic() - placed < 5
        time.sleep(0.05)
    assert time.monotonic() - placed > 0.3
    assert cancel(rest, "v06")[0] == 200


def test_fault_V16_429_and_418_with_retry_after(still: RunningExchange) -> None:
    rest = Rest(still)
    for status in (429, 418):
        body = '{"code":-1003,"msg":"Too many requests."}'
        still.fault("rest", "status", "*", status=status, body=body, retry_after_s=7, count=1)
        assert rest.call("GET", "ping") == (status, {"code": -1003, "msg": "Too many requests."})
        assert rest.headers["retry-after"] == "7"


def test_fault_V22_clock_off(still: RunningExchange) -> None:
    rest = Rest(still)
    for offset, words in ((60_000, "outside of the recvWindow"), (-60_000, "ahead of the server")):
        still.control("POST", "/clock", {"offset_ms": offset})
        status, answer = rest.signed("GET", "account")
        assert (status, answer["code"]) == (400, -1021)
        assert words in answer["msg"]
        told = rest.call("GET", "time")[1]["serverTime"]
        assert abs(told - time.time() * 1000 - offset) < 5000
        assert rest.signed("GET", "account", timestamp=told)[0] == 200


@pytest.mark.asyncio
async def test_fault_V09_fragments(still: RunningExchange) -> None:
    rest = Rest(still)
    still.control("POST", "/engine", {"fragments": 20})
    _, price = rest.touch("BTCUSDT")
    async with user_socket(still) as socket:
        await ask(socket, request(SUBSCRIBE, 1, ALICE))
        status, answer = rest.order(
            "BTCUSDT", "BUY", "LIMIT", timeInForce="IOC", price=f"{price:.1f}", quantity="0.00100"
        )
        assert (status, answer["status"]) == (200, "FILLED")
        reports = [e for e in await events(socket, 21) if e["x"] == "TRADE"]
    assert len(answer["fills"]) == len(reports) == 20
    assert sum(float(one["l"]) for one in reports) == pytest.approx(0.001)
    assert [one["z"] for one in reports][-1] == "0.00100000"


@pytest.mark.asyncio
async def test_fault_V10_fill_before_ack(still: RunningExchange) -> None:
    rest = Rest(still)
    _, price = rest.touch("BTCUSDT")
    still.fault("ws_api", "delay", "order.place", phase="after", delay_ms=300, count=1)
    async with user_socket(still) as stream, user_socket(still) as orders:
        await ask(stream, request(SUBSCRIBE, 1, ALICE))
        await orders.send(
            request("order.place", 2, ALICE, symbol="BTCUSDT", side="BUY", type="LIMIT",
                    timeInForce="IOC", price=f"{price:.1f}", quantity="0.00100")
        )  # fmt: skip
        reports = await events(stream, 2)
        told = time.monotonic()
        assert reports[1]["x"] == "TRADE"
        answer = json.loads(await orders.recv())
        assert time.monotonic() - told > 0.1
        assert answer["result"]["orderId"] == reports[1]["i"]


@pytest.mark.asyncio
async def test_fault_V11_report_comes_twice(still: RunningExchange) -> None:
    rest = Rest(still)
    still.fault("user", "duplicate", "executionReport:TRADE", count=1)
    async with user_socket(still) as socket:
        await ask(socket, request(SUBSCRIBE, 1, ALICE))
        assert rest.order("BTCUSDT", "SELL", "MARKET", quantity="0.001")[0] == 200
        _, first, second = await events(socket, 3)
        assert first == second
        assert first["x"] == "TRADE"


@pytest.mark.asyncio
async def test_fault_V12_fill_after_cancel(still: RunningExchange) -> None:
    rest = Rest(still)
    still.control("POST", "/engine", {"late_fill_lots": 30})
    async with user_socket(still) as socket:
        await ask(socket, request(SUBSCRIBE, 1, ALICE))
        assert rest.order(**resting(rest, "v12"))[0] == 200
        status, answer = cancel(rest, "v12")
        assert (status, answer["status"], answer["executedQty"]) == (200, "CANCELED", "0.00000000")
        reports = [e for e in await events(socket, 5) if e["e"] == "executionReport"]
        assert [(one["x"], one["z"]) for one in reports] == [
            ("NEW", "0.00000000"), ("CANCELED", "0.00000000"), ("TRADE", "0.00030000"),
        ]  # fmt: skip
        assert query(rest, "v12")[1]["executedQty"] == "0.00030000"


@pytest.mark.asyncio
async def test_user_stream_can_be_cut_while_rest_works(still: RunningExchange) -> None:
    rest = Rest(still)
    async with user_socket(still) as socket:
        await ask(socket, request(SUBSCRIBE, 1, ALICE))
        still.control("POST", "/connections", {"target": "user", "how": "reset"})
        with pytest.raises(ConnectionClosed):
            await asyncio.wait_for(socket.recv(), 2)
    assert rest.call("GET", "ping")[0] == 200


@pytest.mark.asyncio
@pytest.mark.parametrize("action", ["hang", "reset", "truncate", "status"])
async def test_socket_order_whose_answer_is_lost(still: RunningExchange, action: str) -> None:
    rest, number = Rest(still), f"ws-{action}"
    params = resting(rest, number)
    params["type"] = params.pop("kind")
    still.fault("ws_api", action, "order.place", phase="after", count=1, bytes=5, status=504)
    async with user_socket(still) as socket:
        await socket.send(request("order.place", 1, ALICE, **params))
        if action == "status":
            assert json.loads(await socket.recv())["status"] == 504
        else:
            lost = TimeoutError if action == "hang" else ConnectionClosed
            with pytest.raises(lost):
                await asyncio.wait_for(socket.recv(), 0.4)
    assert query(rest, number)[1]["status"] == "NEW"
    assert cancel(rest, number)[0] == 200
