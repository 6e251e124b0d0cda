"""What an account is told of its orders, fills and balances: REST answers and user events; pure."""

from typing import Any

from venues.embedded.amounts import text
from venues.embedded.ledger import Account
from venues.embedded.orders import NO_TRADE, Fill, Order, Report
from venues.embedded.symbols import Symbol

_SIDES = {1: "BUY", -1: "SELL"}


def order_core(symbol: Symbol, order: Order) -> dict[str, Any]:
    """Return what every answer about an order holds."""
    return {
        "symbol": symbol.name,
        "orderId": order.order_id,
        "orderListId": -1,
        "clientOrderId": order.client_id,
        "price": text(order.price_tick * symbol.tick_minor),
        "origQty": text(order.qty_lot * symbol.lot_minor),
        "executedQty": text(order.filled_lot * symbol.lot_minor),
        "origQuoteOrderQty": text(order.quote_qty),
        "cummulativeQuoteQty": text(order.quote_filled),
        "status": order.status,
        "timeInForce": order.tif,
        "type": order.kind,
        "side": _SIDES[order.side],
        "selfTradePreventionMode": order.stp,
    }


def order_status(symbol: Symbol, order: Order) -> dict[str, Any]:
    """Return an order as queries give it."""
    return order_core(symbol, order) | {
        "stopPrice": text(0),
        "icebergQty": text(0),
        "time": order.created_ms,
        "updateTime": order.updated_ms,
        "isWorking": True,
        "workingTime": order.created_ms,
    }


def new_order(symbol: Symbol, order: Order, fills: list[Fill], response: str) -> dict[str, Any]:
    """Return the answer to a new order: ACK, RESULT or FULL."""
    ack = {
        "symbol": symbol.name,
        "orderId": order.order_id,
        "orderListId": -1,
        "clientOrderId": order.client_id,
        "transactTime": order.created_ms,
    }
    if response == "ACK":
        return ack
    result = ack | order_core(symbol, order) | {"workingTime": order.created_ms}
    if response == "RESULT":
        return result
    return result | {
        "fills": [
            {
                "price": text(one.price_tick * symbol.tick_minor),
                "qty": text(one.lots * symbol.lot_minor),
                "commission": text(one.fee),
                "commissionAsset": one.fee_asset,
                "tradeId": one.trade_id,
            }
            for one in fills
        ]
    }


def canceled(symbol: Symbol, order: Order, cancel_id: str) -> dict[str, Any]:
    """Return the answer to a cancel: the order's own client id is `origClientOrderId`."""
    return order_core(symbol, order) | {
        "origClientOrderId": order.client_id,
        "clientOrderId": cancel_id,
        "transactTime": order.updated_ms,
    }


def my_trade(symbol: Symbol, fill: Fill) -> dict[str, Any]:
    """Return a fill as myTrades gives it."""
    order = fill.order
    return {
        "symbol": symbol.name,
        "id": fill.trade_id,
        "orderId": order.order_id,
        "orderListId": -1,
        "price": text(fill.price_tick * symbol.tick_minor),
        "qty": text(fill.lots * symbol.lot_minor),
        "quoteQty": text(fill.quote),
        "commission": text(fill.fee),
        "commissionAsset": fill.fee_asset,
        "time": fill.ts_ms,
        "isBuyer": order.side > 0,
        "isMaker": fill.maker,
        "isBestMatch": True,
    }


def account_state(account: Account) -> dict[str, Any]:
    """Return the balances as `account` gives them, without empty ones."""
    assets = sorted({*account.free, *account.locked})
    rates = {
        "maker": text(account.maker_rate),
        "taker": text(account.taker_rate),
        "buyer": text(0),
        "seller": text(0),
    }
    return {
        "makerCommission": account.maker_rate // 10_000,
        "takerCommission": account.taker_rate // 10_000,
        "buyerCommission": 0,
        "sellerCommission": 0,
        "commissionRates": rates,
        "canTrade": True,
        "canWithdraw": False,
        "canDeposit": False,
        "brokered": False,
        "requireSelfTradePrevention": False,
        "preventSor": False,
        "updateTime": account.updated_ms,
        "accountType": "SPOT",
        "balances": [
            {
                "asset": asset,
                "free": text(account.free.get(asset, 0)),
                "locked": text(account.locked.get(asset, 0)),
            }
            for asset in assets
        ],
        "permissions": ["SPOT"],
        "uid": account.index + 1,
    }


def execution_report(
    symbol: Symbol, report: Report, execution_id: int, now_ms: int
) -> dict[str, Any]:
    """Return executionReport. On a cancel `c` is the cancel's own id and `C` the order's."""
    order, fill = report.order, report.fill
    price = fill.price_tick * symbol.tick_minor if fill else 0
    return {
        "e": "executionReport",
        "E": now_ms,
        "s": symbol.name,
        "c": report.cancel_id or order.client_id,
        "S": _SIDES[order.side],
        "o": order.kind,
        "f": order.tif,
        "q": text(order.qty_lot * symbol.lot_minor),
        "p": text(order.price_tick * symbol.tick_minor),
        "P": text(0),
        "F": text(0),
        "g": -1,
        "C": order.client_id if report.cancel_id else "",
        "x": report.kind,
        "X": "NEW" if report.kind == "NEW" else order.status,
        "r": "NONE",
        "i": order.order_id,
        "l": text(fill.lots * symbol.lot_minor if fill else 0),
        "z": text(order.filled_lot * symbol.lot_minor),
        "L": text(price),
        "n": text(fill.fee if fill else 0),
        "N": fill.fee_asset if fill else None,
        "T": fill.ts_ms if fill else order.updated_ms,
        "t": fill.trade_id if fill else NO_TRADE,
        "I": execution_id,
        "w": order.is_open,
        "m": bool(fill and fill.maker),
        "M": False,
        "O": order.created_ms,
        "Z": text(order.quote_filled),
        "Y": text(fill.quote if fill else 0),
        "Q": text(order.quote_qty),
        "W": order.created_ms,
        "V": order.stp,
    }


def account_position(account: Account, assets: list[str], now_ms: int) -> dict[str, Any]:
    """Return outboundAccountPosition of the assets that changed."""
    return {
        "e": "outboundAccountPosition",
        "E": now_ms,
        "u": account.updated_ms,
        "B": [
            {
                "a": asset,
                "f": text(account.free.get(asset, 0)),
                "l": text(account.locked.get(asset, 0)),
            }
            for asset in assets
        ],
    }


def balance_update(asset: str, change: int, now_ms: int) -> dict[str, Any]:
    """Return balanceUpdate: a deposit, a withdrawal or a transfer."""
    return {"e": "balanceUpdate", "E": now_ms, "a": asset, "d": text(change), "T": now_ms}
