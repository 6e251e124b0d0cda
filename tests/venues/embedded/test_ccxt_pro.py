"""Unmodified ccxt.pro: its sockets for market data, orders and the user stream."""

import asyncio

import ccxt.pro
import pytest

from tests.venues.embedded.clients import ccxt_settings, point_at
from venues.embedded.launcher import RunningExchange


@pytest.mark.asyncio
async def test_ccxt_pro_watches_and_trades(exchange: RunningExchange) -> None:
    client = point_at(ccxt.pro.binance(ccxt_settings()), exchange)
    client.urls["api"]["ws"]["spot"] = exchange.streams_url + "/stream/ws"
    client.urls["api"]["ws"]["ws-api"]["spot"] = exchange.ws_api_url
    try:
        async with asyncio.timeout(20):
            await client.load_markets()
            trades = await client.watch_trades("BTC/USDT")
            assert trades[-1]["price"] > 0
            book = await client.watch_order_book("BTC/USDT")
            assert book["bids"][0][0] < book["asks"][0][0]
            candles = await client.watch_ohlcv("BTC/USDT", "1m")
            assert len(candles[-1]) == 6
            watching = asyncio.ensure_future(client.watch_orders("BTC/USDT"))
            await asyncio.sleep(0.2)
            order = await client.create_order_ws(
                "BTC/USDT", "limit", "buy", 0.01, book["bids"][0][0] - 200,
                {"newClientOrderId": "proorder1"},
            )  # fmt: skip
            seen = await watching
            assert seen[-1]["clientOrderId"] == "proorder1"
            assert order["id"] == seen[-1]["id"]
            await client.cancel_order_ws(order["id"], "BTC/USDT")
            assert (await client.fetch_order(order["id"], "BTC/USDT"))["status"] == "canceled"
    finally:
        await client.close()
