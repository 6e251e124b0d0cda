"""Faults of the market streams, by the ids of the fault list: each really happens on the wire."""

import asyncio
import json

import pytest
from websockets.exceptions import ConnectionClosed, InvalidMessage, InvalidStatus

from tests.venues.embedded.clients import Rest, market_socket
from venues.embedded.launcher import RunningExchange

pytestmark = pytest.mark.asyncio
DEPTH, TICKER = "btcusdt@depth@100ms", "btcusdt@bookTicker"


async def receive(socket, count: int) -> list[dict]:
    async with asyncio.timeout(5):
        return [json.loads(await socket.recv()) for _ in range(count)]


async def silence(socket, seconds: float) -> bool:
    """Say whether nothing comes for so long."""
    try:
        async with asyncio.timeout(seconds):
            await socket.recv()
    except TimeoutError:
        return True
    return False


async def closed(socket) -> int | None:
    """Wait for the end of a connection; return the close code, None if none came."""
    async with asyncio.timeout(5):
        with pytest.raises(ConnectionClosed) as ended:
            while True:
                await socket.recv()
    return ended.value.rcvd.code if ended.value.rcvd else None


@pytest.mark.parametrize(("how", "code"), [("close", 1001), ("reset", None)])
async def test_fault_F01_disconnect(exchange: RunningExchange, how: str, code: int | None) -> None:
    async with market_socket(exchange, f"/ws/{TICKER}") as socket:
        await receive(socket, 1)
        exchange.control("POST", "/connections", {"target": "market", "how": how})
        assert await closed(socket) == code
    async with market_socket(exchange, f"/ws/{TICKER}") as socket:
        await receive(socket, 1)


async def test_fault_F02_cut_in_mid_frame(exchange: RunningExchange) -> None:
    async with market_socket(exchange, f"/ws/{TICKER}") as socket:
        await receive(socket, 1)
        exchange.fault("market", "truncate", TICKER, count=1, bytes=25)
        assert await closed(socket) is None


@pytest.mark.parametrize("pongs", [True, False])
async def test_fault_F03_F04_stall(exchange: RunningExchange, pongs: bool) -> None:
    async with market_socket(exchange, f"/ws/{TICKER}") as socket:
        await receive(socket, 1)
        exchange.fault("market", "stall", count=1, pongs=pongs)
        await asyncio.sleep(0.2)
        while not await silence(socket, 0.3):
            pass
        waiter = await socket.ping()
        if pongs:
            await asyncio.wait_for(waiter, 2)
        else:
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(waiter, 0.3)
        exchange.control("DELETE", "/faults")
        await receive(socket, 1)


async def test_fault_F05_one_symbol_stalls(exchange: RunningExchange) -> None:
    async with market_socket(exchange, "/stream?streams=btcusdt@trade/ethusdt@trade") as socket:
        await receive(socket, 2)
        exchange.fault("market", "drop", "btcusdt@*")
        under_way = exchange.control("GET", "/state")["serverTime"]
        later = [m for m in await receive(socket, 30) if m["data"]["T"] > under_way]
        assert {m["stream"] for m in later} == {"ethusdt@trade"}


async def test_fault_F06_gap(exchange: RunningExchange) -> None:
    async with market_socket(exchange, f"/ws/{DEPTH}") as socket:
        before = (await receive(socket, 1))[0]
        exchange.fault("market", "drop", DEPTH, count=1)
        after = await receive(socket, 2)
        ids = [(m["U"], m["u"]) for m in (before, *after)]
        assert ids[1][0] > ids[0][1] + 1 or ids[2][0] > ids[1][1] + 1


async def test_fault_F07_duplicate(exchange: RunningExchange) -> None:
    async with market_socket(exchange, f"/ws/{DEPTH}") as socket:
        exchange.fault("market", "duplicate", DEPTH, count=1)
        ids = [m["u"] for m in await receive(socket, 4)]
        assert len(ids) - len(set(ids)) == 1


