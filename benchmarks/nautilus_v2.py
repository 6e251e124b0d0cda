"""The benchmark load on NautilusTrader's second API (2.x, Rust core)."""

import time
from decimal import Decimal

from nautilus_trader.backtest import BacktestEngine, BacktestEngineConfig
from nautilus_trader.common import LoggerConfig
from nautilus_trader.execution import MakerTakerFeeModel
from nautilus_trader.model import (
    AccountType,
    AggressorSide,
    Currency,
    CurrencyPair,
    InstrumentId,
    Money,
    OmsType,
    OrderSide,
    Price,
    Quantity,
    QuoteTick,
    Symbol,
    TradeId,
    TraderId,
    TradeTick,
    Venue,
)
from nautilus_trader.risk import RiskEngineConfig
from nautilus_trader.trading import Strategy, StrategyConfig

from benchmarks.peers_nautilus import EVERY, TickFeatures
from benchmarks.ticks import LISTINGS, QUOTE

VENUE = Venue("SIM")


class Bench(Strategy):
    """Hands events to the trader and its orders to the library."""

    def __new__(cls, config, *_args):
        return super().__new__(cls, config)

    def __init__(self, config, instruments, trader):
        super().__init__(config)
        self.trader, self.instruments = trader, instruments
        self.quantity = {}

    def on_start(self):
        for instrument, listing in zip(self.instruments, LISTINGS, strict=True):
            key = instrument.id
            self.trader.features[key] = TickFeatures(listing.tick)
            self.trader.net[key] = 0
            self.quantity[key] = Quantity(listing.order_size, 3)
            self.subscribe_quotes(key)
            self.subscribe_trades(key)

    def on_quote(self, tick):
        trader = self.trader
        trader.seen += 1
        if trader.mode == "noop":
            return
        key = tick.instrument_id
        trader.features[key].on_quote(
            tick.ts_event,
            tick.bid_price.as_double(),
            tick.ask_price.as_double(),
            tick.bid_size.as_double(),
            tick.ask_size.as_double(),
        )
        if trader.seen % EVERY == 0:
            self.act(key, trader.decide(key))

    def on_trade(self, tick):
        trader = self.trader
        trader.seen += 1
        if trader.mode == "noop":
            return
        key = tick.instrument_id
        side = 1.0 if tick.aggressor_side == AggressorSide.BUY else -1.0
        trader.features[key].on_trade(tick.ts_event, tick.size.as_double(), side)
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
    usdt = Currency.from_str("USDT")
    return [
        CurrencyPair(
            InstrumentId(Symbol(listing.symbol), VENUE),
            Symbol(listing.symbol),
            Currency.from_str(listing.symbol[:3]),
            usdt,
            listing.decimals,
            3,
            Price(0.01, listing.decimals),
            Quantity(0.001, 3),
            0,
            0,
            margin_init=Decimal("0.05"),
            margin_maint=Decimal("0.03"),
        )
        for listing in LISTINGS
    ]


def prepare(ticks):
    """Make the library's own objects of all events; not part of the timed run."""
    instruments = _instruments()
    objects = []
    columns = [ticks[c].tolist() for c in ("ts_ns", "inst", "kind", "bid", "ask", "bid_size")]
    columns += [ticks[c].tolist() for c in ("ask_size", "price", "size", "side")]
    rows = enumerate(zip(*columns, strict=True))
    for k, (ts, which, kind, bid, ask, bid_size, ask_size, price, size, side) in rows:
        key = instruments[which].id
        if kind == QUOTE:
            prices = Price(bid, 2), Price(ask, 2)
            sizes = Quantity(bid_size, 3), Quantity(ask_size, 3)
            objects.append(QuoteTick(key, *prices, *sizes, ts, ts))
        else:
            aggressor = AggressorSide.BUY if side > 0 else AggressorSide.SELL
            size = Quantity(size, 3)
            objects.append(
                TradeTick(key, Price(price, 2), size, aggressor, TradeId(str(k)), ts, ts)
            )
    return instruments, objects


def replay(load, trader):
    """Run the backtest once; return (wall seconds, CPU seconds) of the run alone."""
    instruments, objects = load
    engine = BacktestEngine(
        BacktestEngineConfig(
            trader_id=TraderId("BENCH-001"),
            logging=LoggerConfig(bypass_logging=True),
            run_analysis=False,
            risk_engine=RiskEngineConfig(max_order_submit_rate="1000000/00:00:01"),
        )
    )
    usdt = Currency.from_str("USDT")
    engine.add_venue(
        VENUE,
        OmsType.NETTING,
        AccountType.MARGIN,
        [Money(1_000_000.0, usdt)],
        base_currency=usdt,
        fee_model=MakerTakerFeeModel(Decimal("0.0002"), Decimal("0.0005")),
    )
    for instrument in instruments:
        engine.add_instrument(instrument)
    engine.add_strategy(Bench(StrategyConfig(), instruments, trader))
    engine.add_data(objects, sort=True)
    wall, cpu = time.perf_counter(), time.process_time()
    engine.run()
    took = time.perf_counter() - wall, time.process_time() - cpu
    engine.dispose()
    return took
