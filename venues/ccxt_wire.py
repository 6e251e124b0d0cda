"""Reads an order back from the request that a client library made of it, before it leaves. Pure."""

from collections.abc import Iterator
from urllib.parse import parse_qsl, urlsplit

import msgspec

from engine.account_state import Market
from engine.client_ids import client_id, parse_client_id
from engine.errors import UsageError, VenueError
from engine.events import OrderType
from engine.wire_order import WireOrder, count_of

_BINANCE_TYPES = {
    ("LIMIT", "GTC"): (OrderType.LIMIT_GTC,),
    ("LIMIT", "IOC"): (OrderType.LIMIT_IOC, OrderType.MARKET),
    ("LIMIT_MAKER", ""): (OrderType.POST_ONLY,),
}


class WireDiffers(VenueError):
    """A request is not what the gate approved; it did not leave."""


def check_request(
    exchange: str, order: WireOrder, market: Market, market_id: str, request: tuple[str, str]
) -> None:
    """Let a request pass only if it says what was approved, field for field.

    Args:
        exchange: ccxt's id.
        order: what was journalled.
        market: its instrument.
        market_id: the exchange's name of it.
        request: url and body, as they will leave.
    Raises:
        WireDiffers: it does not, with the names of the fields.
    """
    fields = list(_leaves(*request))
    if exchange == "binance":
        wrong = _binance_differences(order, market, market_id, fields)
    else:
        wrong = _differences(order, market, fields)
    if wrong:
        raise WireDiffers(f"the request differs from what was approved in: {', '.join(wrong)}")


def _binance_differences(
    order: WireOrder, market: Market, market_id: str, fields: list[tuple[str, str]]
) -> list[str]:
    """Rebuild the order from the exchange's own fields and compare the hashes."""
    found = dict(fields)
    wrong = [] if len(found) == len(fields) else ["a field stands twice"]
    known = {
        "symbol", "side", "type", "timeInForce", "quantity", "price", "newClientOrderId",
        "newOrderRespType", "timestamp", "recvWindow", "signature",
    }  # fmt: skip
    wrong += sorted(set(found) - known)
    if found.get("symbol") != market_id:
        wrong.append("symbol")
    try:
        tag, ordinal = parse_client_id(found.get("newClientOrderId", ""))
    except UsageError:
        return [*wrong, "newClientOrderId"]
    kinds = _BINANCE_TYPES.get((found.get("type", ""), found.get("timeInForce", "")), ())
    if order.order_type not in kinds:
        wrong.append("type")
    quantity = count_of(found.get("quantity", ""), market.instrument.lot)
    price = count_of(found.get("price", ""), market.instrument.tick)
    side = {"BUY": 1, "SELL": -1}.get(found.get("side", ""))
    if None in (quantity, price, side):
        return [*wrong, "quantity, price or side"]
    assert quantity is not None and price is not None and side is not None
    rebuilt = WireOrder(tag, ordinal, order.symbol, side, order.order_type, quantity, price)
    if rebuilt.hash_words() != order.hash_words():
        wrong += [name for name, a, b in zip(order._fields, order, rebuilt) if a != b]
    return wrong


def _differences(order: WireOrder, market: Market, fields: list[tuple[str, str]]) -> list[str]:
    """Look for the values of an order among the fields of any exchange's request."""
    texts = {value for _, value in fields}
    lots = {count_of(text, market.instrument.lot) for text in texts}
    ticks = {count_of(text, market.instrument.tick) for text in texts}
    sides = {text.lower() for text in texts} & {"buy", "sell", "bid", "ask"}
    expected = {"buy", "bid"} if order.side > 0 else {"sell", "ask"}
    checks = {
        "client id": client_id(order.tag, order.ordinal) in texts,
        "quantity": order.qty_lot in lots,
        "price": order.wire_tick in ticks,
        "side": bool(sides) and sides <= expected,
    }
    return [name for name, right in checks.items() if not right]


def _leaves(url: str, body: str) -> Iterator[tuple[str, str]]:
    """Yield every (name, value) of a request's query and body, form or JSON."""
    yield from parse_qsl(urlsplit(url).query, keep_blank_values=True)
    if body[:1] in ("{", "["):
        yield from _json_leaves("", msgspec.json.decode(body))
    elif body:
        yield from parse_qsl(body, keep_blank_values=True)


def _json_leaves(name: str, value: object) -> Iterator[tuple[str, str]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _json_leaves(str(key), inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _json_leaves(name, inner)
    else:
        yield name, str(value)
