"""An unmodified ccxt exchange behind a border: calls go in, transport records come out.

No exception of ccxt or the connection passes: their texts hold URLs, signatures and keys. What a
call proves is judged from our own record of it (venues/outcome.py). ccxt is imported when a client
is opened, never before; its own retries, logging and rate limiter are off.
"""

import contextvars
import logging
import ssl
from collections.abc import Callable
from typing import Any, NamedTuple
from urllib.parse import urlsplit, urlunsplit

import msgspec

from engine.errors import UsageError, VenueError
from venues.outcome import MAX_BODY, Attempt, VenueRules, rules_of

_ATTEMPT: contextvars.ContextVar[Attempt | None] = contextvars.ContextVar("attempt", default=None)
_NOWHERE = "http://127.0.0.1:9"  # urls that must not be called
RECV_WINDOW_MS = 5000


class Secret:
    """A key that prints as stars wherever it goes."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """Return the key itself, for a signature."""
        return self._value

    def __repr__(self) -> str:
        return "Secret(***)"

    def __reduce__(self) -> Any:
        raise TypeError("a secret is not written anywhere")


class ClientSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Which exchange, where, with whose keys."""

    exchange: str  # ccxt's id
    key: Secret
    secret: Secret
    password: Secret = Secret("")
    base_url: str = ""  # http://127.0.0.1:PORT of an embedded exchange; "" for the exchange's own
    sandbox: bool = False  # the exchange's testnet
    timeout_s: float = 5.0


class Answer(NamedTuple):
    """What came back: the library's reading of it, or None, and the transport's record."""

    value: Any
    attempt: Attempt


class CcxtClient:
    """One open ccxt exchange."""

    def __init__(self, exchange: Any, session: Any, rules: VenueRules) -> None:
        self._exchange = exchange
        self._session = session
        self.rules = rules
        self.name: str = exchange.id

    async def call(
        self, method: str, *args: Any, guard: Callable[[str, str, str], None] | None = None
    ) -> Answer:
        """Call a method of the exchange, once.

        Args:
            method: a unified name, such as `create_order`.
            guard: sees each request that is no GET (url, method, body) before it leaves, and may
                raise; the record is then of these requests alone.
        Returns:
            The answer; its value is None for whatever went wrong. Only a cancelled task raises.
        """
        attempt = Attempt(guard)
        token = _ATTEMPT.set(attempt)
        try:
            return Answer(await getattr(self._exchange, method)(*args), attempt)
        except Exception:  # a border: plain TypeErrors were seen here, and every text may hold keys
            return Answer(None, attempt)
        finally:
            _ATTEMPT.reset(token)

    def has(self, name: str) -> bool:
        """Return True when the exchange offers a unified method (`fetchOrder`)."""
        return bool(self._exchange.has.get(name))

    def market(self, symbol: str) -> dict[str, Any]:
        """Return ccxt's entry of a market.

        Raises:
            UsageError: the exchange has none of this name.
        """
        market = (self._exchange.markets or {}).get(symbol)
        if market is None:
            raise UsageError(f"{self.name} has no market {symbol}")
        return dict(market)

    async def load(self) -> None:
        """Load the markets and the clock's offset.

        Raises:
            VenueError: the exchange does not answer as it should.
        """
        for method in ("load_markets", "load_time_difference"):
            answer = await self.call(method)
            if answer.value is None:
                status = answer.attempt.status
                why = f"it answered with HTTP {status}" if status else "it does not answer"
                raise VenueError(f"{self.name}: cannot be used now: {why} ({method})")

    def now_ms(self) -> int:
        """Return the venue's time as we know it."""
        offset = self._exchange.options.get("timeDifference") or 0
        return int(self._exchange.milliseconds() - offset)

    async def close(self) -> None:
        """Close the connections."""
        await self._exchange.close()
        await self._session.close()


def import_ccxt() -> None:
    """Import what `open_client` needs; it takes a second, and a thread may do it ahead."""
    import aiohttp  # noqa: F401
    import ccxt.async_support  # noqa: F401


async def open_client(settings: ClientSettings) -> CcxtClient:
    """Open an exchange; nothing is asked of it yet.

    Raises:
        UsageError: ccxt knows no such exchange.
    """
    import aiohttp
    import ccxt.async_support as ccxt

    if settings.exchange not in ccxt.exchanges:
        raise UsageError(f"ccxt knows no exchange {settings.exchange!r}")
    session = aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(ssl=_tls(), limit=32), trace_configs=[_trace(aiohttp)]
    )
    exchange = _watched(getattr(ccxt, settings.exchange))(_options(settings, session))
    exchange.logger = logging.Logger("ccxt", logging.CRITICAL + 1)
    exchange.timeout_on_exit = 0  # the session is ours and closes itself
    exchange.number = str  # numbers stay the texts that the venue sent
    if settings.sandbox:
        exchange.set_sandbox_mode(True)
    if settings.base_url:
        point_at(exchange, settings.base_url)
    return CcxtClient(exchange, session, rules_of(settings.exchange))


