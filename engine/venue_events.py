"""What a venue's side tells the engine: the fate of orders, fills, and trouble. Values, no strings
to parse.

Every event of an order has been journalled before it is given out, and is given out once, whichever
of stream, poll, answer or reconciliation was first. `tag` tells whose run the order belongs to: the
one that trades now, or an earlier one whose orders it found.
"""

from enum import IntEnum

import msgspec


class OrderEvent(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """Base: which order, and the venue's time (ns UTC, 0 unknown)."""

    tag: str
    ordinal: int
    symbol: str
    ts_event: int = 0


class Acked(OrderEvent, frozen=True, gc=False, kw_only=True):
    """The venue has the order."""

    venue_id: str


class Rejected(OrderEvent, frozen=True, gc=False, kw_only=True):
    """The venue refused it, by a code that proves it, or it is proven that it never arrived."""

    reason: int  # RejectReason
    code: str = ""  # the venue's


class NotSent(OrderEvent, frozen=True, gc=False, kw_only=True):
    """Not one byte of it left."""

    reason: int  # RejectReason


class Canceled(OrderEvent, frozen=True, gc=False, kw_only=True):
    """It no longer stands in the venue's book."""

    reason: int


class Expired(OrderEvent, frozen=True, gc=False, kw_only=True):
    """The venue ended it: an immediate order's rest, self-trade prevention, a rule of its own."""

    reason: int


class Unknown(OrderEvent, frozen=True, gc=False, kw_only=True):
    """Nobody knows. It counts as exposure until something proves its fate."""

    doubt: int  # journal_layout.Doubt


class Filled(OrderEvent, frozen=True, gc=False, kw_only=True):
    """One execution, once."""

    side: int
    price_tick: int
    qty_lot: int
    fee_minor: int  # 1e-8 of `fee_asset`; negative is a rebate
    fee_asset: str
    liquidity: int
    trade_id: str
    late: bool = False  # the order was over already: the position is right, look why


class Measure(IntEnum):
    """What trouble asks the engine to do."""

    TELL = 0  # the operator should know
    HOLD = 1  # no new orders until `Healed` of the same code
    REDUCE = 2  # the symbol may only reduce until `Healed`
    HALT = 3  # no new exposure until an operator clears it


class Trouble(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """Something is wrong. `code` is stable (`area.condition`); `text` holds no venue text."""

    code: str
    text: str
    measure: Measure
    symbol: str = ""
    orders: tuple[str, ...] = ()  # client ids


class Healed(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """Trouble of this code is over."""

    code: str
    symbol: str = ""


VenueEvent = Acked | Rejected | NotSent | Canceled | Expired | Unknown | Filled | Trouble | Healed


class TradeReport(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """A venue's word on one execution, in whole numbers."""

    symbol: str
    trade_id: str
    venue_id: str  # order id
    client_id: str = ""  # where the source knows it
    side: int
    price_tick: int
    qty_lot: int
    fee_minor: int
    fee_asset: str
    liquidity: int
    ts_event: int


class OrderReport(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """A venue's word on one order, in whole numbers."""

    symbol: str
    client_id: str
    venue_id: str
    status: str  # open | filled | canceled | rejected | expired
    side: int
    qty_lot: int
    price_tick: int
    filled_lot: int
    ts_event: int = 0
    reason: int = 0  # RejectReason where the source says one
    code: str = ""
