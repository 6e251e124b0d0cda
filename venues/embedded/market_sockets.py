"""The sockets of the market streams: paths, SUBSCRIBE and its relatives."""

import asyncio
from typing import Any

import msgspec
from aiohttp import web

from venues.embedded.connection import Connection, hard_reset
from venues.embedded.faults import FaultBook
from venues.embedded.frames import frame
from venues.embedded.rest import HANG_S, plain
from venues.embedded.streams import MarketStreams

MAX_STREAMS = 1024  # of one connection


class _Request(msgspec.Struct):
    """What a client may send."""

    method: str = ""
    params: Any = None
    id: Any = None


class MarketSockets:
    """Opens connections on /ws, /ws/NAME/NAME and /stream?streams=NAME/NAME."""

    def __init__(self, streams: MarketStreams, faults: FaultBook, max_requests_per_s: int) -> None:
        self.streams = streams
        self.faults = faults
        self.max_requests_per_s = max_requests_per_s

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Serve one connection until it ends."""
        spoiled = await spoiled_handshake(self.faults, request)
        if spoiled is not None:
            return spoiled
        connection = Connection("market", self.faults, self.max_requests_per_s)
        connection.combined = request.path == "/stream"
        await connection.open(request)
        names = request.path.split("/") + request.query.get("streams", "").split("/")
        self.streams.subscribe(connection, [name for name in names if "@" in name])

        async def on_request(data: bytes) -> None:
            self._on_request(connection, data)

        try:
            await connection.serve(on_request)
        finally:
            self.streams.forget(connection)
        return connection.response

    def _on_request(self, connection: Connection, data: bytes) -> None:
        """Carry out one request and answer it."""
        try:
            asked = msgspec.json.decode(data, type=_Request)
        except msgspec.MsgspecError:
            self._reply(connection, {"error": {"code": 3, "msg": "Invalid JSON"}})
            return
        names = asked.params if isinstance(asked.params, list) else []
        result: Any = None
        if asked.method in ("SUBSCRIBE", "UNSUBSCRIBE"):
            if not names or not all(isinstance(name, str) for name in names):
                self._refuse(connection, asked.id, "params must be an array of stream names")
                return
            if self.faults.hit("market", asked.method, action="unconfirmed"):
                return
            if asked.method == "UNSUBSCRIBE":
                self.streams.unsubscribe(connection, names)
            elif len(connection.streams) + len(names) > MAX_STREAMS:
                connection.close(1008, "Too many streams")
                return
            else:
                self.streams.subscribe(connection, names)
        elif asked.method == "LIST_SUBSCRIPTIONS":
            result = list(connection.streams)
        elif asked.method == "SET_PROPERTY" and names[:1] == ["combined"] and len(names) == 2:
            connection.combined = names[1] is True
        elif asked.method == "GET_PROPERTY" and names == ["combined"]:
            result = connection.combined
        else:
            self._refuse(connection, asked.id, f"unknown variant {asked.method!r}")
            return
        self._reply(connection, {"result": result, "id": asked.id})

    def _refuse(self, connection: Connection, number: Any, why: str) -> None:
        error = {"code": 2, "msg": f"Invalid request: {why}"}
        self._reply(connection, {"error": error, "id": number})

    def _reply(self, connection: Connection, answer: dict[str, Any]) -> None:
        connection.send("reply", frame(msgspec.json.encode(answer)))


async def spoiled_handshake(faults: FaultBook, request: web.Request) -> web.StreamResponse | None:
    """Let a `connect` fault have a handshake; None where it goes on."""
    fault = faults.hit("connect", request.path)
    if fault is None:
        return None
    if fault.action == "delay":
        await asyncio.sleep(fault.delay_ms / 1000.0)
        return None
    if fault.action == "status":
        return plain(fault)
    if fault.action == "hang":
        await asyncio.sleep(HANG_S)
    if request.transport is not None:
        hard_reset(request.transport)
    return web.Response()
