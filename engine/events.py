"""The words the engine speaks: actions, reasons, intents, verdicts, orders and fills."""

import math
from enum import IntEnum, IntFlag

import msgspec


class Action(IntEnum):
    """What a signal advises. Our class order everywhere."""

    SELL = 0
    HOLD = 1
    BUY = 2


class HoldReason(IntEnum):
    """Why a signal is HOLD. Values are part of the audit format: only append."""

    NONE = 0  # not a HOLD
    MODEL_SAYS_HOLD = 1
    BELOW_THRESHOLD = 2
    NOT_WARM = 3  # a feature has not seen enough rows yet
    FEATURE_ABSENT = 4  # the data set lacks an input of a feature
    FEATURE_NAN = 5  # a warm feature is not finite
    STALE_DATA = 6  # the touch is older than max_data_age
    MARKET_CROSSED = 7  # no trusted touch
    MODEL_MISSING = 8
    MODEL_REFUSED = 9  # hash, contract, spec, kernel identity or golden rows differ
    RUNTIME_MISSING = 10  # onnxruntime cannot be imported
    MODEL_NAN = 11  # the model's output is not finite or no probability
    MODEL_FAILED = 12  # the runtime raised
    MODEL_LATE = 13  # its answer is older than max_signal_age
    GAP = 14  # inside a known gap of the feed
    HALTED = 15  # the kill switch is latched
    MODEL_SUPERSEDED = 16  # a newer request took its place before the model's thread came to it
    MODEL_TIMED_OUT = 17  # the model did not answer within its deadline
    MODEL_CLOSED = 18  # the model's thread was ended before it answered
    SESSION_CLOSED = 19  # outside the regular hours of the instrument's exchange
    SESSION_UNKNOWN = 20  # beyond the table of sessions: `make sessions` writes a longer one
    VENUE_HALTED = 21  # the venue does not trade the instrument now
    WINDOW_SHORT = 22  # too few valid rows in a row for the model's window; `aux` says how many
    MEMBERS_MISSING = 23  # fewer members of a fused model than it needs have advised of late
    MEMBERS_DISAGREE = 24  # members advise opposite things, or the stacking model what none advises
    MODEL_STRUCK_OUT = 25  # its answers were wrong too often in this run: it is not asked any more


class AnswerStatus(IntEnum):
    """How a request to a model on a thread ended (slot i4 of SIGNAL rows): only append."""

    RESULT = 0
    SUPERSEDED = 1
    TIMED_OUT = 2
    FAILED = 3
    CLOSED = 4


class OrderType(IntEnum):
    """How an order may fill."""

    MARKET = 0  # immediate or cancel, protected by the price collar
    LIMIT_GTC = 1
    LIMIT_IOC = 2
    POST_ONLY = 3


class OrderState(IntEnum):
    """The life of an order; the allowed moves stand in engine/orders.py."""

    INTENT = 0
    APPROVED = 1
    SENT = 2
    ACKED = 3
    PARTIAL = 4
    FILLED = 5
    CANCELED = 6
    REJECTED = 7
    EXPIRED = 8
    UNKNOWN = 9
    PENDING_CANCEL = 10


class Purpose(IntEnum):
    """Why an order exists. Everything but ENTRY may only reduce."""

    ENTRY = 0
    EXIT = 1  # a strategy closes what it holds
    STOP_LOSS = 2
    TAKE_PROFIT = 3
    FLATTEN = 4  # the operator


class Block(IntFlag):
    """One bit for each limit an order can break; the gate returns them all."""

    NONE = 0
    KILLED = 1 << 0
    ORDER_NOTIONAL = 1 << 1
    POSITION = 1 << 2
    MODEL_EXPOSURE = 1 << 3
    GROSS_EXPOSURE = 1 << 4
    PRICE_COLLAR = 1 << 5
    ORDER_RATE = 1 << 6
    DUPLICATE = 1 << 7
    MARKET_STALE = 1 << 8
    MARKET_CROSSED = 1 << 9
    SIGNAL_AGE = 1 << 10
    DAILY_LOSS = 1 << 11
    DRAWDOWN = 1 << 12
    TICK_SIZE = 1 << 13
    LOT_SIZE = 1 << 14
    MIN_NOTIONAL = 1 << 15
    OPEN_ORDERS = 1 << 16
    OPPOSITE_INTENT = 1 << 17
    SHORT_NOT_ALLOWED = 1 << 18
    BALANCE = 1 << 19
    NUMBER = 1 << 20  # not a positive finite number that fits 63 bits
    REDUCE_ONLY = 1 << 21  # a protective order that would not reduce
    MODEL_STATUS = 1 << 22  # candidate, shadow or archived models cause no orders
    SESSION_CLOSED = 1 << 23  # it would open outside the regular hours of the exchange
    SESSION_UNKNOWN = 1 << 24  # beyond the table of sessions: `make sessions` writes a longer one
    MARKET_HALTED = 1 << 25  # the venue does not trade the instrument now
    EQUITY_UNKNOWN = 1 << 26  # something is held that has no price yet: losses cannot be counted


