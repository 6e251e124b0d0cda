"""The matching core, case by case."""

import pytest

from tests.venues.embedded.world import World
from venues.embedded.refusals import Refused


def statuses(world: World) -> list[tuple[int, str, str, int]]:
    return [report[1:] for report in world.told.reports]


def test_limit_order_takes_then_rests_and_pays_exactly() -> None:
    world = World()
    world.house((-1, 600_000, 1000), (-1, 600_010, 500), (1, 599_990, 1000))
    order, fills = world.place(world.a, 1, 600_005, 1500)
    assert [(f.price_tick, f.lots, f.maker) for f in fills] == [(600_000, 1000, False)]
    assert (order.status, order.left_lot) == ("PARTIALLY_FILLED", 500)
    assert world.symbol.book.touch() == (600_005, 600_010, 500, 500)
    # 0.01 BTC at 60,000.0 is 600 USDT; the fee is 5 bps of the BTC received
    assert world.a.free["USDT"] + world.a.locked["USDT"] == (1_000_000 - 600) * 10**8
    assert world.a.locked["USDT"] == 600_005 * 500 * 100
    assert world.a.free["BTC"] == 10 * 10**8 + 1_000_000 - 500
    world.exchange.house_trade(world.symbol, -1, 600_005, 200)
    assert (order.filled_lot, order.status) == (1200, "PARTIALLY_FILLED")
    fill = world.exchange.fills[0][-1]
    assert (fill.maker, fill.fee, fill.fee_asset) == (True, 20, "BTC")  # 1 bps
    world.exchange.cancel(world.a, order, "c1")
    assert world.a.locked["USDT"] == 0
    assert [kind for _, kind, _, _ in statuses(world)] == ["NEW", "TRADE", "TRADE", "CANCELED"]


def test_resting_order_waits_behind_the_house_and_house_growth_waits_behind_it() -> None:
    world = World()
    world.house((1, 100_000, 300))
    order, _ = world.place(world.a, 1, 100_000, 100)
    world.house((1, 100_000, 500))  # 200 more join behind the order
    world.exchange.house_trade(world.symbol, -1, 100_000, 300)
    assert order.filled_lot == 0
    world.exchange.house_trade(world.symbol, -1, 100_000, 60)
    assert order.filled_lot == 60
    world.exchange.house_trade(world.symbol, -1, 100_000, 60)
    assert (order.status, order.filled_lot) == ("FILLED", 100)
    assert world.symbol.book.touch()[2] == 180


def test_shrinking_house_gives_no_one_a_better_place() -> None:
    world = World()
    world.house((1, 100_000, 300))
    order, _ = world.place(world.a, 1, 100_000, 100)
    world.house((1, 100_000, 450))
    world.house((1, 100_000, 310))  # the 140 that went are those behind the order
    world.exchange.house_trade(world.symbol, -1, 100_000, 300)
    assert order.filled_lot == 0


def test_market_that_moves_through_an_order_fills_it_at_its_own_price() -> None:
    world = World()
    order, _ = world.place(world.a, -1, 100_000, 100)
    world.house((1, 100_020, 80))
    assert order.filled_lot == 80
    assert world.symbol.book.touch()[1] == 100_000  # the rest of it holds the price
    assert world.exchange.fills[0][0].price_tick == 100_000
    world.house((1, 100_020, 80))
    assert order.status == "FILLED"
    assert world.symbol.book.touch() == (100_020, 0, 60, 0)


@pytest.mark.parametrize(
    ("kind", "tif", "lots", "status", "filled"),
    [
        ("LIMIT", "IOC", 150, "EXPIRED", 100),
        ("LIMIT", "FOK", 150, "EXPIRED", 0),
        ("LIMIT", "FOK", 100, "FILLED", 100),
        ("MARKET", "GTC", 150, "EXPIRED", 100),
        ("MARKET", "GTC", 70, "FILLED", 70),
    ],
)
def test_orders_that_do_not_rest(kind: str, tif: str, lots: int, status: str, filled: int) -> None:
    world = World()
    world.house((-1, 100_000, 100))
    tick = 100_000 if kind == "LIMIT" else 0
    order, fills = world.place(world.a, 1, tick, lots, kind, tif=tif)
    assert (order.status, order.filled_lot) == (status, filled)
    assert sum(fill.lots for fill in fills) == filled
    assert world.a.locked["USDT"] == 0
    assert not world.exchange.open_orders


def test_market_order_for_money_buys_what_it_can() -> None:
    world = World()
    world.house((-1, 100_000, 100), (-1, 200_000, 1000))
    money = 100_000 * 100 * 100 + 200_000 * 50 * 100 + 7  # minor units: the 7 buy nothing
    order, fills = world.place(world.a, 1, 0, 0, "MARKET", quote_qty=money)
    assert [(f.price_tick, f.lots) for f in fills] == [(100_000, 100), (200_000, 50)]
    assert (order.status, order.qty_lot, order.quote_filled) == ("FILLED", 150, money - 7)