async def test_fault_F08_reorder(exchange: RunningExchange) -> None:
    async with market_socket(exchange, f"/ws/{DEPTH}") as socket:
        await receive(socket, 1)
        exchange.fault("market", "reorder", DEPTH, count=1)
        ids = [m["u"] for m in await receive(socket, 4)]
        assert ids != sorted(ids)
        assert len(set(ids)) == 4


async def test_fault_F09_sequence_reset(exchange: RunningExchange) -> None:
    async with market_socket(exchange, f"/ws/{DEPTH}") as socket:
        before = (await receive(socket, 1))[0]
        assert before["u"] > 100
        exchange.control("POST", "/symbol", {"symbol": "BTCUSDT", "reset_ids": True})
        after = [m for m in await receive(socket, 3) if m["u"] < before["u"]]
        assert after[0]["U"] == 1
        assert after[0]["u"] + 1 == after[1]["U"]


async def test_fault_F10_stale_snapshot(exchange: RunningExchange) -> None:
    rest = Rest(exchange)
    exchange.fault("rest", "stale", "GET /api/v3/depth", count=2)

    def book() -> dict[str, object]:
        found: dict[str, object] = exchange.control("GET", "/state")["symbols"]["BTCUSDT"]
        return found

    before = book()
    async with asyncio.timeout(10):
        while book() == before:  # until that book goes on
            await asyncio.sleep(0.05)
    ids = [rest.call("GET", "depth", symbol="BTCUSDT")[1]["lastUpdateId"] for _ in range(3)]
    assert ids[0] == ids[1] < ids[2]


async def test_fault_F11_crossed_book_and_its_end(exchange: RunningExchange) -> None:
    async with market_socket(exchange, f"/stream?streams={TICKER}/{DEPTH}") as socket:
        exchange.control("POST", "/symbol", {"symbol": "BTCUSDT", "cross_ms": 400})
        seen: list[bool] = []
        async with asyncio.timeout(20):
            while not any(seen) or seen[-1]:  # crossed first, and whole again by itself
                message = (await receive(socket, 1))[0]["data"]
                if "a" in message and isinstance(message["a"], str):
                    seen.append(float(message["b"]) >= float(message["a"]))
        assert seen[-2:] == [True, False]


async def test_fault_F12_bad_prices(exchange: RunningExchange) -> None:
    bad = ["0", "-1", "NaN", "1e400", 5]
    async with market_socket(exchange, "/ws/btcusdt@trade") as socket:
        for price in bad:
            body = {"stream": "btcusdt@trade", "changes": {"p": price}}
            exchange.control("POST", "/send", body)
        told = [m["p"] for m in await receive(socket, 25)]
        assert [price for price in told if price in bad] == bad


async def test_fault_F13_jump(exchange: RunningExchange) -> None:
    rest = Rest(exchange)
    before = rest.touch("ETHUSDT")[0]
    exchange.control("POST", "/symbol", {"symbol": "ETHUSDT", "jump_bps": 5000})
    high = rest.touch("ETHUSDT")[0]
    assert high / before == pytest.approx(1.5, rel=0.02)
    exchange.control("POST", "/symbol", {"symbol": "ETHUSDT", "jump_bps": -3333.3})
    assert rest.touch("ETHUSDT")[0] / before == pytest.approx(1.0, rel=0.02)


async def test_fault_F14_any_text(exchange: RunningExchange) -> None:
    async with market_socket(exchange, f"/ws/{TICKER}") as socket:
        torn = '{"u":1,"u":2'
        exchange.control("POST", "/send", {"stream": TICKER, "payload": torn})
        got = ""
        async with asyncio.timeout(5):
            while not got or got != torn and json.loads(got):
                got = await socket.recv()
        assert got == torn, "everything else that came could be read"


