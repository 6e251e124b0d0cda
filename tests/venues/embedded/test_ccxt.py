"""Unmodified ccxt, sync and async, against the exchange."""

import asyncio
from decimal import Decimal

import ccxt
import ccxt.async_support
import pytest

from tests.venues.embedded.clients import ALICE, BALANCES, BOB, ccxt_settings, point_at
from venues.embedded.launcher import RunningExchange

MINUTE_MS = 60_000


@pytest.fixture
def client(exchange: RunningExchange) -> ccxt.binance:
    made = point_at(ccxt.binance(ccxt_settings()), exchange)
    made.load_markets()
    return made


def truth(exchange: RunningExchange, account: str) -> dict:
    """Return an account as the exchange's own ledger has it."""
    return exchange.control("GET", "/ledger")["accounts"][account]


def test_markets_time_and_ticker(exchange: RunningExchange, client: ccxt.binance) -> None:
    assert set(client.markets) == {"BTC/USDT", "ETH/USDT"}
    market = client.market("BTC/USDT")
    assert (market["precision"]["price"], market["precision"]["amount"]) == (0.1, 1e-5)
    assert market["limits"]["cost"]["min"] == 5.0
    assert market["spot"]
    assert market["active"]
    assert abs(client.fetch_time() - client.milliseconds()) < 1000
    ticker = client.fetch_ticker("BTC/USDT")
    assert ticker["low"] <= ticker["last"] <= ticker["high"]
    assert ticker["bid"] < ticker["ask"]
    assert set(client.fetch_tickers(["BTC/USDT", "ETH/USDT"])) == {"BTC/USDT", "ETH/USDT"}


def test_candles_paginate_without_hole_or_double(client: ccxt.binance) -> None:
    now = client.milliseconds()
    since = now - now % MINUTE_MS - 5 * 60 * MINUTE_MS
    rows: list[list] = []
    while not rows or rows[-1][0] + MINUTE_MS <= now - MINUTE_MS:
        since_page = rows[-1][0] + MINUTE_MS if rows else since
        page = client.fetch_ohlcv("ETH/USDT", "1m", since_page, limit=100)
        assert page
        rows += page
    assert [row[0] for row in rows] == list(range(since, rows[-1][0] + 1, MINUTE_MS))
    for opened, low_high in ((r[1], (r[3], r[2])) for r in rows):
        assert low_high[0] <= opened <= low_high[1]
    # five-minute candles are the one-minute ones joined, and trades make the same candle
    five = client.fetch_ohlcv("ETH/USDT", "5m", since, limit=3)
    first = [row for row in rows if five[0][0] <= row[0] < five[0][0] + 5 * MINUTE_MS]
    assert five[0][1:5] == [
        first[0][1], max(r[2] for r in first), min(r[3] for r in first), first[-1][4],
    ]  # fmt: skip
    assert five[0][5] == pytest.approx(sum(r[5] for r in first), abs=1e-9)
    chosen = rows[10]
    trades = client.fetch_trades(
        "ETH/USDT", chosen[0], limit=1000, params={"until": chosen[0] + MINUTE_MS - 1}
    )
    assert trades[0]["price"] == chosen[1]
    assert trades[-1]["price"] == chosen[4]
    assert sum(t["amount"] for t in trades) == pytest.approx(chosen[5], abs=1e-9)


def test_book(client: ccxt.binance) -> None:
    book = client.fetch_order_book("BTC/USDT", limit=10)
    bids, asks = [row[0] for row in book["bids"]], [row[0] for row in book["asks"]]
    assert bids == sorted(bids, reverse=True)
    assert asks == sorted(asks)
    assert bids[0] < asks[0]
    assert len(bids) == 10
    assert book["nonce"] > 0


