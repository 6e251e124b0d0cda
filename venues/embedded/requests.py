"""Read a new order's parameters against a symbol's filters; pure."""

import re
from collections.abc import Mapping
from typing import Any

from venues.embedded.amounts import parse, text
from venues.embedded.market import SymbolSpec
from venues.embedded.orders import Request
from venues.embedded.refusals import Refused, filter_failure, illegal, missing
from venues.embedded.symbols import Symbol

Params = Mapping[str, str]
ORDER_TYPES = ("LIMIT", "LIMIT_MAKER", "MARKET")
TIMES_IN_FORCE = ("GTC", "IOC", "FOK")
STP_MODES = ("NONE", "EXPIRE_TAKER", "EXPIRE_MAKER", "EXPIRE_BOTH")
DEFAULT_STP = "EXPIRE_MAKER"
MAX_PRICE_TICKS = 100_000_000
MAX_QTY_LOTS = 900_000_000
MAX_NOTIONAL = "9000000"
PRICE_BAND = 5  # PERCENT_PRICE_BY_SIDE: from a fifth of the last price to five times it
MAX_ALGO_ORDERS = 5
_CLIENT_ID = r"^[a-zA-Z0-9-_]{1,36}$"


def read_order(symbol: Symbol, params: Params, made_id: str) -> Request:
    """Return the checked request.

    Args:
        symbol: what is to be traded.
        params: as sent.
        made_id: client id where the request gives none.
    Raises:
        Refused: a parameter missing, malformed or against a filter.
    """
    sides = {"BUY": 1, "SELL": -1}
    side, kind = wanted(params, "side"), wanted(params, "type")
    if side not in sides:
        raise Refused(-1117, "Invalid side.")
    if kind not in ORDER_TYPES:
        raise Refused(-1116, "Invalid orderType.")
    request = Request(side=sides[side], kind=kind, client_id=client_id(params, made_id))
    response = params.get("newOrderRespType", "ACK" if kind == "LIMIT_MAKER" else "FULL")
    if response not in ("ACK", "RESULT", "FULL"):
        raise illegal("newOrderRespType", "ACK, RESULT, FULL")
    request.response = response
    request.stp = params.get("selfTradePreventionMode", DEFAULT_STP)
    if request.stp not in STP_MODES:
        raise illegal("selfTradePreventionMode", ", ".join(STP_MODES))
    if kind == "MARKET":
        _read_market(symbol, params, request)
    else:
        _read_limit(symbol, params, request)
    return request


def wanted(params: Params, name: str) -> str:
    """Return a parameter that must be there.

    Raises:
        Refused: -1102.
    """
    value = params.get(name)
    if not value:
        raise missing(name)
    return value


def client_id(params: Params, made_id: str, name: str = "newClientOrderId") -> str:
    """Return the request's client id, or the one made for it."""
    given = params.get(name)
    if given is None:
        return made_id
    if not re.fullmatch(_CLIENT_ID[1:-1], given, re.ASCII):
        raise illegal(name, _CLIENT_ID)
    return given


def _read_limit(symbol: Symbol, params: Params, request: Request) -> None:
    """Read LIMIT and LIMIT_MAKER."""
    spec = symbol.spec
    if request.kind == "LIMIT":
        request.tif = wanted(params, "timeInForce")
        if request.tif not in TIMES_IN_FORCE:
            raise Refused(-1115, "Invalid timeInForce.")
    elif "timeInForce" in params:
        raise Refused(-1106, "Parameter 'timeInForce' sent when not required.")
    quantity, price = wanted(params, "quantity"), wanted(params, "price")
    request.qty_lot = _lots(spec, quantity)
    minor = parse("price", price)
    request.price_tick, rest = divmod(minor, spec.tick_minor)
    if rest or not 0 < request.price_tick <= MAX_PRICE_TICKS:
        raise filter_failure("PRICE_FILTER")
    last = symbol.last_price()
    if last and not last <= request.price_tick * PRICE_BAND <= last * PRICE_BAND * PRICE_BAND:
        raise filter_failure("PERCENT_PRICE_BY_SIDE")
    _check_notional(symbol, symbol.value(request.price_tick, request.qty_lot))


def _read_market(symbol: Symbol, params: Params, request: Request) -> None:
    """Read MARKET, by quantity or by an amount of quote currency."""
    for name in ("price", "timeInForce"):
        if name in params:
            raise Refused(-1106, f"Parameter '{name}' sent when not required.")
    if "quoteOrderQty" in params:
        if "quantity" in params:
            raise Refused(-1128, "Combination of optional parameters invalid.")
        request.quote_qty = parse("quoteOrderQty", params["quoteOrderQty"])
        _check_notional(symbol, request.quote_qty)
        return
    request.qty_lot = _lots(symbol.spec, wanted(params, "quantity"))
    _check_notional(symbol, symbol.value(symbol.last_price(), request.qty_lot))


def _lots(spec: SymbolSpec, quantity: str) -> int:
    """Return the quantity in lots."""
    lots, rest = divmod(parse("quantity", quantity), spec.lot_minor)
    if rest or not 0 < lots <= MAX_QTY_LOTS:
        raise filter_failure("LOT_SIZE")
    return lots


def _check_notional(symbol: Symbol, value: int) -> None:
    """Refuse an order that is worth too little or too much."""
    if not symbol.spec.min_notional_minor <= value <= parse("maxNotional", MAX_NOTIONAL):
        raise filter_failure("NOTIONAL")


def filters(spec: SymbolSpec, max_open_orders: int) -> list[dict[str, Any]]:
    """Return a symbol's filters as exchangeInfo lists them."""
    lot = {
        "minQty": text(spec.lot_minor),
        "maxQty": text(spec.lot_minor * MAX_QTY_LOTS),
        "stepSize": text(spec.lot_minor),
    }
    return [
        {
            "filterType": "PRICE_FILTER",
            "minPrice": text(spec.tick_minor),
            "maxPrice": text(spec.tick_minor * MAX_PRICE_TICKS),
            "tickSize": text(spec.tick_minor),
        },
        {"filterType": "LOT_SIZE", **lot},
        {"filterType": "MARKET_LOT_SIZE", **lot, "minQty": text(0), "stepSize": text(0)},
        {
            "filterType": "PERCENT_PRICE_BY_SIDE",
            "bidMultiplierUp": str(PRICE_BAND),
            "bidMultiplierDown": str(1 / PRICE_BAND),
            "askMultiplierUp": str(PRICE_BAND),
            "askMultiplierDown": str(1 / PRICE_BAND),
            "avgPriceMins": 0,
        },
        {
            "filterType": "NOTIONAL",
            "minNotional": text(spec.min_notional_minor),
            "applyMinToMarket": True,
            "maxNotional": text(parse("maxNotional", MAX_NOTIONAL)),
            "applyMaxToMarket": True,
            "avgPriceMins": 0,
        },
        {"filterType": "MAX_NUM_ORDERS", "maxNumOrders": max_open_orders},
        {"filterType": "MAX_NUM_ALGO_ORDERS", "maxNumAlgoOrders": MAX_ALGO_ORDERS},
    ]
