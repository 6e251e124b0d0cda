"""The loads are what published figures rest on, and both sides do the same work on them."""

import numpy as np
import pytest

from benchmarks import l2_rows, ticks
from benchmarks.bars import Figure
from benchmarks.peers_nautilus import TickFeatures
from benchmarks.tapes import depth_rows, tick_rows
from benchmarks.tick_features import TICK_SPEC
from engine.instruments import Instrument
from engine.rows import LAST, Kind
from features.batch import batch_features

EVENTS = 3000
BTC = Instrument(
    venue="bench",
    symbol="BTCUSDT",
    base="BTC",
    quote="USDT",
    tick="0.10",
    lot="0.001",
    has=("quotes", "quote_sizes", "trades", "trade_sides"),
)


def test_the_tick_stream_is_the_published_one() -> None:
    n, seed, known = ticks.KNOWN_DIGEST
    assert ticks.digest(ticks.generate(n, seed)).startswith(known)
    assert ticks.digest(ticks.generate(n, seed + 1))[:16] != known


def test_tick_rows_hold_every_event_once() -> None:
    load = ticks.generate(EVENTS)
    rows = tick_rows(load)
    assert np.array_equal(rows["ts_recv"], load["ts_ns"])
    trades = rows["kind"] == int(Kind.TRADE)
    assert trades.sum() == load["kind"].sum()
    assert np.array_equal(rows["f0"][trades], load["price"][trades])
    assert np.array_equal(rows["f3"][~trades], load["ask_size"][~trades])


def test_the_fused_tick_features_equal_the_peer_script_in_plain_python() -> None:
    load = ticks.generate(EVENTS)
    rows = tick_rows(load)
    mine = np.flatnonzero(load["inst"] == 0)
    block = batch_features(TICK_SPEC, rows[mine].copy(), instrument=BTC, after="packet")
    plain, x = TickFeatures(0.10), np.zeros((1, len(TICK_SPEC)), np.float32)
    for at, k in enumerate(mine):
        ts = int(load["ts_ns"][k])
        if load["kind"][k] == ticks.QUOTE:
            names = ("bid", "ask", "bid_size", "ask_size")
            plain.on_quote(ts, *(float(load[name][k]) for name in names))
        else:
            plain.on_trade(ts, float(load["size"][k]), float(load["side"][k]))
        plain.fill(x)
        assert np.array_equal(block.x[at], x[0]), f"event {k}"


def test_depth_rows_are_a_book_that_never_crosses() -> None:
    load = l2_rows.generate(20_000)
    rows = depth_rows(load)
    bids: dict[int, float] = {}
    asks: dict[int, float] = {}
    for at, row in enumerate(rows):
        if row["kind"] == int(Kind.DEPTH):
            side = bids if row["side"] > 0 else asks
            side[int(row["i2"])] = float(row["f1"])
            if row["f1"] == 0.0:
                del side[int(row["i2"])]
        if row["flags"] & LAST:
            assert max(bids) < min(asks), f"row {at}"
    assert rows["flags"][-1] & LAST


@pytest.mark.parametrize(("ratio", "at_least", "passed"), [(1.2, False, True), (1.2, True, False)])
def test_a_bar_says_whether_it_is_met(ratio: float, at_least: bool, passed: bool) -> None:
    figure = Figure("x", 1.2, 1.0, ratio, 1.5, "ns", at_least=at_least)
    assert figure.passed is passed
    assert figure.verdict.endswith("PASS" if passed else "MISS")