def _options(settings: ClientSettings, session: Any) -> dict[str, Any]:
    return {
        "apiKey": settings.key.reveal(),
        "secret": settings.secret.reveal(),
        "password": settings.password.reveal() or None,
        "session": session,
        "enableRateLimit": False,
        "maxRetriesOnFailure": 0,
        "timeout": int(settings.timeout_s * 1000),
        "verbose": False,
        "options": {
            "defaultType": "spot",
            "fetchMarkets": {"types": ["spot"]},
            "fetchCurrencies": False,
            "fetchMargins": False,
            "adjustForTimeDifference": False,
            "recvWindow": RECV_WINDOW_MS,
            "maxRetriesOnFailure": 0,
            "warnOnFetchOpenOrdersWithoutSymbol": False,
        },
    }


def _watched(parent: Any) -> Any:
    """Return the exchange's class with our record around its requests."""

    class Watched(parent):  # type: ignore[misc]
        """The exchange, watched."""

        async def fetch(self, url, method="GET", headers=None, body=None):  # type: ignore[no-untyped-def]
            """Record a request and let the guard see it."""
            attempt = _ATTEMPT.get()
            assert attempt is not None, "a request outside of a call"
            if attempt.guard is None:
                attempt.began += 1
                return await super().fetch(url, method, headers, body)
            if method == "GET":  # a question before the order: its fate is not the order's
                token = _ATTEMPT.set(Attempt())
                try:
                    return await super().fetch(url, method, headers, body)
                finally:
                    _ATTEMPT.reset(token)
            try:
                attempt.guard(url, method, body or "")
            except VenueError:
                attempt.stopped = True
                raise
            attempt.began += 1
            return await super().fetch(url, method, headers, body)

        def on_rest_response(self, code, reason, url, *rest):  # type: ignore[no-untyped-def]
            """Record an answer that was read to its end."""
            attempt = _ATTEMPT.get()
            assert attempt is not None
            headers, body = rest[1], rest[2]
            attempt.status = int(code)
            attempt.body = body if len(body) <= MAX_BODY else ""
            attempt.retry_after_s = _retry_after(headers)
            return super().on_rest_response(code, reason, url, *rest)

    Watched.__name__ = parent.__name__
    return Watched


def _retry_after(headers: dict[str, str]) -> float:
    """Return the seconds that an answer asks us to wait, 0 for none."""
    for name, value in headers.items():
        if name.lower() == "retry-after" and value.strip().isdigit():
            return min(float(value), 7 * 86_400.0)
    return 0.0


def _trace(aiohttp: Any) -> Any:
    """Return the hooks that see a request's first byte and any redirection."""
    trace = aiohttp.TraceConfig()

    async def sent(session: Any, context: Any, params: Any) -> None:
        attempt = _ATTEMPT.get()
        if attempt is not None:
            attempt.sent = True

    async def redirected(session: Any, context: Any, params: Any) -> None:
        attempt = _ATTEMPT.get()
        if attempt is not None:
            attempt.redirected = True
        raise VenueError("the exchange redirects: not followed, it would send a request twice")

    trace.on_request_headers_sent.append(sent)
    trace.on_request_redirect.append(redirected)
    return trace


def _tls() -> ssl.SSLContext:
    import certifi

    return ssl.create_default_context(cafile=certifi.where())


def point_at(exchange: Any, base_url: str) -> None:
    """Let an exchange's REST calls go to another host; what has no place there goes nowhere."""
    if exchange.id == "binance":
        exchange.urls["api"] = {
            name: _NOWHERE for name, url in exchange.urls["api"].items() if isinstance(url, str)
        }
        exchange.urls["api"]["public"] = exchange.urls["api"]["private"] = f"{base_url}/api/v3"
        return
    target = urlsplit(base_url)

    def moved(url: Any) -> Any:
        if isinstance(url, dict):
            return {name: moved(inner) for name, inner in url.items()}
        parts = urlsplit(url)
        return urlunsplit((target.scheme, target.netloc, parts.path, parts.query, ""))

    exchange.urls["api"] = moved(exchange.urls["api"])
