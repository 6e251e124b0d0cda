"""Follows our orders on Binance spot's user stream, and asks the venue after every doubt."""

import asyncio
import hashlib
import hmac
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Protocol

import msgspec

from engine.account_reports import apply_report
from engine.account_state import Market
from engine.errors import VenueError
from engine.venue_events import Measure, Trouble
from venues.binance_spot.decode_user import UserMessage, decode_user, subscription
from venues.ccxt_client import Secret
from venues.order_queries import OrderQueries

MAX_FRAME = 1 << 20
FIRST_PAUSE_S, MAX_PAUSE_S = 0.25, 30.0
ANSWER_S = 10.0


class Frames(Protocol):
    """One open websocket. Given by venues/transport.py, or by `dial` here."""

    async def send(self, message: str) -> None:
        """Send a text frame."""

    async def recv(self) -> str | bytes:
        """Wait for the next frame; raise when the connection is over."""


Dial = Callable[[str], AbstractAsyncContextManager[Frames]]


@asynccontextmanager
async def dial(url: str) -> AsyncIterator[Frames]:
    """Open a websocket with the bounds that hold here."""
    from websockets.asyncio.client import connect

    async with connect(
        url,
        max_size=MAX_FRAME,
        open_timeout=5,
        close_timeout=1,
        ping_interval=5,
        ping_timeout=5,
        proxy=None,
    ) as socket:
        yield socket


class Keys(msgspec.Struct, frozen=True):
    """What a subscription is signed with."""

    key: Secret
    secret: Secret


class UserStream:
    """The order stream of one account.

    After every (re)connection the subscription is confirmed, then `reconciled` is awaited, and only
    then may orders leave again. While the stream is down orders are held (`orders.stream_lost`) and
    the polling follower is what sees.

    Args:
        queries: the account and the exchange.
        url: of the WebSocket API.
        keys: the account's.
        reconciled: compares journal and venue; raises VenueError while it cannot.
        now_ms: the venue's time as we know it.
        open_socket: opens a websocket.
    """

    def __init__(
        self,
        queries: OrderQueries,
        url: str,
        keys: Keys,
        reconciled: Callable[[], Awaitable[object]],
        *,
        now_ms: Callable[[], int],
        open_socket: Dial = dial,
    ) -> None:
        self._queries = queries
        self._account = queries.account
        self._url = url
        self._keys = keys
        self._reconciled = reconciled
        self._now_ms = now_ms
        self._dial = open_socket
        self._chance = random.Random()
        self.connections = 0
        self.bad_frames = 0
        self.live = asyncio.Event()

    async def run(self) -> None:
        """Stay connected until cancelled."""
        pause = FIRST_PAUSE_S
        while True:
            try:
                await self._follow()
                pause = FIRST_PAUSE_S
            except (OSError, EOFError, TimeoutError, VenueError) as error:
                reason = type(error).__name__
            except Exception as error:
                if type(error).__module__.split(".")[0] != "websockets":
                    raise
                reason = type(error).__name__
            else:
                reason = "ended by the venue"
            if self.live.is_set():
                pause = FIRST_PAUSE_S
            self.live.clear()
            self._queries.brake.hold("orders.stream_lost", f"the order stream is down ({reason})")
            await asyncio.sleep(self._chance.uniform(0, pause))
            pause = min(pause * 2, MAX_PAUSE_S)

    async def _follow(self) -> None:
        """Connect, subscribe, reconcile, and apply what comes until the connection is over.

        What arrives during the reconciliation waits in the socket and is applied after it; what
        both of them show counts once.
        """
        async with self._dial(self._url) as socket:
            self.connections += 1
            await self._subscribe(socket)
            await self._reconciled()
            self.live.set()
            self._queries.brake.heal("orders.stream_lost")
            while True:
                frame = await socket.recv()
                message = decode_user(frame, self._markets())
                if message.kind == "ended":
                    return
                await self._apply(message)

    async def _subscribe(self, socket: Frames) -> None:
        """Ask for our events and wait until that is confirmed."""
        key, stamp = self._keys.key.reveal(), self._now_ms()
        secret = self._keys.secret.reveal().encode()
        text = subscription(key, stamp).encode()
        signature = hmac.new(secret, text, hashlib.sha256).hexdigest()
        request = {
            "id": 1,
            "method": "userDataStream.subscribe.signature",
            "params": {"apiKey": key, "timestamp": stamp, "signature": signature},
        }
        await socket.send(msgspec.json.encode(request).decode())
        async with asyncio.timeout(ANSWER_S):
            while True:
                message = decode_user(await socket.recv(), {})
                if message.kind == "answer" and message.request == 1:
                    if message.status != 200:
                        raise VenueError(f"the order stream is refused (status {message.status})")
                    return

    async def _apply(self, message: UserMessage) -> None:
        """Let a frame become records: the fill first, then the order's state."""
        if message.kind == "bad":
            self.bad_frames += 1
            self._account.tell(
                Trouble(
                    code="orders.bad_frame",
                    text="a frame of the order stream cannot be read: the venue is asked instead",
                    measure=Measure.TELL,
                )
            )
            await self._reconciled()
            return
        if message.trade is not None:
            self._account.filled(message.trade)
        if message.order is not None and message.order.client_id in self._account.state.orders:
            if apply_report(self._account, message.order):
                await self._queries.catch_up(message.order)

    def _markets(self) -> dict[str, Market]:
        return {symbol: traded.market for symbol, traded in self._queries.traded.items()}
