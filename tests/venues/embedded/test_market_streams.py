"""The market streams over real sockets, read by the engine's own decoder and book sync."""

import asyncio
import json
import time
from collections import defaultdict

import numpy as np
import pytest
import websockets
from websockets.exceptions import ConnectionClosed

from engine.rows import ROW, SNAPSHOT_START, Kind
from tests.venues.embedded.clients import Rest, market_socket
from venues.binance_spot.decode import MessageDecoder
from venues.binance_spot.sync import new_sync
from venues.embedded.launcher import RunningExchange

pytestmark = pytest.mark.asyncio
NAMES = ("trade", "aggTrade", "bookTicker", "depth@100ms")


async def gather(socket, seconds: float) -> list[str]:
    """Return the messages of some seconds."""
    found, until = [], time.monotonic() + seconds
    while (left := until - time.monotonic()) > 0:
        try:
            async with asyncio.timeout(left):
                found.append(await socket.recv())
        except TimeoutError:
            break
    return found


def rows_of(decoder: MessageDecoder, message: bytes, symbol: str = "") -> np.ndarray:
    rows = np.zeros(4096, ROW)
    count = decoder.decode_into(message, memoryview(rows.view(np.uint8)), 0, 1, symbol)
    assert count >= 0
    return rows[:count].copy()


class Rebuilt:
    """A book rebuilt from packets that the sync lets through."""

    def __init__(self) -> None:
        self.sync = new_sync()
        self.sides: dict[int, dict[float, float]] = {1: {}, -1: {}}
        self.touch_at: dict[int, tuple[float, float]] = {}

    def apply(self, packets: list[np.ndarray]) -> None:
        for rows in packets:
            if len(rows) and rows["flags"][0] & SNAPSHOT_START:
                self.sides = {1: {}, -1: {}}
            for row in rows:
                side = self.sides[int(row["side"])]
                if row["f1"] == 0:
                    side.pop(float(row["f0"]), None)
                else:
                    side[float(row["f0"])] = float(row["f1"])
            if len(rows):
                self.touch_at[int(rows["i3"][-1])] = max(self.sides[1]), min(self.sides[-1])


async def test_engine_rebuilds_the_book_of_the_exchange(exchange: RunningExchange) -> None:
    symbols = {"BTCUSDT": 0, "ETHUSDT": 1}
    decoder = MessageDecoder(symbols, {0: 0.1, 1: 0.01})
    books = {name: Rebuilt() for name in symbols}
    kinds: dict[int, int] = defaultdict(int)
    quotes: list[tuple[int, int, float, float]] = []
    streams = "/".join(f"{s.lower()}@{n}" for s in symbols for n in NAMES)
    rest = Rest(exchange)
    async with market_socket(exchange, f"/stream?streams={streams}") as socket:
        first = await gather(socket, 0.4)
        snapshots = {s: rest.call("GET", "depth", symbol=s, limit=1000)[1] for s in symbols}
        later = await gather(socket, 1.6)
    for at, message in enumerate(first + later):
        rows = rows_of(decoder, message.encode())
        for row in rows:
            kinds[int(row["kind"])] += 1
        if len(rows) and rows["kind"][0] == Kind.QUOTE:
            row = rows[0]
            quotes.append((int(row["instrument"]), int(row["i4"]), row["f0"], row["f1"]))
        ids = decoder.depth
        if ids is not None:
            name = list(symbols)[ids.instrument]
            delta = (ids.first_id, ids.last_id, ids.prev_id)
            from engine.book_sync import Delta

            packet = books[name].sync.on_delta(Delta(*delta, rows))
            books[name].apply([] if packet is None else [packet])
        if at == len(first) - 1:
            for name, answer in snapshots.items():
                body = json.dumps(answer).encode()
                packets = books[name].sync.on_snapshot(
                    answer["lastUpdateId"], rows_of(decoder, body, name)
                )
                assert packets
                books[name].apply(packets)
    assert kinds[Kind.TRADE] > 5
    assert kinds[Kind.QUOTE] > 20
    assert set(decoder.skipped) == set()
    compared = 0
    for index, update_id, bid, ask in quotes:
        told = books[list(symbols)[index]].touch_at.get(update_id)
        if told is not None:
            assert told == (bid, ask)
            compared += 1
    assert compared > 5
    for name, book in books.items():
        assert book.sync.gaps == 0
        assert 10 < len(book.sides[1]) < 200, name


async def test_rebuilt_book_equals_rest_when_the_market_stands(exchange: RunningExchange) -> None:
    rest = Rest(exchange)
    decoder, book = MessageDecoder({"BTCUSDT": 0}), Rebuilt()
    from engine.book_sync import Delta

    async with market_socket(exchange, "/ws/btcusdt@depth@100ms") as socket:
        answer = rest.call("GET", "depth", symbol="BTCUSDT", limit=5000)[1]
        body = json.dumps(answer).encode()
        book.apply(book.sync.on_snapshot(answer["lastUpdateId"], rows_of(decoder, body, "BTCUSDT")))
        messages = await gather(socket, 1.0)
        exchange.control("POST", "/speed", {"speed": 0.0})
        messages += await gather(socket, 0.4)
        end = rest.call("GET", "depth", symbol="BTCUSDT", limit=5000)[1]
    for message in messages:
        rows = rows_of(decoder, message.encode())
        ids = decoder.depth
        assert ids is not None
        packet = book.sync.on_delta(Delta(ids.first_id, ids.last_id, ids.prev_id, rows))
        book.apply([] if packet is None else [packet])
    assert book.sync.gaps == 0
    assert book.sync.book_id == end["lastUpdateId"]
    for side, name in ((1, "bids"), (-1, "asks")):
        assert book.sides[side] == {float(p): float(q) for p, q in end[name]}


