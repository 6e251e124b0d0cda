"""Orders as the exchange keeps them, their fills, and the reports of their life."""

from typing import NamedTuple

OPEN = ("NEW", "PARTIALLY_FILLED")
NO_TRADE = -1


class Order:
    """One account's order. Prices in ticks, sizes in lots, money in minor units (1e-8)."""

    __slots__ = (
        "account", "client_id", "created_ms", "filled_lot", "kind", "locked", "order_id",
        "placed_ns", "prevented", "price_tick", "qty_lot", "quote_filled", "quote_qty", "side",
        "status", "stp", "symbol", "tif", "updated_ms",
    )  # fmt: skip

    def __init__(self, order_id: int, account: int, symbol: str, request: "Request") -> None:
        self.order_id = order_id
        self.account = account
        self.symbol = symbol
        self.client_id = request.client_id
        self.side = request.side
        self.kind = request.kind
        self.tif = request.tif
        self.price_tick = request.price_tick
        self.qty_lot = request.qty_lot
        self.quote_qty = request.quote_qty
        self.stp = request.stp
        self.filled_lot = 0
        self.quote_filled = 0
        self.locked = 0  # minor units still locked for it, of the asset that it gives
        self.status = "NEW"
        self.prevented = False  # it stopped because it met an order of its own account
        self.created_ms = 0
        self.updated_ms = 0
        self.placed_ns = 0  # when the engine took it

    @property
    def left_lot(self) -> int:
        """Lots not filled yet."""
        return self.qty_lot - self.filled_lot

    @property
    def is_open(self) -> bool:
        """Whether it may still trade."""
        return self.status in OPEN


class Request:
    """A checked request for a new order; see filters.py for how it is read."""

    __slots__ = (
        "client_id", "kind", "price_tick", "qty_lot", "quote_qty", "response", "side", "stp", "tif",
    )  # fmt: skip

    def __init__(self, *, side: int, kind: str, client_id: str) -> None:
        self.side = side
        self.kind = kind  # LIMIT, MARKET, LIMIT_MAKER
        self.client_id = client_id
        self.tif = "GTC"
        self.price_tick = 0  # 0: no limit
        self.qty_lot = 0
        self.quote_qty = 0  # minor units of quote currency to spend or get, market orders only
        self.stp = "EXPIRE_MAKER"
        self.response = "ACK"


class Fill:
    """One trade of an order, with what it cost."""

    __slots__ = (
        "fee", "fee_asset", "lots", "maker", "order", "price_tick", "quote", "trade_id", "ts_ms",
    )  # fmt: skip

    def __init__(self, order: Order, price_tick: int, lots: int, quote: int) -> None:
        self.order = order
        self.price_tick = price_tick
        self.lots = lots
        self.quote = quote  # minor units
        self.maker = False
        self.fee = 0
        self.fee_asset = ""
        self.trade_id = NO_TRADE
        self.ts_ms = 0


class Report(NamedTuple):
    """One step of an order's life, as executionReport tells it; valid when it is given out."""

    order: Order
    kind: str  # executionReport's `x`: NEW, TRADE, CANCELED, EXPIRED
    fill: Fill | None = None
    cancel_id: str = ""  # client id of the cancel
