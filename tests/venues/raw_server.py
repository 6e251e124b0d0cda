"""A server that speaks WebSocket byte by byte, so that it can speak it wrongly."""

import asyncio
import base64
import contextlib
import hashlib
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable

GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
Script = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def frame(payload: bytes, opcode: int = 1, *, first: int = 0x80) -> bytes:
    """Return an unmasked frame; `first` holds FIN and RSV bits."""
    head = bytes([first | opcode])
    if len(payload) < 126:
        return head + bytes([len(payload)]) + payload
    if len(payload) < 1 << 16:
        return head + bytes([126]) + struct.pack(">H", len(payload)) + payload
    return head + bytes([127]) + struct.pack(">Q", len(payload)) + payload


async def shake_hands(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, extra: str = ""
) -> None:
    """Answer the opening handshake."""
    request = await reader.readuntil(b"\r\n\r\n")
    key = next(
        line.split(b":", 1)[1].strip()
        for line in request.split(b"\r\n")
        if line.lower().startswith(b"sec-websocket-key")
    )
    accept = base64.b64encode(hashlib.sha1(key + GUID).digest()).decode()
    writer.write(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Accept: {accept}\r\n{extra}\r\n".encode()
    )
    await writer.drain()


def reset(writer: asyncio.StreamWriter) -> None:
    """Cut the connection with RST."""
    found = writer.get_extra_info("socket")
    found.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


@contextlib.asynccontextmanager
async def raw_server(script: Script, *, upgrade: str | None = "") -> AsyncIterator[str]:
    """Serve a script after the handshake (upgrade=None: instead of it); yields the address."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            if upgrade is not None:
                await shake_hands(reader, writer, upgrade)
            await script(reader, writer)
            await writer.drain()
        with contextlib.suppress(OSError):
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/stream"
    finally:
        server.close()
        await server.wait_closed()
