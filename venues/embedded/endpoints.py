"""Which requests there are: REST path, WebSocket method, weight and security, in one table."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from venues.embedded.account_api import AccountApi
from venues.embedded.public_api import PublicApi

Params = Mapping[str, str]
PUBLIC, KEY, SIGNED = 0, 1, 2


class Endpoint(NamedTuple):
    """One kind of request.

    Attributes:
        answer: (params) for PUBLIC and KEY, (account, params) for SIGNED.
        security: what it must carry.
        weight: of a request with these parameters.
        free: costs nothing when it succeeds (orders and cancels).
    """

    answer: Callable[..., Any]
    security: int
    weight: Callable[[Params], int]
    free: bool = False


def rest_table(public: PublicApi, account: AccountApi) -> dict[tuple[str, str], Endpoint]:
    """Return (method, path) -> endpoint."""
    at = "/api/v3/"
    order = at + "order"
    return {
        ("GET", at + "ping"): Endpoint(public.ping, PUBLIC, _fixed(1)),
        ("GET", at + "time"): Endpoint(public.time, PUBLIC, _fixed(1)),
        ("GET", at + "exchangeInfo"): Endpoint(public.exchange_info, PUBLIC, _fixed(20)),
        ("GET", at + "depth"): Endpoint(public.depth, PUBLIC, depth_weight),
        ("GET", at + "trades"): Endpoint(public.trades, PUBLIC, _fixed(25)),
        ("GET", at + "historicalTrades"): Endpoint(public.historical_trades, PUBLIC, _fixed(25)),
        ("GET", at + "aggTrades"): Endpoint(public.aggregate_trades, PUBLIC, _fixed(4)),
        ("GET", at + "klines"): Endpoint(public.klines, PUBLIC, _fixed(2)),
        ("GET", at + "ticker/bookTicker"): Endpoint(public.book_ticker, PUBLIC, _each(2, 4)),
        ("GET", at + "ticker/price"): Endpoint(public.price, PUBLIC, _each(2, 4)),
        ("GET", at + "ticker/24hr"): Endpoint(public.day_ticker, PUBLIC, _each(2, 80)),
        ("GET", at + "account"): Endpoint(account.account, SIGNED, _fixed(20)),
        ("POST", order): Endpoint(account.new_order, SIGNED, _fixed(1), free=True),
        ("POST", order + "/test"): Endpoint(account.test_order, SIGNED, _fixed(1)),
        ("GET", order): Endpoint(account.query_order, SIGNED, _fixed(4)),
        ("DELETE", order): Endpoint(account.cancel_order, SIGNED, _fixed(1), free=True),
        ("GET", at + "openOrders"): Endpoint(account.open_orders, SIGNED, _each(6, 80)),
        ("DELETE", at + "openOrders"): Endpoint(
            account.cancel_open_orders, SIGNED, _fixed(1), free=True
        ),
        ("GET", at + "allOrders"): Endpoint(account.all_orders, SIGNED, _fixed(20)),
        ("GET", at + "myTrades"): Endpoint(account.my_trades, SIGNED, _my_trades_weight),
        ("GET", at + "rateLimit/order"): Endpoint(account.order_limits, SIGNED, _fixed(40)),
    }


# WebSocket method -> the REST request that it equals
METHODS = {
    "ping": ("GET", "ping"),
    "time": ("GET", "time"),
    "exchangeInfo": ("GET", "exchangeInfo"),
    "depth": ("GET", "depth"),
    "trades.recent": ("GET", "trades"),
    "trades.historical": ("GET", "historicalTrades"),
    "trades.aggregate": ("GET", "aggTrades"),
    "klines": ("GET", "klines"),
    "ticker.book": ("GET", "ticker/bookTicker"),
    "ticker.price": ("GET", "ticker/price"),
    "ticker.24hr": ("GET", "ticker/24hr"),
    "order.place": ("POST", "order"),
    "order.test": ("POST", "order/test"),
    "order.status": ("GET", "order"),
    "order.cancel": ("DELETE", "order"),
    "openOrders.status": ("GET", "openOrders"),
    "openOrders.cancelAll": ("DELETE", "openOrders"),
    "allOrders": ("GET", "allOrders"),
    "myTrades": ("GET", "myTrades"),
    "account.status": ("GET", "account"),
    "account.rateLimits.orders": ("GET", "rateLimit/order"),
}


def socket_table(rest: Mapping[tuple[str, str], Endpoint]) -> dict[str, Endpoint]:
    """Return method -> endpoint."""
    return {name: rest[verb, "/api/v3/" + path] for name, (verb, path) in METHODS.items()}


def depth_weight(params: Params) -> int:
    """Return the weight of a book by its size.

    >>> [depth_weight({"limit": n}) for n in ("100", "101", "1000", "5000")]
    [5, 25, 50, 250]
    """
    limit = params.get("limit", "100")
    count = int(limit) if limit.isascii() and limit.isdigit() else 100
    return 5 if count <= 100 else 25 if count <= 500 else 50 if count <= 1000 else 250


def _fixed(weight: int) -> Callable[[Params], int]:
    return lambda params: weight


def _each(one: int, many: int) -> Callable[[Params], int]:
    return lambda params: one if "symbol" in params else many


def _my_trades_weight(params: Params) -> int:
    return 5 if "orderId" in params else 20
