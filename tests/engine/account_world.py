"""An account in a folder for tests: a market, orders without a gate, a clock that is counted."""

from pathlib import Path

from engine.account import Account
from engine.account_marks import market_of
from engine.account_state import AccountState, Market
from engine.instruments import Instrument
from engine.venue_events import TradeReport
from engine.wire_order import WireOrder

BTC = Instrument(
    venue="embedded", symbol="BTCUSDT", base="BTC", quote="USDT", tick="0.01", lot="0.00001"
)
ETH = Instrument(
    venue="embedded", symbol="ETHUSDT", base="ETH", quote="USDT", tick="0.01", lot="0.0001"
)
START_NS = 1_790_000_000_000_000_000


class World:
    """An account whose events are kept in a list."""

    def __init__(self, folder: Path, boot: str = "boot-1", **settings) -> None:
        self.events: list = []
        self.ts = START_NS
        self.account = Account(folder, self.events.append, self.now, boot=boot, **settings)
        self.tag = self.account.start_run(7)
        self.market: Market = market_of(self.account, BTC)

    def now(self) -> int:
        self.ts += 1_000_000
        return self.ts

    def intent(self, ordinal: int, side: int = 1, qty: int = 100, tick: int = 6_000_000) -> str:
        order = WireOrder(self.tag, ordinal, "BTCUSDT", side, 1, qty, tick)
        self.account.intent(order, self.market, (0, tick, tick - 10, tick + 10, ordinal, 0))
        return next(reversed(self.account.state.orders))

    def sent(self, ordinal: int, **order) -> str:
        client = self.intent(ordinal, **order)
        self.account.sent(client, (ordinal, 1))
        return client

    def trade(self, client: str, trade_id: str, qty: int, **other) -> TradeReport:
        order = self.account.state.orders.get(client)
        fields = {
            "symbol": "BTCUSDT",
            "trade_id": trade_id,
            "venue_id": order.venue_id if order else "",
            "client_id": client,
            "side": order.side if order else 1,
            "price_tick": 6_000_000,
            "qty_lot": qty,
            "fee_minor": 11,
            "fee_asset": "BNB",
            "liquidity": 0,
            "ts_event": START_NS,
        }
        return TradeReport(**{**fields, **other})


def picture(state: AccountState) -> dict:
    """Return all that a fold holds, for comparisons."""
    return {
        "orders": {name: order.words() for name, order in state.orders.items()},
        "live": sorted(state.live),
        "fills": state.fills,
        "positions": state.positions,
        "money": state.money,
        "latches": state.latches,
        "counters": state.counters,
        "tags": state.tags,
        "names": state.names,
        "by_venue_id": state.by_venue_id,
        "expected": {asset: state.expected(asset) for asset in state.baseline},
    }
