"""The benchmark load on NautilusTrader's first API (1.x, Cython core), for Python below 3.12."""

import time
from decimal import Decimal

import numpy as np
import pandas as pd
from nautilus_trader.backtest.engine import BacktestEngine, BacktestEngineConfig
from nautilus_trader.config import CacheConfig, LoggingConfig, RiskEngineConfig
from nautilus_trader.model.currencies import BTC, ETH, USDT
from nautilus_trader.model.enums import AccountType, OmsType, OrderSide
from nautilus_trader.model.identifiers import InstrumentId, Symbol, TraderId, Venue
from nautilus_trader.model.instruments import CurrencyPair
from nautilus_trader.model.objects import Money, Price, Quantity
from nautilus_trader.persistence.wranglers import QuoteTickDataWrangler, TradeTickDataWrangler
from nautilus_trader.trading.config import StrategyConfig
from nautilus_trader.trading.strategy import Strategy

from benchmarks.peers_nautilus import EVERY, TickFeatures
from benchmarks.ticks import LISTINGS, QUOTE, TRADE

VENUE = Venue("SIM")
BUYER = 1  # the aggressor side of a trade that lifted the ask


class Bench(Strategy):
    """Hands events to the trader and its orders to the library."""

    def __init__(self, instruments, trader):
        super().__init__(StrategyConfig())
        self.trader, self.instruments = trader, instruments
        self.quantity = {}

    def on_start(self):
        for instrument, listing in zip(self.instruments, LISTINGS, strict=True):
            key = instrument.id
            self.trader.features[key] = TickFeatures(listing.tick)
            self.trader.net[key] = 0
            self.quantity[key] = instrument.make_qty(listing.order_size)
            self.subscribe_quote_ticks(key)
            self.subscribe_trade_ticks(key)

    def on_quote_tick(self, tick):
        trader = self.trader
        trader.seen += 1
        if trader.mode == "noop":
            return
        key = tick.instrument_id
        trader.features[key].on_quote(
            tick.ts_event,
            float(tick.bid_price),
            float(tick.ask_price),
            float(tick.bid_size),
            float(tick.ask_size),
        )
        if trader.seen % EVERY == 0:
            self.act(key, trader.decide(key))

    def on_trade_tick(self, tick):
        trader = self.trader
        trader.seen += 1
        if trader.mode == "noop":
            return
        key = tick.instrument_id
        side = 1.0 if tick.aggressor_side.value == BUYER else -1.0
        trader.features[key].on_trade(tick.ts_event, float(tick.size), side)
        if trader.seen % EVERY == 0:
            self.act(key, trader.decide(key))

    def act(self, key, side):
        if side:
            direction = OrderSide.BUY if side > 0 else OrderSide.SELL
            self.submit_order(self.order_factory.market(key, direction, self.quantity[key]))

    def on_order_filled(self, _event):
        self.trader.fills += 1

    def on_order_denied(self, _event):
        self.trader.denied += 1

    def on_order_rejected(self, _event):
        self.trader.denied += 1


def _instruments():
    return [
        CurrencyPair(
            instrument_id=InstrumentId(Symbol(listing.symbol), VENUE),
            raw_symbol=Symbol(listing.symbol),
            base_currency=base,
            quote_currency=USDT,
            price_precision=listing.decimals,
            size_precision=3,
            price_increment=Price(0.01, listing.decimals),
            size_increment=Quantity(0.001, 3),
            ts_event=0,
            ts_init=0,
            margin_init=Decimal("0.05"),
            margin_maint=Decimal("0.03"),
            maker_fee=Decimal("0.0002"),
            taker_fee=Decimal("0.0005"),
        )
        for listing, base in zip(LISTINGS, (BTC, ETH), strict=True)
    ]


def _objects(ticks, instrument, k, kind):
    """Make the library's objects of one instrument and kind by its own wranglers."""
    chosen = (ticks["inst"] == k) & (ticks["kind"] == kind)
    columns = {
        "bid_price": "bid",
        "ask_price": "ask",
        "bid_size": "bid_size",
        "ask_size": "ask_size",
    }
    if kind == QUOTE:
        frame = {name: ticks[column][chosen] for name, column in columns.items()}
    else:
        frame = {
            "price": ticks["price"][chosen],
            "quantity": ticks["size"][chosen],
            "buyer_maker": ticks["side"][chosen] < 0,
            "trade_id": np.flatnonzero(chosen).astype(str),
        }
    stamps = pd.to_datetime(ticks["ts_ns"][chosen], utc=True).rename("timestamp")
    wrangler = (QuoteTickDataWrangler if kind == QUOTE else TradeTickDataWrangler)(instrument)
    return wrangler.process(pd.DataFrame(frame, index=stamps))


def prepare(ticks):
    """Make the library's own objects of all events; not part of the timed run."""
    instruments = _instruments()
    lists = [
        _objects(ticks, i, k, kind) for k, i in enumerate(instruments) for kind in (QUOTE, TRADE)
    ]
    return instruments, lists


def replay(load, trader):
    """Run the backtest once; return (wall seconds, CPU seconds) of the run alone."""
    instruments, lists = load
    engine = BacktestEngine(
        BacktestEngineConfig(
            trader_id=TraderId("BENCH-001"),
            logging=LoggingConfig(bypass_logging=True),
            risk_engine=RiskEngineConfig(max_order_submit_rate="1000000/00:00:01"),
            cache=CacheConfig(tick_capacity=1_000),
            run_analysis=False,
        )
    )
    money = [Money(1_000_000, USDT)]
    engine.add_venue(VENUE, OmsType.NETTING, AccountType.MARGIN, money, base_currency=USDT)
    for instrument in instruments:
        engine.add_instrument(instrument)
    engine.add_strategy(Bench(instruments, trader))
    for k, objects in enumerate(lists):  # sorted once, with the last list: its documented fast path
        engine.add_data(objects, sort=k == len(lists) - 1)
    wall, cpu = time.perf_counter(), time.process_time()
    engine.run()
    took = time.perf_counter() - wall, time.process_time() - cpu
    engine.dispose()
    return took
