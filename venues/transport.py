"""Carry WebSocket messages: a small port, and the `websockets` client behind it.

Every end of a connection has a reason (EndReason). Nothing is retried here: a feed does that, with
the delays of a Backoff.
"""

import contextlib
import random
import ssl
from typing import Any, Protocol

import msgspec

from engine.errors import TickgateError
from engine.feed_health import EndReason


class ConnectionEnded(TickgateError):
    """A connection ended, or could not be made.

    Attributes:
        reason: why.
        retry_after_s: how long the server wants to be left alone; 0 where it did not say.
    """

    def __init__(self, reason: EndReason, detail: str, retry_after_s: float = 0.0) -> None:
        """Say why, in one line without secrets."""
        super().__init__(detail)
        self.reason = reason
        self.retry_after_s = retry_after_s


class Connection(Protocol):
    """One open connection. Given by a Transport."""

    async def receive(self) -> bytes:
        """Return the next message; returns at once while messages wait. Raises ConnectionEnded."""

    async def send(self, message: str) -> None:
        """Send one text message. Raises ConnectionEnded."""

    async def close(self, *, abort: bool = False) -> None:
        """End it, within the close timeout; `abort` does not ask the other end. Never raises."""


class Transport(Protocol):
    """Opens connections. Given by WebsocketTransport."""

    async def connect(self, url: str) -> Connection:
        """Open one. Raises ConnectionEnded."""


class TransportLimits(msgspec.Struct, frozen=True, kw_only=True):
    """Bounds of a connection; times in seconds, sizes in bytes after decompression."""

    open_timeout_s: float = 5.0
    close_timeout_s: float = 1.0
    max_message_bytes: int = 4 << 20
    max_queue_messages: int = 256  # above it the socket is not read: the sender waits
    ping_interval_s: float | None = None  # data is the heartbeat; servers' pings are answered
    ping_timeout_s: float | None = None
    compression: str | None = "deflate"


class WebsocketTransport:
    """The `websockets` package. An https proxy from the environment is not used."""

    def __init__(self, limits: TransportLimits | None = None) -> None:
        """Take the bounds."""
        self.limits = limits or TransportLimits()

    async def connect(self, url: str) -> Connection:
        """Open a connection.

        Raises:
            ConnectionEnded: it cannot be made.
        """
        from websockets.asyncio.client import connect
        from websockets.exceptions import InvalidHandshake, InvalidURI

        limits = self.limits
        try:
            opened = await connect(
                url,
                open_timeout=limits.open_timeout_s,
                close_timeout=limits.close_timeout_s,
                max_size=limits.max_message_bytes,
                max_queue=limits.max_queue_messages,
                ping_interval=limits.ping_interval_s,
                ping_timeout=limits.ping_timeout_s,
                compression=limits.compression,
                proxy=None,
            )
        except TimeoutError:
            raise ConnectionEnded(EndReason.TIMEOUT, f"{url}: no answer in time") from None
        except ssl.SSLError as error:
            raise ConnectionEnded(EndReason.TLS, f"{url}: {error.reason or 'TLS failed'}") from None
        except OSError as error:
            detail = error.strerror or str(error) or type(error).__name__
            raise ConnectionEnded(EndReason.UNREACHABLE, f"{url}: {detail}") from None
        except (InvalidHandshake, EOFError) as error:
            raise _refused(url, error) from None
        except InvalidURI:
            raise ConnectionEnded(EndReason.UNREACHABLE, f"{url}: no WebSocket address") from None
        return WebsocketConnection(opened)


class WebsocketConnection:
    """An open connection of the `websockets` package."""

    def __init__(self, opened: Any) -> None:
        """Take the open connection."""
        from websockets.exceptions import ConnectionClosed

        self._opened = opened
        self._recv = opened.recv
        self._closed = ConnectionClosed

    async def receive(self) -> bytes:
        """Return the next message, as bytes: text is not decoded."""
        try:
            return await self._recv(False)
        except self._closed as error:
            raise _ended(error) from None

    async def send(self, message: str) -> None:
        """Send one text message."""
        try:
            await self._opened.send(message)
        except self._closed as error:
            raise _ended(error) from None

    async def close(self, *, abort: bool = False) -> None:
        """End the connection."""
        if abort and self._opened.transport is not None:
            self._opened.transport.abort()
        with contextlib.suppress(OSError):
            await self._opened.close()


def _refused(url: str, error: Exception) -> ConnectionEnded:
    """Say what a failed opening handshake means."""
    response = getattr(error, "response", None)
    if response is None:
        return ConnectionEnded(EndReason.PROTOCOL, f"{url}: no WebSocket ({error})")
    wait = 0.0
    with contextlib.suppress(ValueError):
        wait = float(response.headers.get("Retry-After", "0"))
    detail = f"{url}: HTTP status {response.status_code}"
    return ConnectionEnded(EndReason.REFUSED, detail, wait if 0.0 <= wait < 1e6 else 0.0)


def _ended(error: Any) -> ConnectionEnded:
    """Say what a closed connection means."""
    sent, received = error.sent, error.rcvd
    if sent is not None and not error.rcvd_then_sent:
        if sent.code == 1009:
            return ConnectionEnded(EndReason.TOO_BIG, "a message is above the bound")
        if sent.code in (1002, 1007):
            detail = f"not the WebSocket protocol ({sent.reason or sent.code})"
            return ConnectionEnded(EndReason.PROTOCOL, detail)
        if sent.code == 1000:
            return ConnectionEnded(EndReason.STOPPED, "closed by us")
    if received is None:
        return ConnectionEnded(EndReason.LOST, "cut without a closing frame")
    return ConnectionEnded(EndReason.CLOSED, f"closed by the other end (code {received.code})")


class Backoff:
    """Delays between tries: exponential with full jitter and a cap, never a busy loop.

    The n-th delay lies between `floor_s` and min(cap_s, base_s * 2**n), all equally likely.
    """

    def __init__(
        self,
        randomness: random.Random,
        *,
        base_s: float = 0.25,
        cap_s: float = 30.0,
        floor_s: float = 0.05,
        stable_s: float = 10.0,
    ) -> None:
        """Take the source of chance, which tests seed.

        Args:
            randomness: draws the jitter.
            base_s: bound of the first delay.
            cap_s: bound of all delays.
            floor_s: least delay.
            stable_s: a connection that lived so long starts the sequence anew.
        """
        assert 0.0 < floor_s <= base_s <= cap_s
        self._random = randomness
        self._bounds = (base_s, cap_s, floor_s, stable_s)
        self.tries = 0

    def next_delay_s(self, lived_s: float = 0.0, retry_after_s: float = 0.0) -> float:
        """Return how long to wait before the next try.

        Args:
            lived_s: how long the connection lived that ended now.
            retry_after_s: what the server asked for; at least so long.
        """
        base_s, cap_s, floor_s, stable_s = self._bounds
        if lived_s >= stable_s:
            self.tries = 0
        bound = min(cap_s, base_s * 2.0 ** min(self.tries, 32))
        self.tries += 1
        return max(floor_s, retry_after_s, self._random.uniform(0.0, bound))
