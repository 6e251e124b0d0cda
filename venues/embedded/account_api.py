"""The signed endpoints, shared by REST and the WebSocket API: orders, fills and balances."""

from collections.abc import Mapping
from typing import Any

from venues.embedded import order_messages
from venues.embedded.amounts import text
from venues.embedded.exchange import Exchange
from venues.embedded.ledger import Account
from venues.embedded.limits import Meter
from venues.embedded.orders import Order
from venues.embedded.public_api import PublicApi, integer, optional
from venues.embedded.refusals import (
    NO_SUCH_ORDER,
    Refused,
    missing,
    no_such_order,
    unknown_order,
)  # fmt: skip
from venues.embedded.requests import client_id, read_order

Params = Mapping[str, str]
MAX_ROWS = 1000


class AccountApi:
    """Answers of the account endpoints."""

    def __init__(self, exchange: Exchange, public: PublicApi, meter: Meter) -> None:
        self.exchange = exchange
        self.public = public
        self.meter = meter
        self._made_ids = 0

    def new_order(self, account: Account, params: Params) -> Any:
        """Place an order."""
        symbol = self.public.symbol(params)
        request = read_order(symbol, params, self._made_id())
        self.meter.order(account.index, self.exchange.now_ms)
        order, fills = self.exchange.place(account, symbol, request)
        return order_messages.new_order(symbol, order, fills, request.response)

    def test_order(self, account: Account, params: Params) -> Any:
        """Check an order without placing it."""
        read_order(self.public.symbol(params), params, self._made_id())
        return {}

    def query_order(self, account: Account, params: Params) -> Any:
        """Return one order."""
        symbol = self.public.symbol(params)
        order = self._named(account, params)
        if order.symbol != symbol.name or self.exchange.hidden(order):
            raise no_such_order()
        return order_messages.order_status(symbol, order)

    def cancel_order(self, account: Account, params: Params) -> Any:
        """Cancel one order."""
        symbol = self.public.symbol(params)
        cancel_id = client_id(params, self._made_id())
        try:
            order = self._named(account, params)
        except Refused as refused:
            raise unknown_order() if refused.code == NO_SUCH_ORDER else refused from None
        if order.symbol != symbol.name:
            raise unknown_order()
        self.exchange.cancel(account, order, cancel_id)
        return order_messages.canceled(symbol, order, cancel_id)

    def open_orders(self, account: Account, params: Params) -> Any:
        """Return the open orders of one symbol or of all."""
        return [
            order_messages.order_status(self.exchange.symbols[order.symbol], order)
            for order in self._open(account, params)
            if not self.exchange.hidden(order)
        ]

    def cancel_open_orders(self, account: Account, params: Params) -> Any:
        """Cancel all open orders of a symbol."""
        symbol = self.public.symbol(params)
        orders = self._open(account, params)
        if not orders:
            raise unknown_order()
        answers = []
        for order in orders:
            cancel_id = self._made_id()
            self.exchange.cancel(account, order, cancel_id)
            answers.append(order_messages.canceled(symbol, order, cancel_id))
        return answers

    def all_orders(self, account: Account, params: Params) -> Any:
        """Return the orders of a symbol, open or not, in order of their numbers."""
        symbol = self.public.symbol(params)
        start, low = optional(params, "orderId"), optional(params, "startTime")
        high = optional(params, "endTime")
        found = [
            order
            for order in self.exchange.orders.values()
            if order.account == account.index
            and order.symbol == symbol.name
            and not self.exchange.hidden(order)
            and (start is None or order.order_id >= start)
            and (low is None or order.created_ms >= low)
            and (high is None or order.created_ms <= high)
        ]
        found.sort(key=lambda order: order.order_id)
        limit = integer(params, "limit", 500, MAX_ROWS)
        chosen = found[:limit] if start is not None or low is not None else found[-limit:]
        return [order_messages.order_status(symbol, order) for order in chosen]

    def my_trades(self, account: Account, params: Params) -> Any:
        """Return the fills of a symbol, in order of their trade ids."""
        symbol = self.public.symbol(params)
        order_id, start = optional(params, "orderId"), optional(params, "fromId")
        low, high = optional(params, "startTime"), optional(params, "endTime")
        found = [
            fill
            for fill in self.exchange.fills.get(account.index, ())
            if fill.order.symbol == symbol.name
            and (order_id is None or fill.order.order_id == order_id)
            and (start is None or fill.trade_id >= start)
            and (low is None or fill.ts_ms >= low)
            and (high is None or fill.ts_ms <= high)
        ]
        limit = integer(params, "limit", 500, MAX_ROWS)
        chosen = found[:limit] if start is not None or low is not None else found[-limit:]
        return [order_messages.my_trade(symbol, fill) for fill in chosen]

    def account(self, account: Account, params: Params) -> Any:
        """Return the balances."""
        state = order_messages.account_state(account)
        if params.get("omitZeroBalances") == "true":
            zero = text(0)
            state["balances"] = [
                one for one in state["balances"] if (one["free"], one["locked"]) != (zero, zero)
            ]
        return state

    def order_limits(self, account: Account, params: Params) -> Any:
        """Return how many orders the account has counted against its limits."""
        limits = self.meter.limits
        counts = self.meter.order_counts(account.index, self.exchange.now_ms)
        rows = (("SECOND", 10, limits.orders_per_10s), ("DAY", 1, limits.orders_per_day))
        return [
            {
                "rateLimitType": "ORDERS",
                "interval": interval,
                "intervalNum": number,
                "limit": limit,
                "count": count,
            }
            for (interval, number, limit), count in zip(rows, counts)
        ]

    def _open(self, account: Account, params: Params) -> list[Order]:
        name = self.public.symbol(params).name if "symbol" in params else None
        return [
            order
            for order in self.exchange.open_orders.values()
            if order.account == account.index and name in (None, order.symbol)
        ]

    def _named(self, account: Account, params: Params) -> Order:
        """Return the order that a request names by number or client id."""
        number, named = optional(params, "orderId"), params.get("origClientOrderId")
        if number is None and not named:
            raise missing("orderId")
        return self.exchange.find(account, number, named)

    def _made_id(self) -> str:
        """Return a client id for a request without one."""
        self._made_ids += 1
        return f"x-made-{self._made_ids}"
