"""One websocket of a client: frames out (through the faults), requests in, pings, limits."""

import asyncio
import socket
import struct
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import WSMsgType, web

from venues.embedded.faults import Fault, FaultBook
from venues.embedded.frames import PING, PONG, close_frame, frame

PING_EVERY_S = 20.0
PONG_WITHIN_S = 60.0
MAX_REQUESTS_PER_S = 5  # of a market connection, control frames included, as the real venue has it
MAX_BACKLOG_BYTES = 16 << 20  # unsent; a client that lets more pile up is cut off
MAX_REQUEST_BYTES = 1 << 16


class Connection:
    """A websocket whose frames the exchange writes itself.

    The handshake, and reading the client's frames, are aiohttp's; what goes out is bytes on the
    transport, so that one encoding serves all subscribers and a fault can break a frame.
    """

    def __init__(self, target: str, faults: FaultBook, max_requests_per_s: int) -> None:
        """Prepare for a handshake.

        Args:
            target: "market" or "user": which faults its frames meet.
            faults: asked for every frame while the target has any.
            max_requests_per_s: more client frames in a second end it; 0 is no limit.
        """
        self.target = target
        self.faults = faults
        self.streams: dict[str, None] = {}
        self.combined = False
        self.response = web.WebSocketResponse(
            autoping=False, autoclose=False, compress=True, max_msg_size=MAX_REQUEST_BYTES
        )
        self.sent = 0
        self.stalled = False
        self.mute = False
        self.held: bytes | None = None
        self._max_requests = max_requests_per_s
        self._transport: asyncio.Transport | None = None
        self._loop = asyncio.get_running_loop()
        self._pong_at = self._loop.time()
        self._second, self._requests = 0.0, 0
        self._tasks: list[asyncio.Future] = []

    async def open(self, request: web.Request) -> None:
        """Answer the handshake."""
        await self.response.prepare(request)
        transport: Any = request.transport
        assert transport is not None
        self._transport = transport
        sock = transport.get_extra_info("socket")
        if sock is not None:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    @property
    def backlog(self) -> int:
        """Bytes that wait for the client."""
        return self._transport.get_write_buffer_size() if self._transport else 0

    @property
    def gone(self) -> bool:
        """Whether nothing can be sent any more."""
        return self._transport is None or self._transport.is_closing()

    def send(self, name: str, data: bytes) -> None:
        """Send one frame, or let a fault have it."""
        if self.stalled:
            return
        if self.target in self.faults.busy:
            fault = self.faults.hit(self.target, name)
            if fault is not None:
                self._spoil(fault, data)
                return
        self.write(data)
        if self.held is not None:
            held, self.held = self.held, None
            self.write(held)

    def write(self, data: bytes) -> None:
        """Put bytes on the wire as they are; a client that does not read is cut off."""
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        transport.write(data)
        self.sent += 1
        if transport.get_write_buffer_size() > MAX_BACKLOG_BYTES:
            self.reset()

    def _spoil(self, fault: Fault, data: bytes) -> None:
        """Carry out a fault on one frame."""
        if fault.action == "delay":
            self._loop.call_later(fault.delay_ms / 1000.0, self.write, data)
        elif fault.action == "duplicate":
            self.write(data + data)
        elif fault.action == "reorder":
            self.held = data  # goes out after the next one
        elif fault.action == "truncate":
            self.write(data[: fault.bytes])
            self._loop.call_later(0.01, self.reset)
        elif fault.action == "stall":
            self.stalled = True
            self.mute = not fault.pongs
        elif fault.action == "replace":
            self.write(frame(fault.body.encode()))
        elif fault.action == "close":
            self.close(1001)
        elif fault.action == "reset":
            self.reset()

    def keep(self, task: asyncio.Future) -> None:
        """Own a task that works on this connection: it ends with it."""
        self._tasks.append(task)

    def close(self, code: int = 1000, reason: str = "") -> None:
        """Say goodbye and end the connection."""
        self.write(close_frame(code, reason))
        if self._transport is not None:
            self._transport.close()

    def reset(self) -> None:
        """End the connection with an RST."""
        if self._transport is not None:
            hard_reset(self._transport)

    async def serve(self, on_request: Callable[[bytes], Awaitable[None]]) -> None:
        """Read until the client goes; each text frame is handed to `on_request`."""
        self.keep(asyncio.ensure_future(self._ping()))
        try:
            async for message in self.response:
                if message.type in (WSMsgType.TEXT, WSMsgType.BINARY, WSMsgType.PING):
                    if self._too_many():
                        self.close(1008, "Too many requests")
                        break
                if message.type is WSMsgType.TEXT:
                    await on_request(message.data.encode())
                elif message.type is WSMsgType.PING and not self.mute:
                    self.write(frame(bytes(message.data), PONG))
                elif message.type is WSMsgType.PONG:
                    self._pong_at = self._loop.time()
                elif message.type is WSMsgType.CLOSE:
                    self.close(1000)
                if self.gone:
                    break
        finally:
            for task in self._tasks:
                task.cancel()
            if self._transport is not None and not self._transport.is_closing():
                self._transport.close()

    def _too_many(self) -> bool:
        """Count a client frame against the limit of the running second."""
        now = self._loop.time()
        if now - self._second >= 1.0:
            self._second, self._requests = now, 0
        self._requests += 1
        return 0 < self._max_requests < self._requests

    async def _ping(self) -> None:
        """Send pings, and cut off a client that answers none."""
        while True:
            await asyncio.sleep(PING_EVERY_S)
            if self._loop.time() - self._pong_at > PONG_WITHIN_S:
                self.close(1008, "Pong timeout")
                return
            if not self.mute:
                self.write(frame(str(int(self._loop.time() * 1000)).encode(), PING))


def hard_reset(transport: Any) -> None:
    """Close a transport so that the peer sees a reset, not an end."""
    sock = transport.get_extra_info("socket")
    if sock is not None and not transport.is_closing():
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()
