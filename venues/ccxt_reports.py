"""ccxt's unified orders and trades as reports in whole numbers. Pure; nothing passes a float."""

from collections.abc import Mapping, Sequence
from decimal import Decimal, InvalidOperation
from typing import Any

from engine.account_state import Market
from engine.events import Liquidity
from engine.venue_events import OrderReport, TradeReport
from engine.wire_order import count_of, minor_of

_STATUS = {
    "open": "open",
    "closed": "filled",
    "canceled": "canceled",
    "canceling": "open",
    "expired": "expired",
    "rejected": "rejected",
}
_NS_PER_MS = 1_000_000


def order_report(order: Mapping[str, Any], market: Market) -> OrderReport | None:
    """Return what a unified order says, None when it lacks what a report needs.

    A status that ccxt does not know, a size that is no whole number of lots, a missing id: None.
    """
    side = {"buy": 1, "sell": -1}.get(_text(order.get("side")).lower())
    status = _STATUS.get(_text(order.get("status")))
    lot, tick = market.instrument.lot, market.instrument.tick
    qty = count_of(_text(order.get("amount")), lot)
    filled = count_of(_text(order.get("filled")) or "0", lot)
    price = count_of(_text(order.get("price")) or "0", tick)
    venue_id = _text(order.get("id"))
    if side is None or status is None or qty is None or filled is None or not venue_id:
        return None
    return OrderReport(
        symbol=market.instrument.symbol,
        client_id=_text(order.get("clientOrderId")),
        venue_id=venue_id,
        status="canceled" if status == "filled" and filled < qty else status,
        side=side,
        qty_lot=qty,
        price_tick=price or 0,
        filled_lot=filled,
        ts_event=_ns(order.get("lastUpdateTimestamp") or order.get("timestamp")),
    )


def trade_reports(trades: Sequence[Any] | None, market: Market) -> list[TradeReport] | None:
    """Return what unified trades say, in the venue's order; None when one of them is not readable.

    A trade that cannot be read must not be left out in silence: the position would be wrong.
    """
    found = []
    for trade in trades or ():
        report = _trade_report(trade, market)
        if report is None:
            return None
        found.append(report)
    return sorted(found, key=lambda report: (report.ts_event, _number(report.trade_id)))


def balances(answer: Mapping[str, Any]) -> dict[str, Decimal] | None:
    """Return free and locked amounts by asset, None when one is no number."""
    found: dict[str, Decimal] = {}
    try:
        for asset, total in (answer.get("total") or {}).items():
            found[asset] = Decimal(_text(total) or "0")
    except InvalidOperation:
        return None
    return found


def _trade_report(trade: Mapping[str, Any], market: Market) -> TradeReport | None:
    side = {"buy": 1, "sell": -1}.get(_text(trade.get("side")).lower())
    qty = count_of(_text(trade.get("amount")), market.instrument.lot)
    price = count_of(_text(trade.get("price")), market.instrument.tick)
    fee = trade.get("fee") or {}
    cost = minor_of(_text(fee.get("cost")) or "0")
    order_id, trade_id = _text(trade.get("order")), _text(trade.get("id"))
    ts_event = _ns(trade.get("timestamp"))
    if side is None or qty is None or price is None or cost is None:
        return None
    if not trade_id:  # a composite key: the same words are the same execution
        trade_id = f"~{order_id}:{ts_event}:{price}:{qty}"
    return TradeReport(
        symbol=market.instrument.symbol,
        trade_id=trade_id,
        venue_id=order_id,
        side=side,
        price_tick=price,
        qty_lot=qty,
        fee_minor=cost,
        fee_asset=_text(fee.get("currency")) if cost else "",
        liquidity=Liquidity.MAKER if trade.get("takerOrMaker") == "maker" else Liquidity.TAKER,
        ts_event=ts_event,
    )


def _text(value: object) -> str:
    return "" if value is None else str(value)


def _ns(ms: object) -> int:
    return int(ms) * _NS_PER_MS if isinstance(ms, int | float) else 0


def _number(trade_id: str) -> tuple[int, str]:
    return (int(trade_id), "") if trade_id.isdigit() else (0, trade_id)