async def test_fault_F17_flood_reports_its_true_rate(exchange: RunningExchange) -> None:
    async with market_socket(exchange, f"/ws/{TICKER}", compression=None) as socket:
        body = {"symbol": "BTCUSDT", "rate": 5000, "seconds": 1.0}
        exchange.control("POST", "/flood", body)
        count, last, report = 0, 0, {"running": True}
        async with asyncio.timeout(30):
            while report["running"] or count < report["sent"]:
                message = json.loads(await socket.recv())
                assert message["u"] > last
                last = message["u"]
                count += 1
                if report["running"] and count % 200 == 0:
                    report = exchange.control("GET", "/flood")
    assert report["sent"] > 0
    assert report["rate"] == pytest.approx(report["sent"] / report["seconds"], rel=0.01)


@pytest.mark.parametrize(
    ("kind", "size", "code"),
    [
        ("big", 10 << 20, 1009), ("bomb", 256 << 20, 1009), ("huge_header", 0, 1009),
        ("endless", 0, 1009), ("bad_utf8", 0, 1007), ("bad_opcode", 0, 1002),
        ("rsv_bits", 0, 1002), ("masked", 0, 1002),
    ],
)  # fmt: skip
async def test_fault_F19_F20_F21_broken_protocol(
    exchange: RunningExchange, kind: str, size: int, code: int
) -> None:
    async with market_socket(exchange, f"/ws/{TICKER}", max_size=1 << 20) as socket:
        await receive(socket, 1)
        exchange.control("POST", "/bytes", {"kind": kind, "size": size})
        with pytest.raises(ConnectionClosed) as ended:
            async with asyncio.timeout(5):
                while True:
                    await socket.recv()
        assert ended.value.sent is not None
        assert ended.value.sent.code == code


async def test_fault_F22_refused_and_limited_connections(exchange: RunningExchange) -> None:
    exchange.control("POST", "/listen", {"open": False})
    try:
        with pytest.raises(OSError):
            await market_socket(exchange, "/ws").__aenter__()
    finally:
        exchange.control("POST", "/listen", {"open": True})
    exchange.fault("connect", "status", "/ws*", status=429, count=1, retry_after_s=3)
    with pytest.raises(InvalidStatus) as refused:
        await market_socket(exchange, "/ws").__aenter__()
    assert refused.value.response.status_code == 429
    assert refused.value.response.headers["Retry-After"] == "3"
    exchange.fault("connect", "reset", count=1)
    with pytest.raises((OSError, InvalidMessage)):
        await market_socket(exchange, "/ws").__aenter__()
    async with market_socket(exchange, f"/ws/{TICKER}") as socket:
        await receive(socket, 1)


async def test_fault_F23_subscription_is_not_confirmed(exchange: RunningExchange) -> None:
    subscribe = json.dumps({"method": "SUBSCRIBE", "params": [TICKER], "id": 1})
    async with market_socket(exchange, "/ws") as socket:
        exchange.fault("market", "unconfirmed", count=1)
        await socket.send(subscribe)
        assert await silence(socket, 0.5)
        await socket.send(subscribe)
        assert (await receive(socket, 1))[0] == {"result": None, "id": 1}


async def test_fault_F24_halt(exchange: RunningExchange) -> None:
    rest = Rest(exchange)
    exchange.control("POST", "/symbol", {"symbol": "BTCUSDT", "status": "HALT"})
    info = rest.call("GET", "exchangeInfo", symbol="BTCUSDT")[1]
    assert info["symbols"][0]["status"] == "HALT"
    status, answer = rest.order("BTCUSDT", "BUY", "MARKET", quantity="0.001")
    assert (status, answer) == (400, {"code": -2010, "msg": "Market is closed."})
    async with market_socket(exchange, f"/stream?streams={TICKER}/ethusdt@bookTicker") as socket:
        assert {m["data"]["s"] for m in await receive(socket, 5)} == {"ETHUSDT"}


async def test_shutdown_notice(exchange: RunningExchange) -> None:
    async with market_socket(exchange, f"/ws/{TICKER}") as socket:
        exchange.control("POST", "/connections", {"target": "market", "how": "notice"})
        assert "serverShutdown" in [m.get("e") for m in await receive(socket, 8)]