async def test_klines_grow_and_equal_the_trades(exchange: RunningExchange) -> None:
    names = "/".join(f"btcusdt@{n}" for n in ("trade", "kline_1s", "kline_1m"))
    async with market_socket(exchange, f"/stream?streams={names}") as socket:
        messages = [json.loads(m) for m in await gather(socket, 2.4)]
    trades = [m["data"] for m in messages if m["stream"].endswith("@trade")]
    assert [t["t"] for t in trades] == list(range(trades[0]["t"], trades[-1]["t"] + 1))
    seconds = {
        m["data"]["k"]["t"]: m["data"]["k"] for m in messages if m["stream"].endswith("kline_1s")
    }
    closed = [k for k in seconds.values() if k["x"] and k["t"] > trades[0]["T"]]
    assert closed
    for candle in closed:
        inside = [t for t in trades if candle["t"] <= t["T"] <= candle["T"]]
        assert candle["n"] == len(inside)
        assert (candle["f"], candle["L"]) == (inside[0]["t"], inside[-1]["t"])
        assert float(candle["c"]) == float(inside[-1]["p"])
        assert float(candle["v"]) == pytest.approx(sum(float(t["q"]) for t in inside))
    minute = [m["data"]["k"] for m in messages if m["stream"].endswith("kline_1m")]
    assert minute
    assert minute[-1]["T"] - minute[-1]["t"] == 59_999


async def test_requests_of_a_market_socket(exchange: RunningExchange) -> None:
    async with market_socket(exchange, "/ws") as socket:

        async def ask(text: str) -> dict:
            await socket.send(text)
            while True:
                answer = json.loads(await socket.recv())
                if "e" not in answer and "u" not in answer:
                    return answer

        name = "btcusdt@bookTicker"
        assert await ask(json.dumps({"method": "SUBSCRIBE", "params": [name], "id": 1})) == {
            "result": None, "id": 1,
        }  # fmt: skip
        listed = await ask('{"method":"LIST_SUBSCRIPTIONS","id":"two"}')
        assert listed == {"result": [name], "id": "two"}
        assert json.loads(await socket.recv())["s"] == "BTCUSDT"
        assert (await ask('{"method":"SUBSCRIBE","params":"x","id":3}'))["error"]["code"] == 2
        await ask(json.dumps({"method": "UNSUBSCRIBE", "params": [name], "id": 4}))
        assert (await gather(socket, 0.3)) == []


async def test_partial_books_and_slow_differences(exchange: RunningExchange) -> None:
    names = "/".join(f"ethusdt@{n}" for n in ("depth5@100ms", "depth20", "depth"))
    async with market_socket(exchange, f"/stream?streams={names}") as socket:
        messages = [json.loads(m) for m in await gather(socket, 2.3)]
    told = defaultdict(list)
    for message in messages:
        told[message["stream"].partition("@")[2]].append(message["data"])
    assert len(told["depth5@100ms"]) > 10
    assert all(len(m["bids"]) == len(m["asks"]) == 5 for m in told["depth5@100ms"])
    assert len(told["depth20"]) >= 2
    slow = told["depth"]
    assert len(slow) >= 2
    assert slow[0]["u"] + 1 == slow[1]["U"]


async def test_too_many_client_messages_end_the_connection(exchange: RunningExchange) -> None:
    async with market_socket(exchange, "/ws") as socket:
        with pytest.raises(ConnectionClosed):
            for number in range(20):
                await socket.send(f'{{"method":"LIST_SUBSCRIPTIONS","id":{number}}}')
                await asyncio.sleep(0.01)
            await gather(socket, 1.0)


async def test_pings_are_answered_with_their_payload(exchange: RunningExchange) -> None:
    async with market_socket(exchange, "/ws/btcusdt@trade") as socket:
        waiter = await socket.ping(b"payload")
        assert await asyncio.wait_for(waiter, 2.0) >= 0.0


async def test_two_thousand_messages_a_second_arrive(exchange: RunningExchange) -> None:
    exchange.control("POST", "/speed", {"speed": 40.0})
    names = "/".join(f"{s}@{n}" for s in ("btcusdt", "ethusdt") for n in ("trade", "bookTicker"))
    async with market_socket(exchange, f"/stream?streams={names}") as socket:
        begin = exchange.control("GET", "/state")["published"]
        messages = await gather(socket, 1.0)
        sent = exchange.control("GET", "/state")["published"] - begin
    assert sent >= len(messages) > 1000
    ids = [m["data"]["u"] for m in map(json.loads, messages) if "u" in m["data"]]
    assert len(ids) > 500
    assert websockets.__version__
