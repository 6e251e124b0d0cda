"""Every feature on bars against an independent version, and TA-Lib where it has the indicator."""

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import talib

from features.registry import resolve_one
from references.registry import on_bars
from tests.features.harness import (
    MINUTE,
    START,
    bar_events,
    members,
    own_features,
    peer_closes,
    random_bars,
    worlds,
)

DATA = Path(__file__).resolve().parents[2] / ".." / "shared" / "data" / "bars"
PEERS = {
    "binance_BTCUSDT_1m_20200521_20200620.parquet": "binance_ETHUSDT_1m_20200521_20200620.parquet"
}
REFERENCES = on_bars()
SETS = {
    "binance_BTCUSDT_1m_20200521_20200620.parquet": 20_000,  # with ETH of the same minutes
    "binance_BTCUSDT_1m_20191015_20191215.parquet": 20_000,  # with holes
    "us_SPY_1m_201103.parquet": 17_577,  # cents, thin hours
    "bitfinex_ETHUSD_1m_201903_201906.parquet": 20_000,  # many minutes absent
}
ON_BARS = [f for f in own_features() if "bars" in f.inputs({**f.defaults, "mode": 0})]
MEMBERS = [(f, name, params) for f in ON_BARS for name, params in members(f)]


def synthetic(seed: int, n: int = 3000) -> dict[str, np.ndarray]:
    bars = random_bars(np.random.default_rng(seed), n)
    return {**bars, "ts_event": START + np.arange(n) * MINUTE}


def real(name: str, rows: int) -> dict[str, np.ndarray]:
    path = DATA / name
    if not path.exists():
        pytest.skip(f"no {name} beside the repository")
    table = pq.read_table(path).slice(0, rows)
    bars = {"ts_event": table["ts_ns"].to_numpy()}
    for wanted in ("open", "high", "low", "close", "volume"):
        bars[wanted] = table[wanted].to_numpy().astype(float)
    draw = np.random.default_rng(1)
    bars["buy"] = bars["volume"] * draw.random(len(bars["volume"]))
    bars["sell"] = bars["volume"] - bars["buy"]
    bars["peer"] = peer_closes(draw, bars["close"])
    if name in PEERS:
        other = pq.read_table(DATA / PEERS[name]).slice(0, rows)
        assert np.array_equal(other["ts_ns"].to_numpy(), bars["ts_event"])
        bars["peer"] = other["close"].to_numpy().astype(float)
    return bars


def compare(bars: dict[str, np.ndarray]) -> set[str]:
    """Hold every feature on bars against its reference; return the names that were compared."""
    events = bar_events(bars)
    compared = set()
    for world in worlds():
        found = world.fresh(events)
        for feature, name, params in MEMBERS:
            if (name, params) not in world.spec.features:
                continue
            wanted = REFERENCES[feature.name](bars, resolve_words(name, params))
            got = found[:, world.column[name]]
            scale = np.nanmax(np.abs(wanted))
            assert np.array_equal(np.isnan(got), np.isnan(wanted)), name
            np.testing.assert_allclose(got, wanted, rtol=1e-9, atol=1e-11 * scale, err_msg=name)
            compared.add(name)
    return compared


def resolve_words(name: str, params: dict) -> dict:
    """Return a member's parameters with words as words."""
    entry = resolve_one(name, params)
    words = entry.feature.choices
    return {k: words[k][v] if k in words else v for k, v in entry.params.items()}


@pytest.mark.parametrize("seed", [1, 2])
def test_equals_the_reference_on_synthetic_bars(seed: int) -> None:
    assert compare(synthetic(seed)) == {name for _, name, _ in MEMBERS}


def test_equals_the_reference_where_volumes_are_small_whole_numbers() -> None:
    """Bars end exactly with buckets of `vpin`: always where all are alike, else now and then."""
    bars = synthetic(3)
    draw = np.random.default_rng(3)
    bars["volume"] = np.where(np.arange(3000) < 1000, 7.0, draw.integers(0, 4, 3000))
    bars["buy"] = np.floor(bars["volume"] * draw.random(3000))
    bars["sell"] = bars["volume"] - bars["buy"]
    assert compare(bars) == {name for _, name, _ in MEMBERS}


@pytest.mark.parametrize("name", SETS)
def test_equals_the_reference_on_real_bars(name: str) -> None:
    assert compare(real(name, SETS[name])) == {name for _, name, _ in MEMBERS}


def test_every_feature_on_bars_has_a_reference() -> None:
    assert {f.name for f in ON_BARS} == set(REFERENCES)


def oracle(bars: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    high, low, close, volume = (bars[k] for k in ("high", "low", "close", "volume"))
    upper, middle, lower = talib.BBANDS(close, 20, 2.0, 2.0)
    fast_k, fast_d = talib.STOCHF(high, low, close, 14, 3)
    return {
        "price_vs_ema_9": close / talib.EMA(close, 9) - 1.0,
        "price_vs_sma_20": close / talib.SMA(close, 20) - 1.0,
        "price_vs_wma_20": close / talib.WMA(close, 20) - 1.0,
        "price_vs_kama_10": close / talib.KAMA(close, 10) - 1.0,
        "regression_slope_20": 100.0 * talib.LINEARREG_SLOPE(close, 20) / close,
        "williams_r_14": talib.WILLR(high, low, close, 14),
        "roc_10": talib.ROC(close, 10),
        "cci_20": talib.CCI(high, low, close, 20),
        "mfi_14": talib.MFI(high, low, close, volume, 14),
        "returns_1": talib.ROCP(close, 1),
        "momentum_10": talib.ROC(close, 10),
        "rsi_14": talib.RSI(close, 14),
        "macd_histogram": 100.0 * talib.MACD(close)[2] / close,
        "stoch_k": np.where(np.isnan(fast_k), talib.STOCHF(high, low, close, 14, 1)[0], fast_k),
        "stoch_d": fast_d,
        "atr_pct": talib.NATR(high, low, close, 14),
        "bb_position": (close - lower) / (upper - lower),
        "bb_width": (upper - lower) / middle,
        "adx_14": talib.ADX(high, low, close, 14),
        "di_plus": talib.PLUS_DI(high, low, close, 14),
        "di_minus": talib.MINUS_DI(high, low, close, 14),
        "volume_ratio": volume / talib.SMA(volume, 20),
        "volume_zscore": (volume - talib.SMA(volume, 20)) / talib.STDDEV(volume, 20),
    }


def test_equals_talib() -> None:
    bars = synthetic(3)
    world = worlds()[0]
    found = world.fresh(bar_events(bars))
    for name, wanted in oracle(bars).items():
        got = found[:, world.column[name]]
        assert np.array_equal(np.isnan(got), np.isnan(wanted)), name
        np.testing.assert_allclose(
            got, wanted, rtol=1e-9, atol=1e-9 * np.nanmax(np.abs(wanted)), err_msg=name
        )
