"""Past candles and trades of any exchange, page by page, through an unmodified ccxt.

Every page says how far the past is now complete, so that whoever writes it can stop and go on. ccxt
is imported when a client is opened; its rate limiter is on, and its exceptions do not pass.
"""

import time
from collections import Counter
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import numpy as np

from engine.errors import UsageError, VenueError
from venues.ccxt_client import point_at

PAGE_ROWS = 1000
ATTEMPTS = 5  # of one page, with 0.5, 1, 2 and 4 s between them
FIRST_ATTEMPTS = 2  # of the first question: a wrong address is told soon
MAX_WAIT_S = 120.0  # longest pause that an exchange may ask for
TIMEOUT_S = 10.0
FULL_ROWS = 50  # no exchange's pages are shorter: as many trades of one time may hide more
HOUR_MS = 3_600_000  # what an answer without anything new is taken to cover
SETTLED_MS = 10_000  # trades younger than this may not all be told yet
# Our names of venues -> ccxt's id and the type of its markets. Other names are ccxt's own, spot.
VENUES = {"binance_spot": ("binance", "spot"), "binance_usdm": ("binanceusdm", "swap")}
_BY_ID = ("binance", "binanceus", "binanceusdm")  # trades are asked for from an id on

_VALUES = ("open", "high", "low", "close", "volume")
CANDLE = np.dtype([("ts_event", "i8"), *((name, "f8") for name in _VALUES)])
PRINT = np.dtype(
    [("ts_event", "i8"), ("price", "f8"), ("size", "f8"), ("side", "i1"), ("trade_id", "i8")]
)


class Market(NamedTuple):
    """What is fetched, and its grid as the exchange tells it."""

    ccxt_symbol: str
    base: str
    quote: str
    tick: str
    lot: str
    min_notional: str

    @property
    def symbol(self) -> str:
        """Return the canonical symbol."""
        return self.base + self.quote


class Page(NamedTuple):
    """Rows in order of time, and the time before which nothing more will come."""

    rows: np.ndarray  # CANDLE or PRINT, times in ns
    reached_ns: int


class CcxtHistory:
    """One exchange's past."""

    def __init__(self, exchange: Any, ccxt: Any, wait: Callable[[float], None]) -> None:
        self._exchange = exchange
        self._ccxt = ccxt
        self._wait = wait
        self._kind = exchange.options["defaultType"]

    def market(self, canonical: str) -> Market:
        """Find a market by our name, such as BTCUSDT.

        Raises:
            UsageError: the exchange has none.
            VenueError: it does not answer, or does not tell the market's grid.
        """
        if not self._exchange.markets:
            self._ask("load_markets", attempts=FIRST_ATTEMPTS)
        markets = [one for one in self._exchange.markets.values() if one.get(self._kind)]
        for one in markets:
            if f"{one['base']}{one['quote']}".upper() == canonical and not one.get("inverse"):
                return self._described(one)
        names = sorted(f"{one['base']}/{one['quote']}" for one in markets)
        shown = ", ".join(names[:10]) + (", ..." if len(names) > 10 else "")
        raise UsageError(f"{self._exchange.id} has no market {canonical}; there is {shown}")

    def _described(self, market: dict[str, Any]) -> Market:
        found = []
        for name in ("price", "amount"):
            value = market["precision"].get(name)
            if value is None:
                raise VenueError(f"{self._exchange.id} does not tell the {name} step of its market")
            step = Decimal(repr(value))
            if self._exchange.precisionMode == self._ccxt.DECIMAL_PLACES:
                step = Decimal(1).scaleb(-int(value))
            found.append(format(step.normalize(), "f"))
        least = (market["limits"].get("cost") or {}).get("min") or 0
        cost = format(Decimal(repr(least)).normalize(), "f")
        return Market(market["symbol"], market["base"], market["quote"], found[0], found[1], cost)

    def settled_ms(self) -> int:
        """Return a time before which the exchange has told everything."""
        has_time = self._exchange.has.get("fetchTime")
        now = self._ask("fetch_time") if has_time else self._exchange.milliseconds()
        return int(now) - SETTLED_MS

    def intervals(self) -> list[str]:
        """Return the candles that the exchange has, such as 1m."""
        return list(self._exchange.timeframes or {})

    def candles(
        self, market: Market, interval: str, since_ms: int, until_ms: int
    ) -> Iterator[Page]:
        """Yield the candles that open at or after `since_ms` and end at or before `until_ms`."""
        step = int(self._exchange.parse_timeframe(interval) * 1000)
        at = since_ms
        while at < until_ms:
            page = self._ask("fetch_ohlcv", market.ccxt_symbol, interval, at, PAGE_ROWS)
            kept = {int(one[0]): one for one in page if at <= one[0] <= until_ms - step}
            beyond = any(one[0] > until_ms - step for one in page)
            rows = np.zeros(len(kept), CANDLE)
            for row, opened in zip(rows, sorted(kept), strict=True):
                row["ts_event"] = opened * 1_000_000
                for name, value in zip(_VALUES, kept[opened][1:6], strict=True):
                    row[name] = np.nan if value is None else float(value)
            at = max(kept) + step if kept else at + PAGE_ROWS * step
            at = until_ms if beyond else min(at, until_ms)
            yield Page(rows, at * 1_000_000)

    def trades(self, market: Market, since_ms: int, until_ms: int) -> Iterator[Page]:
        """Yield the trades from `since_ms` up to, and without, `until_ms`.

        Raises:
            VenueError: more trades in one millisecond than a page holds.
        """
        at, last_id, fullest = since_ms, -1, FULL_ROWS
        seen: set[Any] = set()  # keys of the trades at `at` that were yielded
        while at < until_ms:
            if last_id >= 0:
                page = self._ask(
                    "fetch_trades", market.ccxt_symbol, None, PAGE_ROWS, {"fromId": last_id + 1}
                )
            else:
                page = self._ask("fetch_trades", market.ccxt_symbol, at, PAGE_ROWS)
            keyed = [one for one in _keyed(page) if one[0] > at or one[0] == at and one not in seen]
            if not keyed:
                if len(page) >= fullest:
                    raise VenueError(
                        f"{self._exchange.id}: its pages do not go on after {len(page)} trades "
                        "of one time"
                    )
                at = min(at + HOUR_MS, until_ms) if last_id < 0 else until_ms
                seen = set()
                yield Page(np.zeros(0, PRINT), at * 1_000_000)
                continue
            fullest = max(fullest, len(page))
            newest = int(keyed[-1][0])
            seen = {key for key in keyed if key[0] == newest} | (seen if newest == at else set())
            at = min(newest, until_ms)
            if self._exchange.id in _BY_ID:
                last_id = int(keyed[-1][1])
            yield Page(_prints(keyed, until_ms), at * 1_000_000)

    def _ask(self, method: str, *args: Any, attempts: int = ATTEMPTS) -> Any:
        """Call a method of ccxt; a page that does not come is asked for again.

        Raises:
            UsageError: the exchange does not have this.
            VenueError: it does not answer, or refuses.
        """
        name, errors = self._exchange.id, self._ccxt
        for attempt in range(1, attempts + 1):
            try:
                return getattr(self._exchange, method)(*args)
            except errors.NetworkError as error:
                kind, asked_s = type(error).__name__, self._retry_after()
            except (errors.BadSymbol, errors.NotSupported) as error:
                raise UsageError(f"{name}: {method}: {type(error).__name__}") from None
            except errors.BaseError as error:
                raise VenueError(f"{name} refuses {method} ({type(error).__name__})") from None
            if attempt == attempts or asked_s > MAX_WAIT_S:
                break
            self._wait(max(asked_s, 0.5 * 2.0 ** (attempt - 1)))
        asks = f", and asks to wait {asked_s:.0f} s" if asked_s else ""
        raise VenueError(f"{name} does not answer ({kind} after {attempt} attempts{asks})")

    def _retry_after(self) -> float:
        """Return the seconds that the last answer asks us to wait, 0 for none."""
        headers = self._exchange.last_response_headers or {}
        for name, value in dict(headers).items():
            if name.lower() == "retry-after" and str(value).strip().isdigit():
                return float(value)
        return 0.0


