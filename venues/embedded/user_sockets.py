"""The WebSocket API: requests over a socket, and the user data stream on the same one."""

import asyncio
from typing import Any

import msgspec
from aiohttp import web

from venues.embedded import order_messages
from venues.embedded.auth import Gatekeeper, socket_payload
from venues.embedded.connection import Connection
from venues.embedded.endpoints import Endpoint
from venues.embedded.exchange import Exchange, Listener
from venues.embedded.faults import Fault, FaultBook
from venues.embedded.frames import frame
from venues.embedded.ledger import Account
from venues.embedded.limits import Meter
from venues.embedded.market_sockets import spoiled_handshake
from venues.embedded.orders import Report
from venues.embedded.refusals import Refused
from venues.embedded.rest import call

CONNECT_WEIGHT = 2
MAX_SUBSCRIPTIONS = 100  # of one connection
USER_STREAM_WEIGHT = 2


class _Request(msgspec.Struct):
    """One request; `id` comes back in the answer."""

    method: str
    id: Any = None
    params: dict[str, Any] = {}


class UserSockets(Listener):
    """Serves /ws-api/v3; listener of the exchange for those who subscribed to their account."""

    def __init__(
        self,
        exchange: Exchange,
        table: dict[str, Endpoint],
        meter: Meter,
        faults: FaultBook,
    ) -> None:
        self.exchange = exchange
        self.table = table
        self.meter = meter
        self.faults = faults
        self.gatekeeper = Gatekeeper(exchange.ledger)
        self.connections: dict[Connection, dict[int, int]] = {}  # subscription id -> account
        self._next_subscription = 0
        self._executions = 0
        exchange.listeners.append(self)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Serve one connection until it ends."""
        spoiled = await spoiled_handshake(self.faults, request)
        if spoiled is not None:
            return spoiled
        try:
            self.meter.use(CONNECT_WEIGHT, self.exchange.now_ms)
        except Refused as refused:
            return web.Response(status=refused.status)
        connection = Connection("user", self.faults, 0)
        await connection.open(request)
        self.connections[connection] = {}

        async def on_request(data: bytes) -> None:
            await self._on_request(connection, data)

        try:
            await connection.serve(on_request)
        finally:
            del self.connections[connection]
        return connection.response

    async def _on_request(self, connection: Connection, data: bytes) -> None:
        """Answer one request; a fault that waits does not hold up the next one."""
        try:
            asked = msgspec.json.decode(data, type=_Request)
        except msgspec.MsgspecError:
            error = {"code": -1100, "msg": "Illegal characters found in a parameter."}
            connection.write(
                frame(msgspec.json.encode({"id": None, "status": 400, "error": error}))
            )
            return
        before = self.faults.hit("ws_api", asked.method, phase="before")
        if before is not None and before.action == "delay":
            asyncio.get_running_loop().call_later(
                before.delay_ms / 1000.0, self._finish, connection, asked
            )
        elif before is not None:
            self._spoil(connection, before, asked, b"")
        else:
            self._finish(connection, asked)

    def _finish(self, connection: Connection, asked: _Request) -> None:
        """Let the request take effect, and answer."""
        answer = frame(msgspec.json.encode(self._answer(connection, asked)))
        after = self.faults.hit("ws_api", asked.method, phase="after")
        if after is None:
            connection.write(answer)
        elif after.action == "delay":
            loop = asyncio.get_running_loop()
            loop.call_later(after.delay_ms / 1000.0, connection.write, answer)
        else:
            self._spoil(connection, after, asked, answer)

    def _spoil(self, connection: Connection, fault: Fault, asked: _Request, answer: bytes) -> None:
        """Carry out a fault on an answer; `hang` sends none."""
        if fault.action == "status":
            body = fault.body or '{"code":-1000,"msg":"An unknown error occurred."}'
            error = msgspec.Raw(body.encode())
            reply = {"id": asked.id, "status": fault.status, "error": error}
            connection.write(frame(msgspec.json.encode(reply)))
        elif fault.action == "truncate":
            connection.write((answer or frame(b'{"id":"', 1))[: fault.bytes])
            asyncio.get_running_loop().call_later(0.01, connection.reset)
        elif fault.action == "reset":
            connection.reset()

    def _answer(self, connection: Connection, asked: _Request) -> dict[str, Any]:
        """Return the answer's fields."""
        now = self.exchange.now_ms
        params = {name: _text(value) for name, value in asked.params.items()}
        reply: dict[str, Any] = {"id": asked.id, "status": 200}
        endpoint = self.table.get(asked.method)
        try:
            if endpoint is not None:
                self.meter.use(0 if endpoint.free else endpoint.weight(params), now)
                who = self.gatekeeper, params.get("apiKey", ""), socket_payload(params), now
                reply["result"] = call(endpoint, who, params)[1]
            else:
                self.meter.use(USER_STREAM_WEIGHT, now)
                reply["result"] = self._stream_request(connection, asked.method, params)
        except Refused as refused:
            if endpoint is not None and endpoint.free:
                self.meter.weight += 1  # orders and cancels are free when they succeed
            error: dict[str, Any] = {"code": refused.code, "msg": refused.msg}
            if refused.retry_after_s:
                error["data"] = {
                    "serverTime": now,
                    "retryAfter": now + refused.retry_after_s * 1000,
                }
            reply |= {"status": refused.status, "error": error}
        if params.get("returnRateLimits") != "false":
            limit = self.meter.limits.weight_per_minute
            reply["rateLimits"] = [
                {
                    "rateLimitType": "REQUEST_WEIGHT",
                    "interval": "MINUTE",
                    "intervalNum": 1,
                    "limit": limit,
                    "count": self.meter.weight,
                }
            ]
        return reply

    def _stream_request(
        self, connection: Connection, method: str, params: dict[str, str]
    ) -> dict[str, Any]:
        """Subscribe to the user data stream, or end a subscription."""
        subscriptions = self.connections[connection]
        if method == "userDataStream.subscribe.signature":
            account = self.gatekeeper.signed(
                params.get("apiKey", ""), params, socket_payload(params), self.exchange.now_ms
            )
            if len(subscriptions) >= MAX_SUBSCRIPTIONS:
                raise Refused(-1003, "Too many subscriptions on this connection.", 429, 60)
            number = self._next_subscription
            self._next_subscription += 1
            subscriptions[number] = account.index
            return {"subscriptionId": number}
        if method == "userDataStream.unsubscribe":
            given = params.get("subscriptionId", "")
            gone = [int(given)] if given.isascii() and given.isdigit() else list(subscriptions)
            for number in gone:
                subscriptions.pop(number, None)
            return {}
        if method == "session.logon":
            raise Refused(-4056, "HMAC_SHA256 API key is not supported.")
        raise Refused(-1000, f"Unknown method {method!r}.")

    def publish(self, account: Account, name: str, event: dict[str, Any]) -> None:
        """Send an event to every subscription of an account."""
        for connection, subscriptions in list(self.connections.items()):
            for number, index in subscriptions.items():
                if index == account.index:
                    message = {"subscriptionId": number, "event": event}
                    connection.send(name, frame(msgspec.json.encode(message)))

    def on_report(self, account: Account, report: Report) -> None:
        """Send executionReport."""
        self._executions += 1
        symbol = self.exchange.symbols[report.order.symbol]
        event = order_messages.execution_report(
            symbol, report, self._executions, self.exchange.now_ms
        )
        self.publish(account, f"executionReport:{report.kind}", event)

    def on_balances(self, account: Account, assets: list[str]) -> None:
        """Send outboundAccountPosition."""
        event = order_messages.account_position(account, assets, self.exchange.now_ms)
        self.publish(account, "outboundAccountPosition", event)


def _text(value: Any) -> str:
    """Return a parameter as the text that was signed."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)
