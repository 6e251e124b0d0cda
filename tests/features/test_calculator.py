"""Row by row equals batch bit for bit, bars are the engine's, and a row costs no allocation."""

import gc
import sys
from pathlib import Path

import numpy as np
import pytest
from numba.core.runtime import _nrt_python, rtsys

from engine.errors import UsageError
from engine.instruments import Instrument
from engine.rows import LAST, ROW_BYTES, Kind
from features.batch import bar_rows, batch_features, merge_rows, quote_rows, trade_rows
from features.calculator import FeatureCalculator
from features.spec import FeatureSpec, parse_spec
from tests.features.harness import MINUTE, START, random_bars, random_quotes

ROOT = Path(__file__).resolve().parents[2]
BARS = ("5m", "15m", "ticks:5", "ticks:10", "volume:2", "dollar:300")
SPEC = FeatureSpec(
    tuple(
        (name, {})
        for name in "rsi_14 returns_5 microprice mid_price_velocity_1s order_flow_imbalance_1s "
        "trade_flow_imbalance_5s trade_imbalance hour_sin mid_vs_ema_20 returns_1".split()
    )
    + tuple(("returns_1", {"bar": bar}) for bar in BARS)
    + (("hour_sin", {"bar": "15m"}),)
)
BOTH = Instrument(
    venue="test", symbol="AUSD", base="A", quote="USD", tick="0.01", lot="0.01",
    has=("quotes", "quote_sizes", "trades", "trade_sides"),
)  # fmt: skip


def tape(seed: int, n: int = 20_000) -> np.ndarray:
    draw = np.random.default_rng(seed)
    quotes = random_quotes(draw, n, mean_ns=3e8)
    rows = quote_rows({**quotes, "ts_event": quotes["ts"]})
    at = np.sort(draw.integers(0, n, n // 3))
    trades = trade_rows({
        "ts_event": quotes["ts"][at], "price": quotes["bid"][at],
        "size": draw.integers(1, 99, len(at)) / 10.0, "side": draw.choice([-1, 1], len(at)),
    })  # fmt: skip
    rows = merge_rows(rows, trades)
    rows["f1"][7] = rows["f0"][7] - 1.0  # a crossed quote or a print of no size
    gap = rows[5000:5001]
    gap["kind"], gap["flags"], gap["i2"] = Kind.GAP, LAST, 0
    return rows


@pytest.mark.parametrize("after", ["packet", "quote", "trade"])
def test_row_by_row_equals_batch_bit_for_bit(after: str) -> None:
    rows = tape(1)
    block = batch_features(SPEC, rows, instrument=BOTH, after=after)
    one = FeatureCalculator(SPEC, BOTH)
    x = np.zeros(len(SPEC), np.float32)
    wanted = dict(zip(block.row.tolist(), range(len(block.row))))
    assert len(wanted) == len(block.row) > 5000
    assert block.valid.sum() > 1000
    for k in range(len(rows)):
        one.on_tick(rows[k] if k % 100 == 0 else rows.ctypes.data + ROW_BYTES * k)
        if k in wanted:
            valid = one.fill_feature_vector(x)
            assert x.tobytes() == block.x[wanted[k]].tobytes(), k
            assert valid == block.valid[wanted[k]]
            assert block.ts[wanted[k]] == one.market["ts"]


def test_bars_made_from_trades_are_those_of_the_data() -> None:
    """Trades at open, high, low and close of each minute give the minute's bar back."""
    n = 200
    bars = random_bars(np.random.default_rng(2), n)
    spec = parse_spec((ROOT / "config/features/signal_classifier_28.json").read_bytes())
    opened = START + np.arange(n) * MINUTE
    names = ("open", "high", "low", "close")
    volume = np.round(bars["volume"], 2) + 0.04
    prints = trade_rows({
        "ts_event": np.concatenate([opened + k * MINUTE // 4 for k in range(4)]),
        "price": np.concatenate([bars[name] for name in names]),
        "size": np.tile(volume / 4.0, 4), "side": np.ones(4 * n, np.int8),
    })  # fmt: skip
    prints = merge_rows(prints)
    from_trades = batch_features(spec, prints, instrument=BOTH, after="bar")
    rows = bar_rows({**bars, "volume": volume, "ts_event": opened})
    from_bars = batch_features(spec, rows)
    assert len(from_bars.x) == n
    assert len(from_trades.x) == n - 1  # the last minute is still open
    np.testing.assert_allclose(from_trades.x, from_bars.x[:-1], rtol=2e-6, atol=1e-7)
    assert from_bars.valid.sum() == n - 100
    assert (from_bars.ts[1:] - from_bars.ts[:-1] == MINUTE).all()


def test_room_for_the_result_does_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = tape(3, 4000)
    whole = batch_features(SPEC, rows, instrument=BOTH, after="packet")
    monkeypatch.setattr("features.batch.CHUNK", 37)
    parts = batch_features(SPEC, rows, instrument=BOTH, after="packet")
    for a, b in zip(whole, parts):
        assert a.tobytes() == b.tobytes()


def test_reset_starts_anew() -> None:
    rows = tape(4, 3000)
    f = FeatureCalculator(SPEC, BOTH)
    x = np.zeros(len(SPEC), np.float32)
    for row in rows:
        f.on_tick(row)
    f.fill_feature_vector(x)
    assert np.isfinite(x[4])
    f.reset()
    assert not f.fill_feature_vector(x)
    assert np.isnan(x[4])


def test_a_row_from_python_allocates_nothing() -> None:
    rows = tape(5, 20_000)
    f = FeatureCalculator(SPEC, BOTH)
    x = np.zeros(len(SPEC), np.float32)
    first, last = rows.ctypes.data, rows.ctypes.data + ROW_BYTES * (len(rows) - 1)

    def go() -> None:
        on_tick, fill = f.on_tick, f.fill_feature_vector
        for address in range(first, last, ROW_BYTES):
            on_tick(address)
            fill(x)

    _nrt_python.memsys_enable_stats()
    go()
    gc.collect()
    gc.disable()
    try:
        nrt, blocks = rtsys.get_allocation_stats(), sys.getallocatedblocks()
        go()
        grown = sys.getallocatedblocks() - blocks
        assert rtsys.get_allocation_stats() == nrt
    finally:
        gc.enable()
    assert grown < 50  # of more than 25,000 rows


def test_borders_are_checked() -> None:
    f = FeatureCalculator(SPEC, BOTH)
    with pytest.raises(AssertionError):
        f.fill_feature_vector(np.zeros(len(SPEC)))
    with pytest.raises(AssertionError):
        f.fill_feature_vector(np.zeros(2 * len(SPEC), np.float32)[::2])
    with pytest.raises(AssertionError):
        f.on_tick(np.zeros(1, "i8"))
    with pytest.raises(UsageError, match="allowed: quote, trade, bar"):
        batch_features(SPEC, tape(1, 10), after="minute")
    with pytest.raises(UsageError, match="bar_interval_s is 7"):
        FeatureCalculator(SPEC, BOTH, bar_interval_s=7)