class RejectReason(IntEnum):
    """Why a venue refused or removed an order."""

    NONE = 0
    POST_ONLY_WOULD_CROSS = 1
    NO_LIQUIDITY = 2  # nothing to match an immediate order against
    PRICE_TICK = 3
    LOT_SIZE = 4
    MIN_NOTIONAL = 5
    BALANCE = 6
    MARKET_HALTED = 7
    ENGINE_LATE = 8
    BY_REQUEST = 9  # cancelled because we asked
    RUN_ENDED = 10
    COLLAR = 11  # the rest of a market order would have filled outside its collar
    OPEN_ORDERS = 12
    VENUE = 13  # the venue refused it by a code of its own
    RATE_LIMIT = 14  # the venue counts too many requests or orders
    CLOCK = 15  # the venue's clock and ours are too far apart
    ACCESS = 16  # key, signature or permission
    NOT_REACHED = 17  # no connection: not one byte of it left
    JOURNAL = 18  # its intent could not be kept
    PAUSED = 19  # the venue asked us to wait, or orders are held
    NEVER_ARRIVED = 20  # the venue does not know it, and can no longer accept it
    WIRE = 21  # the request differed from what the gate approved
    LIBRARY = 22  # the client library would not make a request of it
    ENDED_BY_VENUE = 23  # self-trade prevention, a price rule, maintenance


class Command(IntEnum):
    """What a CONTROL row asks for (its slot i0)."""

    KILL = 1  # latch the kill switch: no order leaves, what is open is cancelled
    RESUME = 2  # clear it
    DAY_LOSS = 3  # the day `reference` (since the epoch) began `argument` minor units above cost
    BELOW_PEAK = 4  # the peak of equity lies `argument` minor units above cost
    DRAWDOWN = 5  # latch the drawdown limit: no new exposure
    SWAP = 6  # the model `argument` gives way to what line `reference` of the control log names
    DEMOTE = 7  # the model `argument` causes no new exposure any more: `reference` is a WatchCheck


class WatchCheck(IntEnum):
    """Why a model was demoted while it ran. Part of the tape format: only append."""

    FEATURES = 1  # its features have drifted from its training rows
    OUTPUTS = 2  # its answers have shifted
    DISSIMILAR = 3  # rows lie outside of what it was trained on
    CALIBRATION = 4  # it is right more or less often than it says
    STRIKES = 5  # answers that were no number, failed or came too late
    CONSTANT = 6  # it answers the same whatever it sees
    LATENCY = 7
    AGE = 8


class Liquidity(IntEnum):
    """Which side of a fill was resting."""

    TAKER = 0
    MAKER = 1


class Signal(msgspec.Struct, frozen=True, gc=False):
    """A model's advice on one instrument. Advice only: nothing here can reach a venue."""

    signal_id: int
    ts: int  # kernel time at which the model was asked, ns
    row: int
    instrument: int  # index on the tape
    model: int  # index in the run
    action: int  # Action
    reason: int  # HoldReason
    p_sell: float
    p_hold: float
    p_buy: float
    value: float = math.nan  # what the model said: a return, a size, an action; NaN for classes
    position: float = math.nan  # that it wants, -1..1; NaN where it says nothing of size

    @property
    def close(self) -> bool:
        """Whether it wants to hold nothing."""
        return self.position == 0.0

    @property
    def confidence(self) -> float:
        """Probability of the advised action, 0..1."""
        return (self.p_sell, self.p_hold, self.p_buy)[self.action]


class Place(msgspec.Struct, frozen=True, gc=False):
    """A strategy's wish to trade; sizes and prices in lots and ticks of the instrument."""

    instrument: int
    side: int  # +1 buy, -1 sell
    qty_lot: int
    order_type: int = 0  # OrderType
    price_tick: int = 0  # 0 for MARKET
    purpose: int = 0  # Purpose
    signal_id: int = -1
    signal_ts: int = 0  # kernel time of the signal, ns
    owners: tuple[tuple[int, int], ...] = ()  # (model index, weight); () without a model
    stop_loss_tick: int = 0  # protective trigger prices laid on the entry's fill; 0 for none
    take_profit_tick: int = 0
    reason: str = ""


class Cancel(msgspec.Struct, frozen=True, gc=False):
    """A strategy's wish to remove one of its resting orders."""

    order_id: int
    reason: str = ""


class Replace(msgspec.Struct, frozen=True, gc=False):
    """A strategy's wish to move a resting order: cancel and place, checked like any order."""

    order_id: int
    place: Place
    reason: str = ""


Intent = Place | Cancel | Replace


class Fill(msgspec.Struct, frozen=True, gc=False):
    """One execution, as the portfolio books it."""

    fill_id: int
    ts: int
    order_id: int
    instrument: int
    side: int
    qty_lot: int
    price_tick: int
    liquidity: int  # Liquidity
