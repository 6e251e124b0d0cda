"""Binance spot's user stream: execution reports as reports in whole numbers."""

from collections.abc import Mapping
from typing import NamedTuple

import msgspec

from engine.account_state import Market
from engine.events import Liquidity, RejectReason
from engine.venue_events import OrderReport, TradeReport
from engine.wire_order import count_of, minor_of

_NS_PER_MS = 1_000_000
_STATUS = {
    "NEW": "open",
    "PENDING_NEW": "open",
    "PARTIALLY_FILLED": "open",
    "FILLED": "filled",
    "CANCELED": "canceled",
    "REJECTED": "rejected",
    "EXPIRED": "expired",
    "EXPIRED_IN_MATCH": "expired",
}


class _Execution(msgspec.Struct):
    """The fields of an executionReport that are needed."""

    s: str  # symbol
    c: str  # client id
    S: str  # side
    q: str  # quantity
    p: str  # price
    x: str  # what happened
    X: str  # status
    i: int  # order id
    l: str  # last quantity  # noqa: E741
    L: str  # last price
    z: str  # cumulative quantity
    T: int  # transaction time, ms
    t: int  # trade id, -1 for none
    C: str = ""  # the order's own client id, where `c` is a cancel's
    n: str | None = None  # fee
    N: str | None = None  # its asset
    m: bool = False  # maker


class _Event(msgspec.Struct):
    """Any event; only its name."""

    e: str = ""


class _Frame(msgspec.Struct):
    """A frame of the WebSocket API: an event or an answer."""

    event: msgspec.Raw = msgspec.Raw(b"")
    id: int | str | None = None
    status: int = 0


class UserMessage(NamedTuple):
    """What a frame holds."""

    kind: str  # execution | answer | ended | other | bad
    order: OrderReport | None = None
    trade: TradeReport | None = None
    request: int | str | None = None
    status: int = 0


_FRAME = msgspec.json.Decoder(_Frame)
_EVENT = msgspec.json.Decoder(_Event)
_EXECUTION = msgspec.json.Decoder(_Execution)
_ENDED = frozenset({"eventStreamTerminated", "serverShutdown"})
OTHER = UserMessage("other")
BAD = UserMessage("bad")


def decode_user(frame: bytes | str, markets: Mapping[str, Market]) -> UserMessage:
    """Read one frame of the user stream.

    Args:
        frame: as it came.
        markets: by canonical symbol; executions of others are "other".
    Returns:
        "bad" for what cannot be read: the follower must then ask the venue, an execution may be in
        it.
    """
    try:
        outer = _FRAME.decode(frame)
        if not outer.event:
            return UserMessage("answer", request=outer.id, status=outer.status)
        name = _EVENT.decode(outer.event).e
        if name in _ENDED:
            return UserMessage("ended")
        if name != "executionReport":
            return OTHER
        execution = _EXECUTION.decode(outer.event)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return BAD
    market = markets.get(execution.s)
    return OTHER if market is None else _execution(execution, market)


def _execution(message: _Execution, market: Market) -> UserMessage:
    """Return the order's state, and the fill if it is one."""
    lot, tick = market.instrument.lot, market.instrument.tick
    client = message.C if message.x in ("CANCELED", "REPLACED") and message.C else message.c
    qty, filled = count_of(message.q, lot), count_of(message.z, lot)
    price = count_of(message.p, tick)
    side = {"BUY": 1, "SELL": -1}.get(message.S)
    status = _STATUS.get(message.X)
    if None in (qty, filled, price, side, status):
        return BAD
    assert qty is not None and filled is not None and price is not None
    assert side is not None and status is not None
    reason = RejectReason.VENUE if status == "rejected" else RejectReason.NONE
    order = OrderReport(
        symbol=message.s,
        client_id=client,
        venue_id=str(message.i),
        status=status,
        side=side,
        qty_lot=qty,
        price_tick=price,
        filled_lot=filled,
        ts_event=message.T * _NS_PER_MS,
        reason=int(reason),
    )
    if message.x != "TRADE":
        return UserMessage("execution", order)
    last, at = count_of(message.l, lot), count_of(message.L, tick)
    fee = minor_of(message.n or "0")
    if last is None or at is None or fee is None or message.t < 0:
        return BAD
    trade = TradeReport(
        symbol=message.s,
        trade_id=str(message.t),
        venue_id=str(message.i),
        client_id=client,
        side=side,
        price_tick=at,
        qty_lot=last,
        fee_minor=fee,
        fee_asset=(message.N or "") if fee else "",
        liquidity=Liquidity.MAKER if message.m else Liquidity.TAKER,
        ts_event=message.T * _NS_PER_MS,
    )
    return UserMessage("execution", order, trade)


def subscription(key: str, stamp_ms: int) -> str:
    """Return the text that a subscription to the user stream signs."""
    return f"apiKey={key}&timestamp={stamp_ms}"
