"""What can be said of a running session at one moment, as plain numbers and words."""

import msgspec

from engine.feed_health import FeedState


class FeedLine(msgspec.Struct):
    """The feed as a whole; `messages_per_s` is None until there is a span to count over."""

    connected: bool
    last_end: str  # why the last connection ended, "" before the first end
    messages: int
    messages_per_s: float | None
    gaps: int
    reconnects: int
    decode_errors: int
    dropped: int


class MarketLine(msgspec.Struct):
    """One instrument; prices are NaN before they are known, `age_s` None before any message."""

    symbol: str
    state: FeedState
    halted: bool
    price: float
    bid: float
    ask: float
    spread_bps: float
    age_s: float | None
    gaps: int
    places: int  # decimals of the price


class ModelLine(msgspec.Struct):
    """One model and the last signal that a strategy heard of it (action "" before the first)."""

    name: str
    version: str
    status: str
    may_trade: bool
    decisions: int
    action: str = ""
    confidence: float = float("nan")
    symbol: str = ""
    age_s: float = 0.0
    threaded: bool = False


class Waiting(msgspec.Struct):
    """Instruments on which a model or rule gives no advice yet, with the reason."""

    owner: str
    reason: str
    symbols: list[str]
    warming: bool


class PositionLine(msgspec.Struct):
    """One owner's book in one instrument; `realized` is before fees, as in the summary."""

    owner: str
    symbol: str
    size: float
    size_places: int
    average: float
    price_places: int
    realized: float
    unrealized: float
    fees: float


class Money(msgspec.Struct):
    """The account in its quote currency; `realized` is after fees; drawdowns are shares."""

    currency: str
    realized: float
    unrealized: float
    fees: float
    equity: float
    free: float
    drawdown: float
    max_drawdown: float
    day_loss: float


class ExposureLine(msgspec.Struct):
    """What an owner has bound, at cost, against what it may.

    Attributes:
        reserved: by orders that are resting, in flight or of unknown state; `by_state` tells these
            three apart where the gate does.
    """

    name: str
    limit: float
    filled: float
    reserved: float
    by_state: dict[str, float] = {}

    @property
    def used(self) -> float:
        """Everything that counts.

        >>> ExposureLine("a", limit=100.0, filled=1.0, reserved=2.0).used
        3.0
        """
        return self.filled + self.reserved


class StageLine(msgspec.Struct):
    """How long a stage takes, microseconds."""

    name: str
    p50: float
    p99: float


class OrderLine(msgspec.Struct):
    """One open order."""

    order_id: int
    side: int
    symbol: str
    left: float
    size_places: int
    price: float  # NaN for market orders
    price_places: int
    state: str


class RiskLine(msgspec.Struct):
    """What the desk counted; `blocked` by reason, the most frequent first."""

    intents: int
    approved: int
    orders: int
    fills: int
    rejects: int
    blocked: list[tuple[str, int]]

    @property
    def refused(self) -> int:
        """Intents that became no order."""
        return self.intents - self.approved


class LiveView(msgspec.Struct):
    """Everything that is shown at one moment. Lists hold KEPT_LINES at most, `counts` all."""

    title: str
    now_ns: int  # market time, 0 before the first row
    uptime_s: float
    latches: list[str]
    feed: FeedLine
    markets: list[MarketLine]
    models: list[ModelLine]
    waiting: list[Waiting]
    money: Money
    positions: list[PositionLine]
    exposures: list[ExposureLine]
    stages: list[StageLine]
    orders: list[OrderLine]
    risk: RiskLine
    counts: dict[str, int]