def test_orders_fills_and_balances_to_the_last_unit(
    still: RunningExchange, client: ccxt.binance
) -> None:
    before = {a: Decimal(v["free"]) for a, v in truth(still, "alice")["balances"].items()}
    bid = client.fetch_order_book("BTC/USDT")["bids"][0][0]
    ask = client.fetch_order_book("BTC/USDT")["asks"][0][0]
    resting = client.create_order(
        "BTC/USDT", "limit", "buy", 0.01, bid - 100, {"newClientOrderId": "ccxtrest1"}
    )
    assert resting["status"] == "open"
    assert (
        client.fetch_order(None, "BTC/USDT", {"clientOrderId": "ccxtrest1"})["id"]
        == (resting["id"])
    )
    assert [o["id"] for o in client.fetch_open_orders("BTC/USDT")] == [resting["id"]]
    taken = client.create_order("BTC/USDT", "market", "buy", 0.02)
    assert (taken["status"], taken["filled"]) == ("closed", 0.02)
    maker = client.create_order("BTC/USDT", "limit", "sell", 0.01, ask + 50, {"postOnly": True})
    still.control(
        "POST", "/trade", {"symbol": "BTCUSDT", "side": "BUY", "price": str(ask + 50),
                           "lots": 10_000_000},
    )  # fmt: skip
    assert client.fetch_order(maker["id"], "BTC/USDT")["status"] == "closed"
    assert client.cancel_order("", "BTC/USDT", {"clientOrderId": "ccxtrest1"})["status"] == (
        "canceled"
    )
    trades = client.fetch_my_trades("BTC/USDT")
    mine = [t for t in trades if t["order"] in (taken["id"], maker["id"])]
    assert {t["takerOrMaker"] for t in mine} == {"taker", "maker"}
    expected = dict(before)
    for trade in mine:
        info = trade["info"]
        sign = 1 if trade["side"] == "buy" else -1
        expected["BTC"] += sign * Decimal(info["qty"])
        expected["USDT"] -= sign * Decimal(info["quoteQty"])
        expected[info["commissionAsset"]] -= Decimal(info["commission"])
    balance = client.fetch_balance()
    for asset in BALANCES:
        assert Decimal(truth(still, "alice")["balances"][asset]["free"]) == expected[asset]
        assert balance[asset]["free"] == float(expected[asset])
        assert balance[asset]["used"] == 0.0
    totals = still.control("GET", "/ledger")["totals"]
    assert Decimal(totals["BTC"]) == 2 * Decimal(BALANCES["BTC"])
    assert Decimal(totals["USDT"]) == 2 * Decimal(BALANCES["USDT"])


def test_refusals_come_as_the_right_classes(still: RunningExchange, client: ccxt.binance) -> None:
    client.get_exceptions_by_url = lambda url, kind: client.exceptions["spot"].get(kind, {})
    bid = client.fetch_order_book("BTC/USDT")["bids"][0][0]
    order = ("BTC/USDT", "limit", "buy")
    with pytest.raises(ccxt.InsufficientFunds):
        client.create_order(*order, 100, bid)
    with pytest.raises(ccxt.OrderImmediatelyFillable):
        client.create_order(*order, 0.01, bid + 1000, {"postOnly": True})
    with pytest.raises(ccxt.OrderNotFound):
        client.cancel_order("999999999", "BTC/USDT")
    with pytest.raises(ccxt.OrderNotFound):
        client.fetch_order("999999999", "BTC/USDT")
    with pytest.raises(ccxt.BadRequest):
        client.create_order("BTC/USDT", "limit", "buy", 0.00001, bid)  # NOTIONAL
    with pytest.raises(ccxt.BadSymbol):
        client.public_get_depth({"symbol": "NOPEUSDT"})
    client.secret = "wrong"
    with pytest.raises(ccxt.AuthenticationError):
        client.fetch_balance()
    client.apiKey = "unknown-key"
    with pytest.raises(ccxt.AuthenticationError):
        client.fetch_balance()


@pytest.mark.asyncio
async def test_async_ccxt_runs_orders_side_by_side(still: RunningExchange) -> None:
    client = point_at(ccxt.async_support.binance(ccxt_settings(BOB)), still)
    try:
        await client.load_markets()
        bid = (await client.fetch_order_book("ETH/USDT"))["bids"][0][0]
        placed = await asyncio.gather(
            *(
                client.create_order("ETH/USDT", "limit", "buy", 0.1, bid - 1 - at)
                for at in range(20)
            )
        )
        assert len({one["id"] for one in placed}) == 20
        assert len(await client.fetch_open_orders("ETH/USDT")) == 20
        await client.cancel_all_orders("ETH/USDT")
        assert await client.fetch_open_orders("ETH/USDT") == []
        states = [await client.fetch_order(one["id"], "ETH/USDT") for one in placed[:3]]
        assert {one["status"] for one in states} == {"canceled"}
        balance = await client.fetch_balance()
        assert balance["USDT"]["used"] == 0
    finally:
        await client.close()
    assert ALICE.api_key not in repr(still)
