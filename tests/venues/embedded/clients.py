"""Clients for the tests of the wire: unmodified ccxt, signed REST by hand, raw websockets."""

import http.client
import json
import time
from contextlib import AbstractAsyncContextManager
from typing import Any
from urllib.parse import urlencode

from websockets.asyncio.client import ClientConnection, connect

from venues.embedded.auth import signature, socket_payload
from venues.embedded.launcher import RunningExchange
from venues.embedded.ledger import AccountSpec

BALANCES = {"USDT": "1000000", "BTC": "20", "ETH": "300", "BNB": "5"}
ALICE = AccountSpec(
    name="alice", api_key="alice-key-0123456789", api_secret="alice-secret-0123456789",
    balances=BALANCES, maker_bps=2.0, taker_bps=7.5,
)  # fmt: skip
BOB = AccountSpec(
    name="bob", api_key="bob-key-0123456789", api_secret="bob-secret-0123456789", balances=BALANCES
)
NOWHERE = "http://127.0.0.1:9"  # the port of discard: a stray call fails at once


def point_at(client: Any, exchange: RunningExchange) -> Any:
    """Point a ccxt binance client at the exchange; everything else goes nowhere."""
    for name, url in client.urls["api"].items():
        if isinstance(url, str):
            client.urls["api"][name] = NOWHERE
    client.urls["api"]["public"] = client.urls["api"]["private"] = exchange.rest_url + "/api/v3"
    return client


def ccxt_settings(account: AccountSpec = ALICE) -> dict[str, Any]:
    """Return the settings of docs/embedded_exchange.md."""
    return {
        "apiKey": account.api_key,
        "secret": account.api_secret,
        "enableRateLimit": False,
        "timeout": 5000,
        "options": {
            "defaultType": "spot",
            "fetchMarkets": {"types": ["spot"]},
            "fetchCurrencies": False,
            "fetchMargins": False,
            "adjustForTimeDifference": False,
        },
    }


class Rest:
    """Signed and unsigned REST calls of one account."""

    def __init__(self, exchange: RunningExchange, account: AccountSpec = ALICE) -> None:
        self.port = exchange.port
        self.account = account
        self.headers: dict[str, str] = {}

    def call(self, method: str, path: str, **params: Any) -> tuple[int, Any]:
        """Return status and answer of an unsigned request."""
        query = urlencode(params)
        return self.send(method, f"/api/v3/{path}?{query}" if query else f"/api/v3/{path}")

    def signed(self, method: str, path: str, **params: Any) -> tuple[int, Any]:
        """Return status and answer of a signed request."""
        params = {"timestamp": int(time.time() * 1000), **params}
        query = urlencode(params)
        query += "&signature=" + signature(self.account.api_secret, query)
        return self.send(method, f"/api/v3/{path}?{query}")

    def send(self, method: str, path: str) -> tuple[int, Any]:
        """Send a request as it is."""
        link = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        try:
            link.request(method, path, headers={"X-MBX-APIKEY": self.account.api_key})
            answer = link.getresponse()
            body = answer.read()
            self.headers = {name.lower(): value for name, value in answer.getheaders()}
        finally:
            link.close()
        try:
            return answer.status, json.loads(body)
        except ValueError:
            return answer.status, body

    def order(self, symbol: str, side: str, kind: str, **params: Any) -> tuple[int, Any]:
        """Place an order."""
        return self.signed("POST", "order", symbol=symbol, side=side, type=kind, **params)

    def touch(self, symbol: str) -> tuple[float, float]:
        """Return best bid and ask."""
        _, answer = self.call("GET", "ticker/bookTicker", symbol=symbol)
        return float(answer["bidPrice"]), float(answer["askPrice"])


def market_socket(
    exchange: RunningExchange, path: str, **options: Any
) -> AbstractAsyncContextManager[ClientConnection]:
    """Open a market stream."""
    options = {"open_timeout": 5, "close_timeout": 1, "ping_interval": None} | options
    return connect(exchange.streams_url + path, **options)


def user_socket(exchange: RunningExchange) -> AbstractAsyncContextManager[ClientConnection]:
    """Open the WebSocket API."""
    return connect(exchange.ws_api_url, open_timeout=5, close_timeout=1, ping_interval=None)


def request(method: str, number: int, account: AccountSpec | None = None, **params: Any) -> str:
    """Return a request for the WebSocket API, signed if an account is given."""
    if account is not None:
        params = {"apiKey": account.api_key, "timestamp": int(time.time() * 1000), **params}
        params["signature"] = signature(
            account.api_secret, socket_payload({k: str(v) for k, v in params.items()})
        )
    return json.dumps({"id": number, "method": method, "params": params})


async def ask(socket: ClientConnection, text: str) -> Any:
    """Send a request and return its answer, passing over events."""
    await socket.send(text)
    number = json.loads(text)["id"]
    while True:
        answer = json.loads(await socket.recv())
        if answer.get("id") == number:
            return answer


async def events(socket: ClientConnection, count: int) -> list[dict[str, Any]]:
    """Return the next events of the user stream."""
    found: list[dict[str, Any]] = []
    while len(found) < count:
        message = json.loads(await socket.recv())
        if "event" in message:
            found.append(message["event"])
    return found
