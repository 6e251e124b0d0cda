"""Whatever accounts and house do: money is conserved, no book is crossed, first comes first."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from tests.venues.embedded.world import World
from venues.embedded.market import SymbolSpec
from venues.embedded.refusals import Refused

TICKS = st.integers(95, 105)
LOTS = st.integers(1, 50)
SIDES = st.sampled_from([1, -1])
# a grid whose products are finer than 1e-8, so that every value is rounded
SPEC = SymbolSpec(
    symbol="XYZUSDT", base="XYZ", quote="USDT", tick="0.00003", lot="0.0007", min_notional="0"
)


class Trading(RuleBasedStateMachine):
    """Random orders, cancels, house quotes and house trades."""

    def __init__(self) -> None:
        super().__init__()
        fee_asset = {"fee_asset": "BNB", "fee_asset_price": "0.003"}
        self.world = World(SPEC, **fee_asset)
        self.exchange, self.symbol = self.world.exchange, self.world.symbol
        self.assets = ("XYZ", "USDT", "BNB")
        self.before = {asset: self.exchange.ledger.total(asset) for asset in self.assets}
        self.seen: dict[int, int] = {}

    @rule(
        who=st.booleans(), side=SIDES, tick=TICKS, lots=LOTS,
        tif=st.sampled_from(["GTC", "GTC", "GTC", "IOC", "FOK"]),
        kind=st.sampled_from(["LIMIT", "LIMIT", "LIMIT_MAKER", "MARKET"]),
        stp=st.sampled_from(["NONE", "EXPIRE_MAKER", "EXPIRE_TAKER", "EXPIRE_BOTH"]),
        money=st.integers(0, 200_000),
    )  # fmt: skip
    def place(self, who, side, tick, lots, tif, kind, stp, money) -> None:
        account = self.world.a if who else self.world.b
        fields = {"tif": tif if kind == "LIMIT" else "GTC", "stp": stp}
        if kind == "MARKET":
            tick = 0
            if money:
                fields["quote_qty"], lots = money, 0
        queue = self.ahead(side, tick) if kind != "MARKET" else 0
        try:
            order, fills = self.world.place(account, side, tick, lots, kind, **fields)
        except Refused as refused:
            assert refused.code in (-2010, -1013)
            return
        assert sum(fill.lots for fill in fills) == order.filled_lot <= order.qty_lot
        if kind == "LIMIT_MAKER":
            assert not fills
        if tif == "FOK" and kind == "LIMIT":
            assert order.status in ("FILLED", "EXPIRED")
            assert order.filled_lot in (0, lots)
        if kind == "MARKET" or (kind == "LIMIT" and tif != "GTC"):
            assert not order.is_open
        if order.is_open:  # everyone who was there stands before it
            level = self.symbol.book.sides[side].levels[tick]
            assert level.queue[-1].order is order
            assert sum(place.left for place in level.queue) - order.left_lot == queue
        limits = [fill.price_tick for fill in fills]
        assert limits == sorted(limits, reverse=side < 0)  # better prices first
        if tick:
            assert all(side * (tick - one) >= 0 for one in limits)

    @rule(pick=st.integers(0, 1 << 30))
    def cancel(self, pick) -> None:
        opened = list(self.exchange.open_orders.values())
        if opened:
            order = opened[pick % len(opened)]
            self.exchange.cancel(self.exchange.ledger.accounts[order.account], order, "c")
            assert order.status == "CANCELED"

    @rule(bid=TICKS, spread=st.integers(1, 3), lots=st.lists(LOTS, min_size=4, max_size=4))
    def quote(self, bid, spread, lots) -> None:
        wanted = [(1, bid, lots[0]), (-1, bid + spread, lots[1]), (1, bid - 2, lots[2])]
        keep = {(side, tick) for side, tick, _ in wanted}
        gone = [
            (side, tick)
            for side in (1, -1)
            for tick in self.symbol.book.sides[side].ticks()
            if (side, tick) not in keep
        ]
        self.exchange.house_levels(self.symbol, wanted, gone)

    @rule(side=SIDES, tick=TICKS, lots=LOTS, fragments=st.integers(0, 7))
    def trade(self, side, tick, lots, fragments) -> None:
        self.exchange.mischief.fragments = fragments
        first = self.symbol.book.first(side, tick)
        left = first.left if first else 0
        self.exchange.house_trade(self.symbol, side, tick, lots)
        if first is not None:  # who was first in the queue got the first lots
            assert first.left == max(0, left - lots)

    def ahead(self, side: int, tick: int) -> int:
        return self.symbol.book.sides[side].lots(tick)

    @invariant()
    def money_is_conserved(self) -> None:
        ledger = self.exchange.ledger
        assert {asset: ledger.total(asset) for asset in self.assets} == self.before
        for account in ledger.accounts:
            opened = [o for o in self.exchange.open_orders.values() if o.account == account.index]
            for asset in self.assets:
                assert account.free.get(asset, 0) >= 0
                held = sum(o.locked for o in opened if asset == ("USDT" if o.side > 0 else "XYZ"))
                assert account.locked.get(asset, 0) == held

    @invariant()
    def book_is_sound(self) -> None:
        book = self.symbol.book
        bid, ask, _, _ = book.touch()
        assert not bid or not ask or bid < ask
        resting = 0
        for side in book.sides.values():
            ticks = side.ticks()
            assert ticks == sorted(ticks, reverse=side.side > 0)
            for tick in ticks:
                level = side.levels[tick]
                assert level.total == sum(place.left for place in level.queue) > 0
                assert level.house == sum(p.left for p in level.queue if p.order is None)
                for place in level.queue:
                    assert place.left > 0
                    if place.order is not None:
                        resting += 1
                        assert place.left == place.order.left_lot
                        assert place.order.is_open
                numbers = [p.order.order_id for p in level.queue if p.order is not None]
                assert numbers == sorted(numbers)  # who came first stands first
        assert resting == len(self.exchange.open_orders)

    @invariant()
    def orders_are_sound(self) -> None:
        sums: dict[int, int] = {}
        for fills in self.exchange.fills.values():
            for fill in fills:
                sums[fill.order.order_id] = sums.get(fill.order.order_id, 0) + fill.lots
        for order in self.exchange.orders.values():
            assert sums.get(order.order_id, 0) == order.filled_lot <= order.qty_lot
            if order.status == "FILLED":
                assert order.left_lot == 0
        ids = [made.trade_id for made in self.world.told.prints]
        assert len(ids) == len(set(ids))


TestTrading = Trading.TestCase
TestTrading.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
