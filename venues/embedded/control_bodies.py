"""What the control port takes, as strict structs: an unknown field is refused by its name."""

from typing import Any, Literal

import msgspec


class _Body(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Base of the bodies."""


class Engine(_Body):
    """Faults of the matching engine; what is not named is off."""

    fragments: int = 0
    hide_ms: float = 0.0
    late_fill_lots: int = 0
    late_fill_count: int = 1


class SymbolChange(_Body):
    """A disturbance of one symbol."""

    symbol: str
    status: str = ""
    jump_bps: float = 0.0
    reset_ids: bool = False
    restock: bool = False
    cross_ms: float = 0.0


class Send(_Body):
    """A message on a stream."""

    stream: str
    payload: str = ""
    changes: dict[str, Any] = {}


class Bytes(_Body):
    """Bytes on every market connection."""

    kind: str
    size: int = 0


class FloodOrder(_Body):
    """A flood."""

    symbol: str
    rate: float
    seconds: float


class Speed(_Body):
    """Market seconds a second."""

    speed: float


class Clock(_Body):
    """Offset of the exchange's clock."""

    offset_ms: int


class Connections(_Body):
    """What to do to open sockets."""

    target: Literal["market", "user", "all"] = "all"
    how: Literal["notice", "close", "reset"] = "close"


class Listen(_Body):
    """Whether the exchange's port takes connections."""

    open: bool


class HouseTrade(_Body):
    """A trade of the house at a price or better."""

    symbol: str
    side: Literal["BUY", "SELL"]
    price: str
    lots: int


class Deposit(_Body):
    """Money from outside."""

    account: str
    asset: str
    amount: str
