"""I10: what ccxt makes of an order is read back and must be what was approved."""

import pytest
import pytest_asyncio
from hypothesis import given
from hypothesis import strategies as st

from engine.account_state import Market
from engine.client_ids import client_id
from engine.instruments import Instrument
from engine.wire_order import WireOrder, decimal_text
from venues.ccxt_client import ClientSettings, Secret, open_client
from venues.ccxt_wire import WireDiffers, check_request
from venues.orders_ccxt import _parameters

BTC = Instrument(venue="x", symbol="BTCUSDT", base="BTC", quote="USDT", tick="0.01", lot="0.00001")
MARKET = Market(1, BTC)
TAG = "3ibe6807"
ORDER = WireOrder(TAG, 41, "BTCUSDT", 1, 1, 123_456, 6_000_012)


def request(**fields) -> tuple[str, str]:
    said = {
        "symbol": "BTCUSDT", "side": "BUY", "type": "LIMIT", "timeInForce": "GTC",
        "quantity": "1.23456", "price": "60000.12", "newClientOrderId": client_id(TAG, 41),
        "newOrderRespType": "FULL", "timestamp": "1", "signature": "x", **fields,
    }  # fmt: skip
    body = "&".join(f"{name}={value}" for name, value in said.items() if value)
    return "http://127.0.0.1:1/api/v3/order", body


def test_the_same_fields_pass():
    check_request("binance", ORDER, MARKET, "BTCUSDT", request())
    check_request(
        "binance", ORDER, MARKET, "BTCUSDT", request(quantity="1.234560", price="60000.120")
    )


@pytest.mark.parametrize(
    "wrong",
    [
        {"quantity": "1.23457"},
        {"quantity": "1.2345"},
        {"price": "60000.13"},
        {"price": ""},
        {"side": "SELL"},
        {"symbol": "ETHUSDT"},
        {"type": "MARKET"},
        {"timeInForce": "IOC"},
        {"timeInForce": "FOK"},
        {"type": "LIMIT_MAKER", "timeInForce": ""},
        {"newClientOrderId": "x-TKT5PX2Fabc"},
        {"newClientOrderId": client_id(TAG, 42)},
        {"quoteOrderQty": "100"},
        {"icebergQty": "1"},
        {"stopPrice": "1"},
    ],
)
def test_any_other_field_stops_the_request(wrong):
    with pytest.raises(WireDiffers, match="differs from what was approved"):
        check_request("binance", ORDER, MARKET, "BTCUSDT", request(**wrong))


@given(st.integers(1, 10**15), st.integers(1, 10**12))
def test_one_lot_or_tick_off_is_seen_at_any_size(qty, tick):
    order = ORDER._replace(qty_lot=qty, wire_tick=tick)
    lots, price = decimal_text(qty, BTC.lot), decimal_text(tick, BTC.tick)
    check_request("binance", order, MARKET, "BTCUSDT", request(quantity=lots, price=price))
    more, higher = decimal_text(qty + 1, BTC.lot), decimal_text(tick + 1, BTC.tick)
    for off in (request(quantity=more, price=price), request(quantity=lots, price=higher)):
        with pytest.raises(WireDiffers):
            check_request("binance", order, MARKET, "BTCUSDT", off)


SENDS = ["binance", "bybit", "okx", "kraken", "kucoin", "bitget"]


@pytest_asyncio.fixture(params=[*SENDS, "gate"])
async def client(request):
    settings = ClientSettings(
        exchange=request.param, key=Secret("k"), secret=Secret("czc0NQ=="), password=Secret("p"),
        base_url="http://127.0.0.1:9", timeout_s=1.0,
    )  # fmt: skip
    made = await open_client(settings)
    exchange = made._exchange
    # Answers that ccxt would ask for first.
    exchange.options.update(enableUnifiedMargin=False, enableUnifiedAccount=True, uta=False)
    exchange.set_markets(
        [
            exchange.safe_market_structure(
                {
                    "id": "BTCUSDT",
                    "symbol": "BTC/USDT",
                    "base": "BTC",
                    "quote": "USDT",
                    "baseId": "BTC",
                    "quoteId": "USDT",
                    "type": "spot",
                    "spot": True,
                    "margin": False,
                    "swap": False,
                    "future": False,
                    "option": False,
                    "contract": False,
                    "active": True,
                    "taker": "0.001",
                    "maker": "0.001",
                    "precision": {"amount": "0.00001", "price": "0.01"},
                    "limits": {"amount": {"min": "0.00001"}, "cost": {"min": "1"}},
                    "info": {
                        "orderTypes": ["LIMIT", "LIMIT_MAKER", "MARKET"],
                        "altname": "BTCUSDT",
                    },
                }
            )
        ]
    )
    yield made
    await made.close()


@pytest.mark.asyncio
@pytest.mark.parametrize("kind", [1, 2, 3])
async def test_ccxt_sends_the_approved_digits_on_every_exchange(client, kind):
    """Odd sizes at odd prices go through each exchange's own code up to the connection."""
    order = WireOrder(TAG, 9, "BTCUSDT", -1, kind, 100_000_001_234_567, 7_777_777)
    seen = []

    def guard(url: str, method: str, body: str) -> None:
        seen.append((url, body))
        check_request(client.name, order, MARKET, "BTCUSDT", (url, body))

    name = client_id(TAG, 9)
    answer = await client.call(
        "create_order", "BTC/USDT", "limit", "sell", decimal_text(order.qty_lot, BTC.lot),
        decimal_text(order.wire_tick, BTC.tick), _parameters(name, order), guard=guard,
    )  # fmt: skip
    assert answer.value is None
    assert seen, "nothing was about to leave"
    assert not answer.attempt.sent
    # ccxt writes another client id for gate ("t-" before ours): that is stopped.
    assert answer.attempt.began == (client.name in SENDS), "the check stopped what ccxt made"
