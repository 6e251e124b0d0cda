"""A small Binance spot server whose every answer to an order is scripted: for faults that an honest
exchange does not have. Signatures are checked; nothing is matched, tests say what fills."""

import asyncio
import hashlib
import hmac
import json
import time
from collections.abc import Callable
from decimal import Decimal
from urllib.parse import parse_qsl

from aiohttp import WSMsgType, web

KEY, SECRET = "key-canary-11aa", "secret-canary-22bb"
STATUS = {"-1003": 429, "-1015": 429, "-1007": 504, "-1006": 504}


def error(code: int, text: str) -> web.Response:
    return web.json_response({"code": code, "msg": text}, status=STATUS.get(str(code), 400))


class ScriptedExchange:
    """Answers as told. `script` holds one word for each coming order; none left: "rest"."""

    def __init__(self) -> None:
        self.script: list[str] = []
        self.orders: dict[str, dict] = {}
        self.trades: list[dict] = []
        self.requests: list[tuple[str, str, dict]] = []
        self.hidden = 0  # coming queries by client id that find nothing
        self.cancel_script: list[str] = []
        self.balances = {"BTC": Decimal(10), "USDT": Decimal(1_000_000), "BNB": Decimal(5)}
        self.offset_ms = 0
        self.sockets: list[web.WebSocketResponse] = []
        self.witness: Callable[[str], None] = lambda client: None  # sees each order as it comes
        self._runner: web.AppRunner | None = None
        self._hung: list[asyncio.Event] = []
        self.url = self.stream_url = ""

    async def __aenter__(self) -> "ScriptedExchange":
        app = web.Application()
        app.router.add_route("*", "/api/v3/{name}", self._rest)
        app.router.add_get("/ws-api/v3", self._socket)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        port = self._runner.addresses[0][1]
        self.url = f"http://127.0.0.1:{port}"
        self.stream_url = f"ws://127.0.0.1:{port}/ws-api/v3"
        return self

    async def __aexit__(self, *_: object) -> None:
        for event in self._hung:
            event.set()
        for socket in self.sockets:
            await socket.close()
        assert self._runner is not None
        await self._runner.cleanup()

    def sent(self, method: str, name: str) -> list[dict]:
        return [p for m, n, p in self.requests if m == method and n == name]

    def fill(self, client: str, qty: str, price: str = "", fee: str = "0.00001", **extra) -> dict:
        """Fill an order; the fee is in BNB. The stream is told by `push`."""
        order = self.orders[client]
        order["executedQty"] = str(Decimal(order["executedQty"]) + Decimal(qty))
        whole = Decimal(order["executedQty"]) >= Decimal(order["origQty"])
        order["status"] = "FILLED" if whole else "PARTIALLY_FILLED"
        price = price or order["price"]
        buys = order["side"] == "BUY"
        trade = {
            "symbol": order["symbol"], "id": 900 + len(self.trades), "orderId": order["orderId"],
            "price": price, "qty": qty, "quoteQty": str(Decimal(qty) * Decimal(price)),
            "commission": fee, "commissionAsset": "BNB", "time": self.now(),
            "isBuyer": buys, "isMaker": True, "isBestMatch": True, **extra,
        }  # fmt: skip
        self.trades.append(trade)
        sign = 1 if buys else -1
        self.balances["BTC"] += sign * Decimal(qty)
        self.balances["USDT"] -= sign * Decimal(qty) * Decimal(price)
        self.balances["BNB"] -= Decimal(fee)
        return trade

    def now(self) -> int:
        return int(time.time() * 1000) + self.offset_ms

    def execution(self, client: str, what: str, trade: dict | None = None) -> dict:
        """Return an executionReport of an order as it stands."""
        order = self.orders[client]
        event = {
            "e": "executionReport", "E": self.now(), "s": order["symbol"], "c": client,
            "S": order["side"], "o": order["type"], "f": "GTC", "q": order["origQty"],
            "p": order["price"], "C": "", "x": what, "X": order["status"], "r": "NONE",
            "i": order["orderId"], "l": "0", "z": order["executedQty"], "L": "0", "n": "0",
            "N": None, "T": self.now(), "t": -1, "I": 1, "w": True, "m": False, "Z": "0",
        }  # fmt: skip
        if what == "CANCELED":
            event |= {"c": "cancel-of-it", "C": client}
        if trade is not None:
            event |= {
                "l": trade["qty"], "L": trade["price"], "n": trade["commission"],
                "N": trade["commissionAsset"], "t": trade["id"], "m": trade["isMaker"],
            }  # fmt: skip
        return event

    async def push(self, event: dict | str) -> None:
        """Send an event to every follower."""
        text = (
            event if isinstance(event, str) else json.dumps({"subscriptionId": 0, "event": event})
        )
        for socket in self.sockets:
            await socket.send_str(text)

    def add(self, client: str, **fields) -> dict:
        """Put an order into the book, ours or foreign."""
        order = {
            "symbol": "BTCUSDT", "orderId": 100 + len(self.orders), "orderListId": -1,
            "clientOrderId": client, "price": "60000.00", "origQty": "0.001",
            "executedQty": "0", "cummulativeQuoteQty": "0", "status": "NEW",
            "timeInForce": "GTC", "type": "LIMIT", "side": "BUY", "time": self.now(),
            "updateTime": self.now(), "transactTime": self.now(), "workingTime": self.now(),
            "isWorking": True, "selfTradePreventionMode": "NONE", "fills": [], **fields,
        }  # fmt: skip
        self.orders[client] = order
        return order

    async def _rest(self, request: web.Request) -> web.StreamResponse:
        name = request.match_info["name"]
        body = (await request.read()).decode()
        query = request.query_string
        params = dict(parse_qsl(query) + parse_qsl(body))
        self.requests.append((request.method, name, params))
        if "signature" in params:
            text = (query + body).rpartition("&signature=")[0]
            expected = hmac.new(SECRET.encode(), text.encode(), hashlib.sha256).hexdigest()
            if params["signature"] != expected or request.headers.get("X-MBX-APIKEY") != KEY:
                return error(-1022, "Signature for this request is not valid.")
            if int(params["timestamp"]) > self.now() + 1000 or (
                self.now() - int(params["timestamp"]) > int(params.get("recvWindow", 5000))
            ):
                return error(-1021, "Timestamp for this request is outside of the recvWindow.")
        handler = getattr(self, f"_{request.method.lower()}_{name}")
        return await handler(request, params)

    async def _get_time(self, request, params):
        return web.json_response({"serverTime": self.now()})

    async def _get_exchangeInfo(self, request, params):
        def symbol(base: str) -> dict:
            filters = [
                {"filterType": "PRICE_FILTER", "minPrice": "0.01", "maxPrice": "1000000.00",
                 "tickSize": "0.01"},
                {"filterType": "LOT_SIZE", "minQty": "0.00001", "maxQty": "9000.00000",
                 "stepSize": "0.00001"},
                {"filterType": "NOTIONAL", "minNotional": "5", "applyMinToMarket": True},
            ]  # fmt: skip
            return {
                "symbol": f"{base}USDT", "status": "TRADING", "baseAsset": base,
                "baseAssetPrecision": 8, "quoteAsset": "USDT", "quotePrecision": 8,
                "quoteAssetPrecision": 8, "isSpotTradingAllowed": True,
                "orderTypes": ["LIMIT", "LIMIT_MAKER", "MARKET"], "permissions": ["SPOT"],
                "filters": filters,
            }  # fmt: skip

        return web.json_response(
            {"timezone": "UTC", "serverTime": self.now(), "rateLimits": [],
             "symbols": [symbol("BTC"), symbol("BNB")]}
        )  # fmt: skip

    async def _get_account(self, request, params):
        locked = dict.fromkeys(self.balances, "0")
        found = [
            {"asset": asset, "free": f"{amount:f}", "locked": locked[asset]}
            for asset, amount in self.balances.items()
        ]
        return web.json_response({"accountType": "SPOT", "balances": found, "canTrade": True})

    async def _get_openOrders(self, request, params):
        found = [o for o in self.orders.values() if o["status"] in ("NEW", "PARTIALLY_FILLED")]
        return web.json_response(found)

    async def _get_myTrades(self, request, params):
        since = int(params.get("startTime", 0))
        return web.json_response([t for t in self.trades if t["time"] >= since])

    async def _get_order(self, request, params):
        client = params.get("origClientOrderId", "")
        if self.hidden:
            self.hidden -= 1
            return error(-2013, "Order does not exist.")
        order = self.orders.get(client)
        return web.json_response(order) if order else error(-2013, "Order does not exist.")

    async def _delete_order(self, request, params):
        client = params.get("origClientOrderId", "")
        word = self.cancel_script.pop(0) if self.cancel_script else "cancel"
        order = self.orders.get(client)
        if word == "fill":  # the race: it fills just before
            self.fill(client, str(Decimal(order["origQty"]) - Decimal(order["executedQty"])))
        if word == "busy":
            return web.Response(status=503, text="<html>busy</html>")
        if order is None or order["status"] not in ("NEW", "PARTIALLY_FILLED"):
            return error(-2011, "Unknown order sent.")
        order["status"] = "CANCELED"
        return web.json_response({**order, "origClientOrderId": client, "clientOrderId": "c1"})

    async def _post_order(self, request, params):
        word = self.script.pop(0) if self.script else "rest"
        client = params["newClientOrderId"]
        self.witness(client)
        if word.startswith("error "):
            _, code, text = word.split(" ", 2)
            return error(int(code), text)
        if word.startswith("ban "):
            _, status, seconds = word.split(" ")
            return web.json_response(
                {"code": -1003, "msg": "Too many requests."},
                status=int(status), headers={"Retry-After": seconds},
            )  # fmt: skip
        before = {"500 before": 500, "403 before": 403}.get(word)
        if before:
            return web.Response(status=before, text="<html>no</html>", content_type="text/html")
        if word == "close before":
            request.transport.close()
            return web.Response()
        order = self.add(
            client, price=params["price"], origQty=params["quantity"], side=params["side"],
            type=params["type"], symbol=params["symbol"],
        )  # fmt: skip
        return await self._accepted(word, order, request)

    async def _accepted(self, word: str, order: dict, request: web.Request) -> web.StreamResponse:
        """Answer an order that stands in the book, or do not."""
        client = order["clientOrderId"]
        if word == "hang":
            event = asyncio.Event()
            self._hung.append(event)
            await event.wait()
        elif word == "reset":
            request.transport.abort()
        elif word == "truncate":
            answer = web.StreamResponse(headers={"Content-Length": "500"})
            await answer.prepare(request)
            await answer.write(b'{"symbol":"BTCUSDT","orderId":1')
            request.transport.close()
            return answer
        elif word == "html":
            return web.Response(text="<html>fine</html>", content_type="text/html")
        elif word == "empty":
            return web.json_response({})
        elif word == "504":
            return error(-1007, "Timeout waiting for response from backend server.")
        elif word == "1006":
            return web.json_response({"code": -1006, "msg": "Unexpected response."}, status=400)
        elif word == "duplicate":
            return error(-2010, "Duplicate order sent.")
        elif word == "redirect":
            raise web.HTTPTemporaryRedirect("/api/v3/order")
        elif word.startswith("fill"):
            for qty in word.split(" ")[1:] or [order["origQty"]]:
                trade = self.fill(client, qty)
                order["fills"].append({**trade, "tradeId": trade["id"]})
            if word.startswith("fillonly"):
                order["fills"] = []
        return web.json_response(order)

    async def _socket(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        async for message in socket:
            if message.type != WSMsgType.TEXT:
                continue
            asked = json.loads(message.data)
            params = asked["params"]
            text = f"apiKey={params['apiKey']}&timestamp={params['timestamp']}"
            right = hmac.new(SECRET.encode(), text.encode(), hashlib.sha256).hexdigest()
            if params["signature"] != right:
                await socket.send_json({"id": asked["id"], "status": 400, "error": {"code": -1022}})
                continue
            await socket.send_json({"id": asked["id"], "status": 200, "result": {}})
            self.sockets.append(socket)
        if socket in self.sockets:
            self.sockets.remove(socket)
        return socket
