"""Ask Binance spot's public REST interface: bounded in time and size, quiet after a 429 or 418."""

import asyncio
import json
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any

import msgspec

from engine.errors import TickgateError, UsageError
from engine.instruments import Instrument
from venues.binance_spot.replies import (
    Candle,
    PastTrade,
    VenueError,
    read_aggregates,
    read_candles,
    read_instruments,
    read_statuses,
    read_time,
    read_trades,
)

BASE_REST = "https://data-api.binance.vision"  # public market data, no key
MAX_REPLY_BYTES = 16 << 20
MAX_CANDLES = 1000  # in one reply
MAX_TRADES = 1000
INVALID_SYMBOL = -1121
NS_PER_S = 1_000_000_000
INTERVALS = {
    1: "1s", 60: "1m", 180: "3m", 300: "5m", 900: "15m", 1800: "30m", 3600: "1h", 14400: "4h",
    86400: "1d",
}  # fmt: skip


class RestError(TickgateError):
    """A request that brought no usable answer.

    Attributes:
        status: of HTTP, 0 where there was no answer.
        code: the venue's, 0 where it gave none.
        retry_after_s: how long the venue wants to be left alone.
    """

    def __init__(
        self, detail: str, *, status: int = 0, code: int = 0, retry_after_s: float = 0.0
    ) -> None:
        """Say what happened, in one line."""
        super().__init__(detail)
        self.status = status
        self.code = code
        self.retry_after_s = retry_after_s


class SpotRest:
    """A client for one base address. Use it as `async with`; it holds one pool of connections."""

    def __init__(
        self,
        monotonic_ns: Callable[[], int],
        base_rest: str = BASE_REST,
        *,
        timeout_s: float = 5.0,
    ) -> None:
        """Take the address, without the path."""
        self.base_rest = base_rest.rstrip("/")
        self._monotonic_ns = monotonic_ns
        self._timeout_s = timeout_s
        self._session: Any = None
        self._quiet_until_ns = 0

    async def __aenter__(self) -> "SpotRest":
        """Return itself; the session opens with the first request."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        """Close the session."""
        await self.close()

    async def close(self) -> None:
        """Close the pool of connections."""
        if self._session is not None:
            session, self._session = self._session, None
            await session.close()

    async def get(self, path: str, **params: str | int) -> bytes:
        """Return the body of a public endpoint's answer.

        Raises:
            RestError: no answer, too long a one, or a refusal.
        """
        import aiohttp

        quiet_ns = self._quiet_until_ns - self._monotonic_ns()
        if quiet_ns > 0:
            raise RestError(
                f"{path}: not asked, the venue wants rest", retry_after_s=quiet_ns / 1e9
            )
        if self._session is None:
            self._session = aiohttp.ClientSession(
                timeout=aiohttp.ClientTimeout(total=self._timeout_s), trust_env=False
            )
        try:
            async with self._session.get(self.base_rest + path, params=params) as answer:
                body = await _bounded(answer.content)
                status, headers = answer.status, answer.headers
        except (aiohttp.ClientError, TimeoutError, asyncio.IncompleteReadError, OSError) as error:
            detail = str(error) or type(error).__name__
            raise RestError(f"{self.base_rest}{path}: {detail}") from None
        if body is None:
            raise RestError(f"{self.base_rest}{path}: the answer is above {MAX_REPLY_BYTES} bytes")
        if status != 200:
            raise self._refusal(path, status, headers.get("Retry-After", ""), body)
        return body

    def _refusal(self, path: str, status: int, retry_after: str, body: bytes) -> RestError:
        """Say what a status other than 200 means, and keep quiet as long as the venue asks."""
        wait_s = float(retry_after) if retry_after.isdecimal() else 0.0
        if status in (418, 429):
            wait_s = max(wait_s, 1.0)
            self._quiet_until_ns = self._monotonic_ns() + int(wait_s * NS_PER_S)
        try:
            said = msgspec.json.decode(body, type=VenueError)
        except (msgspec.MsgspecError, RecursionError):
            said = VenueError()
        detail = (
            f"{self.base_rest}{path}: HTTP status {status}, code {said.code} {said.msg[:200]!r}"
        )
        return RestError(detail, status=status, code=said.code, retry_after_s=wait_s)

    async def server_time_ns(self) -> int:
        """Return the venue's clock, ns since the epoch."""
        return _read(read_time, await self.get("/api/v3/time"))

    async def instruments(
        self, symbols: Sequence[str], has: tuple[str, ...], bar_interval_ns: int
    ) -> tuple[Instrument, ...]:
        """Return the tape's table for symbols; see read_instruments.

        Raises:
            UsageError: the venue does not have one of them.
        """
        reply = await self._exchange_info(symbols)
        return _read(lambda body: read_instruments(body, symbols, has, bar_interval_ns), reply)

    async def statuses(self, symbols: Sequence[str]) -> dict[str, str]:
        """Return symbol -> TRADING, HALT, BREAK or another word of the venue's."""
        reply = await self._exchange_info(symbols)
        found: dict[str, str] = _read(read_statuses, reply)
        return {symbol: found[symbol] for symbol in symbols if symbol in found}

    async def _exchange_info(self, symbols: Sequence[str]) -> bytes:
        """Ask for the rules of symbols.

        Raises:
            UsageError: the venue does not have one of them.
        """
        named = json.dumps(list(symbols), separators=(",", ":"))
        try:
            return await self.get("/api/v3/exchangeInfo", symbols=named)
        except RestError as error:
            if error.code == INVALID_SYMBOL:
                raise UsageError(
                    f"binance_spot does not have all of {', '.join(symbols)}"
                ) from None
            raise

    async def depth(self, symbol: str, limit: int) -> bytes:
        """Return a full book as it came, for the decoder."""
        return await self.get("/api/v3/depth", symbol=symbol, limit=limit)

    async def candles(
        self, symbol: str, interval_ns: int, limit: int, end_ms: int | None = None
    ) -> list[Candle]:
        """Return the last `limit` candles that opened before `end_ms`, oldest first."""
        params: dict[str, str | int] = {
            "symbol": symbol,
            "interval": INTERVALS[interval_ns // NS_PER_S],
            "limit": min(limit, MAX_CANDLES),
        }
        if end_ms is not None:
            params["endTime"] = end_ms
        return _read(read_candles, await self.get("/api/v3/klines", **params))

    async def trades(self, symbol: str) -> list[PastTrade]:
        """Return the newest trades, at most MAX_TRADES, oldest first."""
        reply = await self.get("/api/v3/trades", symbol=symbol, limit=MAX_TRADES)
        return _read(read_trades, reply)

    async def aggregates(self, symbol: str, **since: int) -> list[PastTrade]:
        """Return aggregate trades from `startTime` (ms) or `fromId` on, at most MAX_TRADES."""
        reply = await self.get("/api/v3/aggTrades", symbol=symbol, limit=MAX_TRADES, **since)
        return _read(read_aggregates, reply)


async def _bounded(content: Any) -> bytes | None:
    """Read a body, None if it is above the bound."""
    parts, size = [], 0
    async for part in content.iter_chunked(1 << 16):
        size += len(part)
        if size > MAX_REPLY_BYTES:
            return None
        parts.append(part)
    return b"".join(parts)


def _read(reader: Callable[[bytes], Any], reply: bytes) -> Any:
    """Apply a reader; what it cannot read is no answer."""
    try:
        return reader(reply)
    except (msgspec.MsgspecError, RecursionError, ArithmeticError) as error:
        raise RestError(f"the answer cannot be read ({error})") from None
