"""REST: find the endpoint, weigh, authenticate, answer; and the faults of answers."""

import asyncio
from typing import Any
from urllib.parse import parse_qsl

import msgspec
from aiohttp import web

from venues.embedded.account_api import AccountApi
from venues.embedded.auth import Gatekeeper, rest_payload
from venues.embedded.connection import hard_reset
from venues.embedded.endpoints import KEY, SIGNED, Endpoint, rest_table
from venues.embedded.exchange import Exchange
from venues.embedded.faults import Fault, FaultBook
from venues.embedded.ledger import Account
from venues.embedded.limits import Meter
from venues.embedded.messages import book
from venues.embedded.public_api import PublicApi
from venues.embedded.refusals import Refused

HANG_S = 120.0  # a request that hangs is let go after this long
FROZEN_LEVELS = 5000


class RestApi:
    """Answers HTTP requests."""

    def __init__(
        self,
        exchange: Exchange,
        apis: tuple[PublicApi, AccountApi],
        meter: Meter,
        faults: FaultBook,
    ) -> None:
        self.exchange = exchange
        self.table = rest_table(*apis)
        self.meter = meter
        self.faults = faults
        self.gatekeeper = Gatekeeper(exchange.ledger)
        self.requests = 0
        self._frozen: dict[str, bytes] = {}  # symbol -> the book that a stale answer gives

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answer one request."""
        self.requests += 1
        name = f"{request.method} {request.path}"
        fault = self.faults.hit("rest", name, phase="before")
        if fault is not None:
            spoiled = await self._spoil(fault, request, None)
            if spoiled is not None:
                return spoiled
        query = request.raw_path.partition("?")[2]
        body = (await request.read()).decode("utf-8", "replace")
        response, answer = self._answer(request, query, body)
        fault = self.faults.hit("rest", name, phase="after")
        if fault is not None:
            spoiled = await self._spoil(fault, request, answer)
            if spoiled is not None:
                return spoiled
        if self.faults.hit("rest", name, action="stale"):
            answer = self._frozen.get(request.query.get("symbol", ""), answer)
        response.body = answer
        return response

    def freeze(self) -> None:
        """Keep the books as they are now, for the answers of a `stale` fault (F10)."""
        symbols = self.exchange.symbols.values()
        self._frozen = {one.name: book(one, FROZEN_LEVELS).encode() for one in symbols}

    def _answer(self, request: web.Request, query: str, body: str) -> tuple[web.Response, bytes]:
        """Return the response without its body, and the body."""
        now = self.exchange.now_ms
        account: Account | None = None
        response = web.Response(content_type="application/json")
        endpoint = self.table.get((request.method, request.path))
        try:
            if endpoint is None:
                raise _not_found(request, self.table)
            params = _params(query, body)
            weight = endpoint.weight(params)
            self.meter.use(0 if endpoint.free else weight, now)
            api_key = request.headers.get("X-MBX-APIKEY", "")
            payload = rest_payload(query, body)
            account, value = call(endpoint, (self.gatekeeper, api_key, payload, now), params)
            answer = value if isinstance(value, bytes) else msgspec.json.encode(value)
        except Refused as refused:
            if endpoint is not None and endpoint.free:
                self.meter.weight += 1  # orders and cancels are free when they succeed
            response.set_status(refused.status)
            if refused.retry_after_s:
                response.headers["Retry-After"] = str(refused.retry_after_s)
            answer = msgspec.json.encode({"code": refused.code, "msg": refused.msg})
        response.headers["X-MBX-USED-WEIGHT"] = str(self.meter.weight)
        response.headers["X-MBX-USED-WEIGHT-1M"] = str(self.meter.weight)
        if account is not None and request.path.endswith("/order"):
            in_10s, in_day = self.meter.order_counts(account.index, now)
            response.headers["X-MBX-ORDER-COUNT-10S"] = str(in_10s)
            response.headers["X-MBX-ORDER-COUNT-1D"] = str(in_day)
        return response, answer

    async def _spoil(
        self, fault: Fault, request: web.Request, answer: bytes | None
    ) -> web.StreamResponse | None:
        """Carry out a fault; None where the request goes on as if nothing were."""
        if fault.action == "delay":
            await asyncio.sleep(fault.delay_ms / 1000.0)
            return None
        if fault.action == "status":
            return plain(fault)
        if fault.action == "hang":
            await asyncio.sleep(HANG_S)
        transport = request.transport
        if fault.action == "truncate" and transport is not None:
            whole = answer or b'{"symbol":'
            head = (
                "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
                f"Content-Length: {len(whole)}\r\n\r\n"
            )
            cut = whole[: min(fault.bytes, len(whole) - 1)]
            transport.write(head.encode() + cut)
            transport.close()
        elif transport is not None:
            hard_reset(transport)
        return web.Response()


def call(
    endpoint: Endpoint, who: tuple[Gatekeeper, str, str, int], params: dict[str, str]
) -> tuple[Account | None, Any]:
    """Authenticate as the endpoint wants it, and answer.

    Args:
        endpoint: from the table.
        who: gatekeeper, key as sent, signed payload, the exchange's time in ms.
        params: as sent.
    Raises:
        Refused: whatever is wrong with the request.
    """
    gatekeeper, api_key, payload, now_ms = who
    if endpoint.security == SIGNED:
        account = gatekeeper.signed(api_key, params, payload, now_ms)
        return account, endpoint.answer(account, params)
    if endpoint.security == KEY:
        gatekeeper.by_key(api_key)
    return None, endpoint.answer(params)


def plain(fault: Fault) -> web.Response:
    """Return the answer that a `status` fault describes: its body may be JSON, HTML or nothing."""
    kind = "text/html" if fault.body.lstrip().startswith("<") else "application/json"
    response = web.Response(status=fault.status, body=fault.body.encode(), content_type=kind)
    if fault.retry_after_s:
        response.headers["Retry-After"] = str(fault.retry_after_s)
    return response


def _params(query: str, body: str) -> dict[str, str]:
    """Return the parameters of query and body.

    Raises:
        Refused: -1101, one is there twice.
    """
    pairs = parse_qsl(query, keep_blank_values=True) + parse_qsl(body, keep_blank_values=True)
    params = dict(pairs)
    if len(params) != len(pairs):
        raise Refused(-1101, "Duplicate values for a parameter detected.")
    return params


def _not_found(request: web.Request, table: dict[tuple[str, str], Endpoint]) -> Refused:
    """Return the refusal of a request that no endpoint is for."""
    if any(path == request.path for _, path in table):
        return Refused(-1000, f"Request method '{request.method}' is not supported.", 405)
    return Refused(-1000, f"Path {request.path} is not part of this exchange.", 404)
