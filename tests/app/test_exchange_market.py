"""The exchange's markets: the generator's own events, history and live part without a seam."""

import itertools
from pathlib import Path

import numpy as np
import pytest

from app.exchange_market import recorded_market, synthetic_market
from engine.errors import TickgateError
from store import synth
from venues.embedded.exchange import Exchange
from venues.embedded.market import Market, events
from venues.embedded.pump import Pump

SAMPLE = Path(__file__).resolve().parents[2] / "data" / "sample"
HOUR_NS = 3_600_000_000_000


def made(rows_per_s: float = 4.0, history_hours: float = 2.0, seed: int = 5) -> Market:
    return synthetic_market(
        symbols=2, seed=seed, predictability=0.5, rows_per_s=rows_per_s,
        history_hours=history_hours,
    )  # fmt: skip


def test_history_and_live_are_the_market_of_data_synth() -> None:
    settings = synth.SynthSettings(symbols=2, hours=3.0, seed=5, predictability=0.5)
    for index, symbol in enumerate(made().symbols):
        blocks = list(synth.generate(settings, index))
        trades = np.concatenate([block.trades for block in blocks])
        quotes = np.concatenate([block.quotes for block in blocks])
        cut = settings.start_ns + 2 * HOUR_NS
        past = trades[trades["ts_event"] < cut]
        assert symbol.history["ts"].tolist() == past["ts_event"].tolist()
        assert symbol.history["price"].tolist() == past["price"].tolist()
        assert symbol.touch[:2] == tuple(quotes[quotes["ts_event"] < cut][["bid", "ask"]][-1])
        coming = list(itertools.islice(events(symbol.live), 2000))
        expected = quotes[quotes["ts_event"] >= cut]
        told = [event for event in coming if event[1] == 1]
        assert told
        assert [e[0] for e in told] == expected["ts_event"][: len(told)].tolist()
        assert [e[2] for e in told] == expected["bid"][: len(told)].tolist()


def test_same_seed_gives_the_same_trades_and_books_at_any_speed() -> None:
    def played(speed: float, step_ns: int, seed: int = 5) -> tuple:
        market = made(rows_per_s=50.0, history_hours=0.5, seed=seed)
        now = [market.live_ns]
        exchange = Exchange(market, (), lambda: now[0])
        pump = Pump(exchange, market.live_ns, now[0], speed)
        until = market.live_ns + round(60e9 / speed)
        while now[0] < until:
            now[0] = min(until, now[0] + step_ns)
            while pump.run(now[0]) == 0.0:
                pass
        rows = [s.trades.rows[["id", "price", "lots", "side"]] for s in exchange.symbols.values()]
        books = [s.book.touch() + (s.book.update_id,) for s in exchange.symbols.values()]
        return [r.tolist() for r in rows], books, pump.applied

    once = played(1.0, 7_000_000)
    assert once == played(10.0, 1_000_000_000)
    assert once != played(1.0, 7_000_000, seed=6)
    assert once[2] > 2000


def test_faster_rows_begin_at_the_opening() -> None:
    slow, fast = made(), made(rows_per_s=200.0)
    assert slow.symbols[0].history.tolist() == fast.symbols[0].history.tolist()
    for market, least, most in ((slow, 1, 200), (fast, 400, 8000)):
        until = market.live_ns + 10_000_000_000
        coming = itertools.islice(events(market.symbols[0].live), 40_000)
        assert least < sum(event[0] < until for event in coming) < most


def test_recorded_market(tmp_path: Path) -> None:
    market = recorded_market([SAMPLE], cache_dir=tmp_path, history_hours=1.0)
    assert [one.spec.symbol for one in market.symbols] == ["BTCUSDT", "ETHUSDT"]
    for one in market.symbols:
        assert one.spec.tick in ("0.1", "0.01")
        assert len(one.history) > 100
        assert one.history["ts"].max() < market.live_ns
        first = next(events(one.live))
        assert first[0] >= market.live_ns
    market = recorded_market([SAMPLE], cache_dir=tmp_path, history_hours=1.0)
    exchange = Exchange(market, (), lambda: market.live_ns)
    pump = Pump(exchange, market.live_ns, market.live_ns, 1.0)
    while pump.run(market.live_ns + 60_000_000_000) == 0.0:
        pass
    assert pump.applied > 100
    bid, ask, _, _ = exchange.symbols["BTCUSDT"].book.touch()
    assert 0 < bid < ask


@pytest.mark.parametrize("hours", [0.0, 1000.0, float("nan")])
def test_history_out_of_range_is_refused(hours: float) -> None:
    with pytest.raises(TickgateError, match="--history-hours"):
        made(history_hours=hours)
