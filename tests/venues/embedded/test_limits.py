"""Signatures, time windows, filters, weights and order counts."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.venues.embedded.clients import Rest
from tests.venues.embedded.world import World
from venues.embedded.amounts import parse, text
from venues.embedded.auth import check_time, signature
from venues.embedded.launcher import RunningExchange, start_exchange
from venues.embedded.limits import STUBBORN, Meter, RateLimits
from venues.embedded.refusals import Refused
from venues.embedded.requests import read_order

VECTOR = (
    "symbol=LTCBTC&side=BUY&type=LIMIT&timeInForce=GTC&quantity=1&price=0.1&recvWindow=5000"
    "&timestamp=1499827319559"
)


def test_signature_of_the_documented_vector() -> None:
    expected = "2b83f22abbbe1b493d2d1467113dbb8847b653cfa2200c7e11deacc17063f058"
    assert signature("s", VECTOR) == expected


@given(st.integers(0, 10**20))
def test_amounts_survive_their_text(minor: int) -> None:
    assert parse("x", text(minor)) == minor


@pytest.mark.parametrize(
    ("value", "code"),
    [("1e5", -1100), ("-1", -1100), ("", -1100), ("nan", -1100), ("0x1", -1100), ("١", -1100),
     ("0.000000001", -1111)],
)  # fmt: skip
def test_amounts_that_are_none(value: str, code: int) -> None:
    with pytest.raises(Refused) as refused:
        parse("price", value)
    assert refused.value.code == code


@pytest.mark.parametrize(
    ("stamp", "window", "code"),
    [
        (10_000, "5000", 0), (5_000, "5000", 0), (4_999, "5000", -1021), (10_999, "1", 0),
        (11_000, "60000", -1021), (10_000, "60001", -1131), (9_000, "999.5", -1021),
    ],
)  # fmt: skip
def test_time_window(stamp: int, window: str, code: int) -> None:
    params = {"timestamp": str(stamp), "recvWindow": window}
    if not code:
        check_time(params, 10_000)
        return
    with pytest.raises(Refused) as refused:
        check_time(params, 10_000)
    assert refused.value.code == code


GOOD = {"side": "BUY", "type": "LIMIT", "timeInForce": "GTC", "price": "60000.1",
        "quantity": "0.001"}  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "code", "words"),
    [
        ({"price": "60000.15"}, -1013, "PRICE_FILTER"),
        ({"price": "0"}, -1013, "PRICE_FILTER"),
        ({"quantity": "0.000015"}, -1013, "LOT_SIZE"),
        ({"quantity": "0.00001"}, -1013, "NOTIONAL"),
        ({"quantity": "9000"}, -1013, "NOTIONAL"),
        ({"price": "300001"}, -1013, "PERCENT_PRICE_BY_SIDE"),
        ({"price": "11999"}, -1013, "PERCENT_PRICE_BY_SIDE"),
        ({"price": "60000.123456789"}, -1111, "precision"),
        ({"side": "HOLD"}, -1117, "side"),
        ({"type": "STOP"}, -1116, "orderType"),
        ({"timeInForce": "DAY"}, -1115, "timeInForce"),
        ({"timeInForce": ""}, -1102, "timeInForce"),
        ({"type": "LIMIT_MAKER"}, -1106, "timeInForce"),
        ({"newClientOrderId": "a b"}, -1100, "newClientOrderId"),
        ({"newClientOrderId": "x" * 37}, -1100, "newClientOrderId"),
        ({"newOrderRespType": "ALL"}, -1100, "newOrderRespType"),
        ({"selfTradePreventionMode": "X"}, -1100, "selfTradePreventionMode"),
    ],
)
def test_orders_against_the_filters(changes: dict[str, str], code: int, words: str) -> None:
    world = World()
    world.house((1, 600_000, 100))  # the last price is about 60,000
    assert read_order(world.symbol, GOOD, "made").price_tick == 600_001
    with pytest.raises(Refused) as refused:
        read_order(world.symbol, GOOD | changes, "made")
    assert (refused.value.code, words in refused.value.msg) == (code, True)


def test_meter_limits_then_bans() -> None:
    meter = Meter(RateLimits(weight_per_minute=10, ban_s=120), lambda: 0)
    meter.use(10, 60_000)
    for _ in range(STUBBORN):
        with pytest.raises(Refused) as refused:
            meter.use(1, 61_000)
        assert (refused.value.status, refused.value.retry_after_s) == (429, 59)
    with pytest.raises(Refused) as refused:
        meter.use(1, 61_000)
    assert (refused.value.status, refused.value.retry_after_s) == (418, 120)
    with pytest.raises(Refused):
        meter.use(1, 120_000)  # a new minute does not end a ban
    meter.use(1, 181_000)
    assert meter.weight == 1


def test_order_counts_are_given_back_by_fills() -> None:
    meter = Meter(RateLimits(orders_per_10s=2, orders_per_day=3), lambda: 12_000)
    world = World()
    world.exchange.listeners.append(meter)
    meter.order(0, 10_000)
    meter.order(0, 11_000)
    meter.order(1, 11_000)  # another account has its own
    with pytest.raises(Refused, match="2 orders per 10 SECOND") as refused:
        meter.order(0, 12_000)
    assert (refused.value.code, refused.value.status, refused.value.retry_after_s) == (
        -1015, 429, 8,
    )  # fmt: skip
    world.house((-1, 100_000, 5))
    order, _ = world.place(world.a, 1, 100_000, 10)  # its first fill gives one back
    world.exchange.house_trade(world.symbol, -1, 100_000, 5)  # its second does not
    assert order.status == "FILLED"
    meter.order(0, 12_000)
    meter.order(0, 20_000)
    with pytest.raises(Refused, match="3 orders per 1 DAY"):
        meter.order(0, 20_001)


def test_headers_and_weights(exchange: RunningExchange) -> None:
    rest = Rest(exchange)
    rest.call("GET", "ping")
    before = int(rest.headers["x-mbx-used-weight-1m"])
    rest.call("GET", "depth", symbol="BTCUSDT", limit=5000)
    used = int(rest.headers["x-mbx-used-weight-1m"]) - before
    assert used == 250 or used < 0  # below 0: a new minute began
    status, _ = rest.order("BTCUSDT", "BUY", "MARKET", quoteOrderQty="50")
    assert status == 200
    assert int(rest.headers["x-mbx-order-count-10s"]) >= 0
    assert int(rest.headers["x-mbx-order-count-1d"]) >= 0


def test_errors_of_bad_requests(exchange: RunningExchange) -> None:
    rest = Rest(exchange)
    for (method, path, params), status, code in [
        (("GET", "klines", {"symbol": "BTCUSDT"}), 400, -1102),
        (("GET", "klines", {"symbol": "BTCUSDT", "interval": "7m"}), 400, -1120),
        (("GET", "depth", {"symbol": "BTCUSDT", "limit": "x"}), 400, -1100),
        (("GET", "depth", {}), 400, -1102),
        (("GET", "nothing", {}), 404, -1000),
        (("PUT", "order", {}), 405, -1000),
        (("GET", "account", {}), 400, -1102),
        (("GET", "exchangeInfo", {"symbols": "[BTC"}), 400, -1100),
    ]:
        got, answer = rest.call(method, path, **params)
        assert (got, answer["code"]) == (status, code)
    assert rest.send("GET", "/api/v3/depth?symbol=BTCUSDT&symbol=BTCUSDT")[1]["code"] == -1101


def test_whoever_does_not_stop_at_429_is_banned() -> None:
    options = ("--history-hours", "0.1", "--symbols", "1", "--weight-per-minute", "100")
    with start_exchange(options=options) as exchange:
        rest = Rest(exchange)
        answers = [rest.call("GET", "exchangeInfo")[0] for _ in range(60)]
        assert answers[:3] == [200] * 3
        assert 429 in answers
        assert answers[-1] == 418
        assert int(rest.headers["retry-after"]) > 60
