"""The public endpoints, for REST and the WebSocket API: parameters in, JSON-able values out."""

from collections.abc import Callable, Mapping
from typing import Any

import msgspec
import numpy as np

from venues.embedded import messages
from venues.embedded.amounts import text
from venues.embedded.candles import INTERVALS_MS, candle_fields, candles_of, filled
from venues.embedded.exchange import MAX_OPEN_ORDERS, Exchange
from venues.embedded.limits import RateLimits
from venues.embedded.refusals import Refused, bad_symbol, illegal, missing
from venues.embedded.requests import (
    DEFAULT_STP,
    ORDER_TYPES,
    STP_MODES,
    filters,
)  # fmt: skip
from venues.embedded.symbols import Symbol

Params = Mapping[str, str]
DAY_MS = 86_400_000
MAX_ROWS = 1000
MAX_DEPTH = 5000


class PublicApi:
    """Answers of the market data endpoints."""

    def __init__(self, exchange: Exchange, limits: RateLimits) -> None:
        self.exchange = exchange
        self.limits = limits

    def symbol(self, params: Params) -> Symbol:
        """Return the symbol that a request names.

        Raises:
            Refused: -1102 or -1121.
        """
        name = params.get("symbol")
        if not name:
            raise missing("symbol")
        found = self.exchange.symbols.get(name)
        if found is None:
            raise bad_symbol()
        return found

    def ping(self, params: Params) -> Any:
        """Answer nothing."""
        return {}

    def time(self, params: Params) -> Any:
        """Return the exchange's time."""
        return {"serverTime": self.exchange.now_ms}

    def exchange_info(self, params: Params) -> Any:
        """Return symbols, filters and limits."""
        symbols = self._chosen(params)
        weight, orders = self.limits.weight_per_minute, self.limits
        return {
            "timezone": "UTC",
            "serverTime": self.exchange.now_ms,
            "rateLimits": [
                _limit("REQUEST_WEIGHT", "MINUTE", 1, weight),
                _limit("ORDERS", "SECOND", 10, orders.orders_per_10s),
                _limit("ORDERS", "DAY", 1, orders.orders_per_day),
            ],
            "exchangeFilters": [],
            "symbols": [_symbol_info(one) for one in symbols],
        }

    def depth(self, params: Params) -> Any:
        """Return the book."""
        symbol = self.symbol(params)
        return msgspec.Raw(messages.book(symbol, integer(params, "limit", 100, MAX_DEPTH)).encode())

    def trades(self, params: Params) -> Any:
        """Return the newest trades."""
        symbol = self.symbol(params)
        rows = symbol.trades.last(integer(params, "limit", 500, MAX_ROWS))
        return [_trade(symbol, row) for row in rows]

    def historical_trades(self, params: Params) -> Any:
        """Return trades from an id on."""
        symbol = self.symbol(params)
        limit = integer(params, "limit", 500, MAX_ROWS)
        start = optional(params, "fromId")
        rows = symbol.trades.select(key="id", start=start, ms_from=None, ms_to=None, limit=limit)
        return [_trade(symbol, row) for row in rows]

    def aggregate_trades(self, params: Params) -> Any:
        """Return aggregate trades from an id or a time on."""
        symbol = self.symbol(params)
        rows = symbol.trades.select(
            key="agg",
            start=optional(params, "fromId"),
            ms_from=optional(params, "startTime"),
            ms_to=optional(params, "endTime"),
            limit=integer(params, "limit", 500, MAX_ROWS),
        )
        if len(rows) == 0:
            return []
        starts = np.flatnonzero(np.r_[True, rows["agg"][1:] != rows["agg"][:-1]])
        ends = np.r_[starts[1:], len(rows)]
        return [_aggregate(symbol, rows[a:b]) for a, b in zip(starts, ends)]

    def klines(self, params: Params) -> Any:
        """Return candles."""
        symbol = self.symbol(params)
        name = params.get("interval")
        if not name:
            raise missing("interval")
        length = INTERVALS_MS.get(name)
        if length is None:
            raise Refused(-1120, "Invalid interval.")
        start, stop = optional(params, "startTime"), optional(params, "endTime")
        limit = integer(params, "limit", 500, MAX_ROWS)
        now = self.exchange.now_ms
        if name == "1s":
            rows = _second_candles(symbol, (start, stop), limit, now)
        else:
            rows = symbol.trades.candles.select(length, start, stop, limit, now)
        return [candle_fields(row, length, symbol.spec) for row in rows]

    def book_ticker(self, params: Params) -> Any:
        """Return the touch of one symbol or of all."""
        return self._each(params, _book_ticker)

    def price(self, params: Params) -> Any:
        """Return the last price of one symbol or of all."""
        return self._each(params, _price)

    def day_ticker(self, params: Params) -> Any:
        """Return the statistics of the last 24 hours."""
        now = self.exchange.now_ms
        return self._each(params, lambda symbol: _day_ticker(symbol, now))

    def _each(self, params: Params, answer: Callable[[Symbol], Any]) -> Any:
        """Answer for the symbol asked for, or with a list for several."""
        if "symbol" in params:
            return answer(self.symbol(params))
        return [answer(one) for one in self._chosen(params)]

    def _chosen(self, params: Params) -> list[Symbol]:
        """Return the symbols that `symbol` or `symbols` name, all without either."""
        if "symbol" in params:
            return [self.symbol(params)]
        if "symbols" not in params:
            return list(self.exchange.symbols.values())
        try:
            names = msgspec.json.decode(params["symbols"], type=list[str])
        except msgspec.MsgspecError:
            raise illegal("symbols", '^\\["[A-Z0-9]+"(,"[A-Z0-9]+")*\\]$') from None
        return [self.symbol({"symbol": name}) for name in names]


