"""A small venue on loopback that says what a test tells it to: one stream server, one REST server.

It keeps its own book, trades and candles of each symbol, so that a test can compare what the feed
has put on the tape with what is true.
"""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from aiohttp import web
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from engine.rows import SNAPSHOT_START, Kind

TICK, LOT = "0.01", "0.001"
MINUTE_MS = 60_000


def price_text(tick: int) -> str:
    return f"{tick / 100:.2f}"


@dataclass
class Market:
    """One symbol: the true book in ticks and lots, trades, candles."""

    symbol: str
    now_ms: Callable[[], int]
    bids: dict[int, int] = field(default_factory=lambda: {9990 - k: 5 + k for k in range(20)})
    asks: dict[int, int] = field(default_factory=lambda: {10010 + k: 5 + k for k in range(20)})
    update_id: int = 100  # of book and quotes alike
    told_id: int = 100  # the last one that an update of the book has told of
    trade_id: int = 1000
    trades: list[dict[str, Any]] = field(default_factory=list)
    candles: list[list[Any]] = field(default_factory=list)

    def wrapped(self, stream: str, data: dict[str, Any]) -> str:
        message = {"stream": f"{self.symbol.lower()}@{stream}", "data": data}
        return json.dumps(message, separators=(",", ":"))

    def update(self, bids: dict[int, int], asks: dict[int, int] | None = None) -> str:
        """Change levels (0 removes) and return the message that says so."""
        asks = asks or {}
        first = self.told_id + 1
        self.update_id += len(bids) + len(asks)
        self.told_id = self.update_id
        sides = []
        for book, changes in ((self.bids, bids), (self.asks, asks)):
            for tick, lots in changes.items():
                book.pop(tick, None)
                if lots:
                    book[tick] = lots
            sides.append([[price_text(t), f"{n / 1000:.3f}"] for t, n in changes.items()])
        data = {"e": "depthUpdate", "E": self.now_ms(), "s": self.symbol}
        data |= {"U": first, "u": self.update_id, "b": sides[0], "a": sides[1]}
        return self.wrapped("depth@100ms", data)

    def quote(self, **changes: object) -> str:
        self.update_id += 1
        data: dict[str, object] = {
            "u": self.update_id, "s": self.symbol, "b": price_text(max(self.bids)), "B": "1.000",
            "a": price_text(min(self.asks)), "A": "2.000",
        }  # fmt: skip
        return self.wrapped("bookTicker", data | changes)

    def trade(self, tick: int = 10000, lots: int = 7, **changes: object) -> str:
        self.trade_id += 1
        stamp = self.now_ms()
        size = f"{lots / 1000:.3f}"
        self.trades.append(
            {"id": self.trade_id, "price": price_text(tick), "qty": size, "quoteQty": "1",
             "time": stamp, "isBuyerMaker": False, "isBestMatch": True}
        )  # fmt: skip
        data: dict[str, object] = {
            "e": "trade", "E": stamp, "s": self.symbol, "t": self.trade_id,
            "p": price_text(tick), "q": size, "T": stamp, "m": False, "M": True,
        }  # fmt: skip
        return self.wrapped("trade", data | changes)

    def snapshot(self) -> dict[str, Any]:
        def side(book: dict[int, int]) -> list[list[str]]:
            return [[price_text(t), f"{n / 1000:.3f}"] for t, n in book.items()]

        return {"lastUpdateId": self.update_id, "bids": side(self.bids), "asks": side(self.asks)}

    def candle(self, opens_ms: int, price: str) -> list[Any]:
        closes = opens_ms + MINUTE_MS - 1
        return [opens_ms, price, price, price, price, "3.000", closes, "300", 3, "1", "100", "0"]


async def newest_trades(market: Market) -> list[dict[str, Any]] | None:
    return market.trades[-1000:]