def open_history(
    venue: str, base_url: str = "", wait: Callable[[float], None] = time.sleep
) -> CcxtHistory:
    """Open an exchange; nothing is asked of it yet.

    Args:
        venue: one of ours (`binance_spot`), or ccxt's own id.
        base_url: http://127.0.0.1:PORT of an embedded exchange; "" for the exchange's own.
        wait: how pauses are made.
    Raises:
        UsageError: ccxt knows no such exchange, or the address is none.
    """
    import ccxt

    name, kind = VENUES.get(venue, (venue, "spot"))
    if name not in ccxt.exchanges:
        known = ", ".join(VENUES)
        raise UsageError(f"--venue {venue}: not known; ours are {known}, others are ccxt's names")
    if base_url:
        parts = urlsplit(base_url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.path.strip("/"):
            raise UsageError(f"--base-url {base_url}: not an address such as http://127.0.0.1:8080")
    options: dict[str, Any] = {"defaultType": kind, "fetchCurrencies": False, "fetchMargins": False}
    if name == "binance":
        options["fetchMarkets"] = {"types": ["spot"]}
    exchange = getattr(ccxt, name)(
        {"enableRateLimit": True, "timeout": int(TIMEOUT_S * 1000), "options": options}
    )
    if base_url:
        point_at(exchange, base_url.rstrip("/"))
    return CcxtHistory(exchange, ccxt, wait)


def _keyed(page: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
    """Return (ms, id, price, size, side, n) of each trade, oldest first.

    `n` numbers trades without an id that are alike, so that none of them is lost as a repeat.
    """
    alike: Counter[tuple[Any, ...]] = Counter()
    found = []
    for one in page:
        side = {"buy": 1, "sell": -1}.get(one.get("side") or "", 0)
        number = one.get("id")
        key = (int(one["timestamp"]), number, float(one["price"]), float(one["amount"]), side)
        alike[key] += 1
        found.append((*key, 0 if number else alike[key]))
    return sorted(dict.fromkeys(found), key=lambda key: (key[0], _number(key[1])))


def _number(text: Any) -> int:
    """Return a trade's id as a number, -1 where it is none."""
    word = str(text)
    return int(word) if word.isdigit() and len(word) <= 18 else -1


def _prints(keyed: list[tuple[Any, ...]], until_ms: int) -> np.ndarray:
    """Return PRINT rows of the trades before a time."""
    inside = [key for key in keyed if key[0] < until_ms]
    rows = np.zeros(len(inside), PRINT)
    for row, (ms, number, price, size, side, _) in zip(rows, inside, strict=True):
        row["ts_event"], row["price"], row["size"] = ms * 1_000_000, price, size
        row["side"], row["trade_id"] = side, _number(number)
    return rows