def integer(params: Params, name: str, default: int, most: int) -> int:
    """Return a positive whole number, at most `most` (more is cut, as at Binance)."""
    value = optional(params, name)
    if value is None:
        return default
    if value < 1:
        raise illegal(name, "^[0-9]{1,20}$")
    return min(value, most)


def optional(params: Params, name: str) -> int | None:
    """Return a whole number, None where it was not sent.

    Raises:
        Refused: -1100.
    """
    value = params.get(name)
    if value is None or value == "":
        return None
    if not (value.isascii() and value.isdigit() and len(value) <= 18):
        raise illegal(name, "^[0-9]{1,20}$")
    return int(value)


def _limit(kind: str, interval: str, count: int, limit: int) -> dict[str, Any]:
    return {"rateLimitType": kind, "interval": interval, "intervalNum": count, "limit": limit}


def _symbol_info(symbol: Symbol) -> dict[str, Any]:
    """Return a symbol as exchangeInfo lists it."""
    spec = symbol.spec
    return {
        "symbol": symbol.name,
        "status": symbol.status,
        "baseAsset": spec.base,
        "baseAssetPrecision": 8,
        "quoteAsset": spec.quote,
        "quotePrecision": 8,
        "quoteAssetPrecision": 8,
        "baseCommissionPrecision": 8,
        "quoteCommissionPrecision": 8,
        "orderTypes": list(ORDER_TYPES),
        "icebergAllowed": False,
        "ocoAllowed": False,
        "otoAllowed": False,
        "quoteOrderQtyMarketAllowed": True,
        "allowTrailingStop": False,
        "cancelReplaceAllowed": False,
        "amendAllowed": False,
        "isSpotTradingAllowed": True,
        "isMarginTradingAllowed": False,
        "filters": filters(spec, MAX_OPEN_ORDERS),
        "permissions": [],
        "permissionSets": [["SPOT"]],
        "defaultSelfTradePreventionMode": DEFAULT_STP,
        "allowedSelfTradePreventionModes": list(STP_MODES),
    }