def test_refusals_change_nothing() -> None:
    world = World()
    world.house((-1, 100_000, 100))
    before = dict(world.a.free), world.symbol.book.update_id
    for code, text, lots, kind, fields in [
        (-2010, "immediately match", 1, "LIMIT_MAKER", {}),
        (-2010, "insufficient balance", 900_000_000, "LIMIT", {}),
        (-2010, "Market is closed", 1, "LIMIT", {}),
        (-1013, "LOT_SIZE", 0, "MARKET", {"quote_qty": 1}),
    ]:
        world.symbol.status = "HALT" if "closed" in text else "TRADING"
        with pytest.raises(Refused, match=text) as refused:
            world.place(world.a, 1, 0 if kind == "MARKET" else 100_000, lots, kind, **fields)
        assert refused.value.code == code
    assert (dict(world.a.free), world.symbol.book.update_id) == before
    assert not world.told.reports


def test_client_id_is_unique_among_open_orders_only() -> None:
    world = World()
    order, _ = world.place(world.a, 1, 100_000, 10, client_id="same")
    with pytest.raises(Refused, match="Duplicate order sent"):
        world.place(world.a, 1, 100_001, 10, client_id="same")
    world.place(world.b, 1, 100_001, 10, client_id="same")
    world.exchange.cancel(world.a, order, "c")
    again, _ = world.place(world.a, 1, 100_002, 10, client_id="same")
    assert world.exchange.find(world.a, None, "same") is again
    with pytest.raises(Refused, match="Unknown order sent"):
        world.exchange.cancel(world.a, order, "c")


@pytest.mark.parametrize(
    ("mode", "taker", "maker"),
    [
        ("EXPIRE_MAKER", "FILLED", "EXPIRED_IN_MATCH"),
        ("EXPIRE_TAKER", "EXPIRED_IN_MATCH", "NEW"),
        ("EXPIRE_BOTH", "EXPIRED_IN_MATCH", "EXPIRED_IN_MATCH"),
        ("NONE", "FILLED", "FILLED"),
    ],
)
def test_self_trade_prevention(mode: str, taker: str, maker: str) -> None:
    world = World()
    world.house((-1, 100_010, 100))
    own, _ = world.place(world.a, -1, 100_000, 50)
    order, fills = world.place(world.a, 1, 100_010, 50, stp=mode)
    assert (order.status, own.status) == (taker, maker)
    if mode != "NONE":
        assert all(fill.price_tick == 100_010 for fill in fills)


def test_accounts_trade_with_each_other_and_fees_may_come_from_a_third_asset() -> None:
    world = World(fee_asset="BNB", fee_asset_price="500")
    world.place(world.b, -1, 100_000, 1000)
    order, fills = world.place(world.a, 1, 100_000, 1000)
    assert order.status == "FILLED"
    assert fills[0].fee_asset == "BNB"  # 100 USDT x 5 bps at 500 USDT a BNB
    assert fills[0].fee == 10_000
    assert world.exchange.ledger.fees == {"BNB": 12_000}
    assert world.exchange.ledger.house == {}


def test_fault_V09_fragments_add_up_exactly() -> None:
    world = World()
    world.house((-1, 100_000, 10_007))
    world.exchange.mischief.fragments = 1000
    order, fills = world.place(world.a, 1, 100_000, 10_007)
    assert len(fills) == 1000
    assert sum(fill.lots for fill in fills) == 10_007 == order.filled_lot
    assert sum(fill.quote for fill in fills) == order.quote_filled == 100_000 * 10_007 * 100
    assert len({fill.trade_id for fill in fills}) == 1000
    assert world.exchange.ledger.fees["BTC"] == sum(fill.fee for fill in fills)


def test_fault_V12_a_fill_is_told_after_the_cancel() -> None:
    world = World()
    order, _ = world.place(world.a, 1, 100_000, 100)
    world.exchange.mischief.late_fill_lots, world.exchange.mischief.late_fill_count = 40, 1
    world.exchange.cancel(world.a, order, "c")
    assert (order.status, order.filled_lot) == ("CANCELED", 0)
    world.exchange.tell_late()
    assert (order.status, order.filled_lot) == ("CANCELED", 40)
    assert statuses(world)[-2:] == [(1, "CANCELED", "CANCELED", 0), (1, "TRADE", "CANCELED", 40)]
    assert world.a.locked["USDT"] == 0
    assert world.exchange.ledger.total("USDT") == 2 * 1_000_000 * 10**8


def test_own_trades_of_one_taker_share_an_aggregate() -> None:
    world = World()
    world.place(world.b, -1, 100_000, 10)
    world.place(world.b, -1, 100_000, 10)
    world.place(world.b, -1, 100_001, 10)
    world.place(world.a, 1, 100_001, 30)
    world.exchange.house_trade(world.symbol, 1, 100_001, 1)
    groups = [made.agg_id for made in world.told.prints]
    assert groups == [1, 1, 2]