class ScriptedVenue:
    """Both servers. `confirm` and `depth` may be replaced by a test's own."""

    def __init__(self, markets: dict[str, Market]) -> None:
        self.markets = markets
        self.connections: list[ServerConnection] = []
        self.opened = 0
        self.subscribed: list[list[str]] = []
        self.asked: list[str] = []  # paths of REST
        self.confirm: Callable[[dict[str, Any]], str | None] = lambda request: json.dumps(
            {"result": None, "id": request["id"]}
        )
        self.depth: Callable[[Market], dict[str, Any] | None] = Market.snapshot
        self.trades: Callable[[Market], Awaitable[list[dict[str, Any]] | None]] = newest_trades
        self.status = "TRADING"
        self.ws_url = self.rest_url = ""

    async def send(self, *messages: str | bytes) -> None:
        """Send to everyone who is connected."""
        for connection in list(self.connections):
            for message in messages:
                await connection.send(message, text=True)

    async def handle(self, connection: ServerConnection) -> None:
        self.connections.append(connection)
        self.opened += 1
        try:
            while True:
                message = await connection.recv()
                request = json.loads(message)
                self.subscribed.append(request["params"])
                answer = self.confirm(request)
                if answer is not None:
                    await connection.send(answer)
        except ConnectionClosed:
            pass
        finally:
            self.connections.remove(connection)

    async def rest(self, request: web.Request) -> web.Response:
        self.asked.append(request.path)
        market = self.markets.get(request.query.get("symbol", ""))
        name = request.path.rsplit("/", 1)[1]
        if name == "time":
            return web.json_response({"serverTime": next(iter(self.markets.values())).now_ms()})
        if name == "exchangeInfo":
            return self.exchange_info(json.loads(request.query["symbols"]))
        assert market is not None
        if name == "depth":
            book = self.depth(market)
            return web.Response(status=503) if book is None else web.json_response(book)
        if name == "klines":
            end = int(request.query.get("endTime", 1 << 60))
            rows = [row for row in market.candles if row[0] <= end]
            return web.json_response(rows[-int(request.query["limit"]) :])
        if name == "trades":
            trades = await self.trades(market)
            return web.Response(status=503) if trades is None else web.json_response(trades)
        since = int(request.query["startTime"])
        found = [t for t in market.trades if t["time"] >= since][:1000]
        return web.json_response(
            [{"a": t["id"], "p": t["price"], "q": t["qty"], "f": t["id"], "l": t["id"],
              "T": t["time"], "m": False, "M": True} for t in found]
        )  # fmt: skip

    def exchange_info(self, symbols: list[str]) -> web.Response:
        if not set(symbols) <= set(self.markets):
            return web.json_response({"code": -1121, "msg": "Invalid symbol."}, status=400)
        filters = [
            {"filterType": "PRICE_FILTER", "tickSize": "0.01000000", "minPrice": "0.01"},
            {"filterType": "LOT_SIZE", "stepSize": "0.00100000"},
            {"filterType": "NOTIONAL", "minNotional": "5.00000000"},
        ]
        entries = [
            {"symbol": s, "status": self.status, "baseAsset": s[:3], "quoteAsset": s[3:],
             "filters": filters} for s in symbols
        ]  # fmt: skip
        return web.json_response({"symbols": entries})

    async def cut(self) -> None:
        """Cut all connections without a closing frame."""
        for connection in list(self.connections):
            connection.transport.abort()
        for _ in range(500):
            if not self.connections:
                break
            await asyncio.sleep(0.005)


@contextlib.asynccontextmanager
async def scripted_venue(markets: dict[str, Market]) -> AsyncIterator[ScriptedVenue]:
    """Run both servers."""
    venue = ScriptedVenue(markets)
    app = web.Application()
    app.router.add_get("/api/v3/{name}", venue.rest)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.5)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    async with serve(venue.handle, "127.0.0.1", 0, ping_interval=None, close_timeout=0.2) as server:
        venue.ws_url = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        venue.rest_url = f"http://127.0.0.1:{site._server.sockets[0].getsockname()[1]}"
        try:
            yield venue
        finally:
            await runner.cleanup()


def rebuilt_book(rows: np.ndarray, instrument: int = 0) -> tuple[dict, dict] | None:
    """Apply the depth rows of one instrument in order; None while a gap makes the book unknown."""
    book: tuple[dict, dict] | None = None
    for row in rows:
        kind = row["kind"]
        if kind == Kind.DISCONNECT or (kind == Kind.GAP and row["instrument"] == instrument):
            book = None
        elif kind == Kind.DEPTH and row["instrument"] == instrument:
            if row["flags"] & SNAPSHOT_START:
                book = ({}, {})
            if book is None:
                continue
            side = book[0] if row["side"] > 0 else book[1]
            side.pop(int(row["i2"]), None)
            if row["f1"] > 0:
                side[int(row["i2"])] = round(float(row["f1"]) * 1000)
    return book