def _trade(symbol: Symbol, row: np.void) -> dict[str, Any]:
    price, lots = int(row["price"]), int(row["lots"])
    return {
        "id": int(row["id"]),
        "price": text(price * symbol.tick_minor),
        "qty": text(lots * symbol.lot_minor),
        "quoteQty": text(symbol.value(price, lots)),
        "time": int(row["ms"]),
        "isBuyerMaker": bool(row["side"] < 0),
        "isBestMatch": True,
    }


def _aggregate(symbol: Symbol, rows: np.ndarray) -> dict[str, Any]:
    first, last = rows[0], rows[-1]
    return {
        "a": int(first["agg"]),
        "p": text(int(first["price"]) * symbol.tick_minor),
        "q": text(int(rows["lots"].sum()) * symbol.lot_minor),
        "f": int(first["id"]),
        "l": int(last["id"]),
        "T": int(first["ms"]),
        "m": bool(first["side"] < 0),
        "M": True,
    }


def _second_candles(
    symbol: Symbol, times: tuple[int | None, int | None], limit: int, now_ms: int
) -> np.ndarray:
    """Return candles of a second from the trades that are kept."""
    stop = min(now_ms, now_ms if times[1] is None else times[1])
    start = stop - stop % 1000 - (limit - 1) * 1000 if times[0] is None else times[0]
    begin = -(-start // 1000) * 1000
    stop = min(stop, begin + (limit - 1) * 1000)
    early = max(0, int(np.searchsorted(symbol.trades.rows["ms"], begin)) - 1)
    late = int(np.searchsorted(symbol.trades.rows["ms"], stop + 1000))
    rows = symbol.trades.rows[early:late]
    made = candles_of(rows["ms"], rows["price"], rows["lots"], rows["side"], 1000)
    made = filled(made, 1000, stop)
    return made[(made["ms"] >= begin) & (made["ms"] <= stop)]


def _book_ticker(symbol: Symbol) -> dict[str, Any]:
    bid, ask, bid_lots, ask_lots = symbol.book.touch()
    return {
        "symbol": symbol.name,
        "bidPrice": text(bid * symbol.tick_minor),
        "bidQty": text(bid_lots * symbol.lot_minor),
        "askPrice": text(ask * symbol.tick_minor),
        "askQty": text(ask_lots * symbol.lot_minor),
    }


def _price(symbol: Symbol) -> dict[str, Any]:
    return {"symbol": symbol.name, "price": text(symbol.last_price() * symbol.tick_minor)}


def _day_ticker(symbol: Symbol, now_ms: int) -> dict[str, Any]:
    """Return the last 24 hours of a symbol, to the minute."""
    rows = symbol.trades.candles.rows
    rows = rows[rows["ms"] > now_ms - DAY_MS]
    last = symbol.last_price()
    first = int(rows["open"][0]) if len(rows) else last
    tick, lot = symbol.tick_minor, symbol.lot_minor
    lots, money = int(rows["lots"].sum()), symbol.value(1, int(rows["money"].sum()))
    count = int(rows["count"].sum())
    ticker = _book_ticker(symbol)
    first_id = int(rows["first_id"][0]) if count else -1
    return ticker | {
        "priceChange": text((last - first) * tick),
        "priceChangePercent": f"{100.0 * (last - first) / max(first, 1):.3f}",
        "weightedAvgPrice": text(money * lot and money * 10**8 // max(1, lots * lot)),
        "prevClosePrice": text(first * tick),
        "lastPrice": text(last * tick),
        "lastQty": text(int(symbol.trades.last(1)["lots"].sum()) * lot),
        "openPrice": text(first * tick),
        "highPrice": text(int(rows["high"].max(initial=last)) * tick),
        "lowPrice": text(int(rows["low"].min(initial=last)) * tick),
        "volume": text(lots * lot),
        "quoteVolume": text(money),
        "openTime": now_ms - DAY_MS,
        "closeTime": now_ms,
        "firstId": first_id,
        "lastId": symbol.trades.next_id - 1 if count else -1,
        "count": count,
    }
