"""Checks on every registered feature, unasked: warm-up, NaN, truncation, reset, odd inputs."""

import doctest
import importlib
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from numba.core.runtime import _nrt_python, rtsys

from features.registry import Resolved
from tests.features.harness import (
    BAR,
    EVENT,
    MINUTE,
    QUOTE,
    START,
    World,
    bar_events,
    depth_events,
    every_spec,
    mixed_events,
    own_features,
    quote_events,
    random_bars,
    random_quotes,
    random_trades,
    resolved,
    trade_events,
    worlds,
)

ROOT = Path(__file__).resolve().parents[2]
SECOND = 1_000_000_000
PAIRS = resolved()
EACH = pytest.mark.parametrize(
    ("at", "entry"), PAIRS, ids=[f"{e.name}-{k}" for k, (_, e) in enumerate(PAIRS)]
)


def events_for(entry: Resolved, seed: int, n: int = 400) -> np.ndarray:
    """Draw events of the kind that the feature lives on."""
    draw = np.random.default_rng(seed)
    n_of, of = entry.warmup
    if of == "bars":
        return bar_events(random_bars(draw, n))
    if "levels" in entry.inputs:
        return depth_events(draw, n)
    if of == "trades":
        return trade_events(random_trades(draw, n))
    gaps = {"seconds": 4e7 * n_of, "milliseconds": 4e4 * n_of}.get(of, 5e6)
    return quote_events(random_quotes(draw, n, mean_ns=gaps))


def column(at: int, entry: Resolved, events: np.ndarray) -> np.ndarray:
    world = worlds()[at]
    return world.fresh(events)[:, world.column[entry.name]]


@EACH
def test_is_nan_until_warm_and_finite_from_then_on(at: int, entry: Resolved) -> None:
    events = events_for(entry, seed=1)
    found = column(at, entry, events)
    length = {"seconds": SECOND, "milliseconds": SECOND // 1000}.get(entry.warmup.of)
    if length is not None:
        first = int(np.argmax(events["ts"] - events["ts"][0] >= entry.warmup.n * length))
    else:
        first = entry.warmup.n - 1
    assert first < len(found) - 100
    assert np.isnan(found[:first]).all()
    assert np.isfinite(found[first:]).all()


@EACH
def test_moves(at: int, entry: Resolved) -> None:
    mixed = entry.warmup.of != "bars" and "levels" not in entry.inputs
    events = mixed_events(2) if mixed else events_for(entry, seed=2, n=3000)
    found = column(at, entry, events)
    assert len(np.unique(found[np.isfinite(found)])) > 1


@pytest.mark.parametrize("seed", range(6))
def test_nothing_after_a_row_changes_its_values(seed: int) -> None:
    draw = np.random.default_rng(100 + seed)
    events = mixed_events(seed)
    cut = int(draw.integers(10, len(events) - 10))
    other = np.concatenate([events[:cut], mixed_events(seed + 50)])
    for world in worlds():
        whole, cut_off, changed = (world.fresh(e)[:cut] for e in (events, events[:cut], other))
        assert whole.tobytes() == cut_off.tobytes()
        assert whole.tobytes() == changed.tobytes()


def test_grouping_of_rows_does_not_matter() -> None:
    events = mixed_events(7)
    for world in worlds():
        whole = world.fresh(events)
        world.restart()
        parts = [world.run(np.ascontiguousarray(events[at : at + 7])) for at in
                 range(0, len(events), 7)]  # fmt: skip
        assert np.concatenate(parts).tobytes() == whole.tobytes()


def test_start_forgets_whatever_the_memory_held() -> None:
    events = mixed_events(8)
    for world in worlds():
        clean = world.fresh(events)
        raw = world.features.view(np.uint8)
        raw[:] = np.random.default_rng(9).integers(0, 256, raw.shape)
        assert world.fresh(events).tobytes() == clean.tobytes()
        assert world.fresh(events).tobytes() == clean.tobytes()


BAD = [np.nan, np.inf, -np.inf, 1e200]
VOLUMES = (
    *("volume_ratio", "volume_zscore", "trade_imbalance", "signed_volume", "vpin"),
    *("mfi", "obv", "vwap_distance", "amihud"),
)


@pytest.mark.parametrize("bad", BAD)
def test_a_bar_with_a_broken_price_is_passed_over(bad: float) -> None:
    events = bar_events(random_bars(np.random.default_rng(10), 300))
    broken = events[100:101].copy()
    broken["b"] = bad
    with_it = np.concatenate([events[:100], broken, broken, events[100:]])
    # the clocks and these volume features use what is good in the bar; they are checked below
    skip = ("hour", "dow", "minutes", "volume_", "trade_imbalance", "signed_volume", "vpin")
    for world in worlds():
        a, b = world.fresh(events), np.delete(world.fresh(with_it), [100, 101], axis=0)
        for name, k in world.column.items():
            if not name.startswith(skip):
                assert np.array_equal(a[:, k], b[:, k], equal_nan=True), name


@pytest.mark.parametrize("bad", [*BAD, -1.0])
def test_a_broken_volume_touches_volume_features_only(bad: float) -> None:
    events = bar_events(random_bars(np.random.default_rng(11), 400))
    broken = events.copy()
    for slot in "efg":
        broken[slot][150] = bad
    for world in worlds():
        a, b = world.fresh(events), world.fresh(broken)
        for name, k in world.column.items():
            if name.startswith(VOLUMES):
                assert np.isfinite(b[200:, k]).all(), name
            else:
                assert np.array_equal(a[:, k], b[:, k], equal_nan=True), name


def odd_bars(kind: str) -> dict[str, np.ndarray]:
    """Make bars that break careless arithmetic."""
    n = 400
    draw = np.random.default_rng(12)
    bars = random_bars(draw, n)
    flat = dict.fromkeys(("open", "high", "low", "close"), np.full(n, 0.1))
    peer = {"peer": bars["peer"]}
    none = np.zeros(n)
    if kind == "flat":
        volumes = {"volume": np.full(n, 0.3), "buy": np.full(n, 0.1), "sell": np.full(n, 0.2)}
        return {**peer, **flat, **volumes}
    if kind == "dead":
        return {**peer, **flat, "volume": none, "buy": none, "sell": none}
    if kind == "zero":
        return {**peer, **dict.fromkeys(flat, none), "volume": none, "buy": none, "sell": none}
    if kind == "negative":
        return {k: v - 100.37 if k in flat else v for k, v in bars.items()}
    if kind == "huge":
        return {k: v * 1e80 for k, v in bars.items()}
    if kind == "tiny":
        return {k: v * 1e-300 for k, v in bars.items()}
    if kind == "subnormal":
        return {k: v * 5e-324 * 1000 for k, v in bars.items()}
    assert kind == "one spike"
    for name in ("high", "close"):
        bars[name][200] *= 1e30
    bars["volume"][200], bars["buy"][200] = 1e30, 1e30
    return bars


ODD = ["flat", "dead", "zero", "negative", "huge", "tiny", "subnormal", "one spike"]


@pytest.mark.parametrize("kind", ODD)
def test_odd_bars_give_finite_values(kind: str) -> None:
    events = bar_events(odd_bars(kind))
    for at, entry in PAIRS:
        if entry.warmup.of == "bars":
            found = column(at, entry, events)
            assert np.isfinite(found[entry.warmup.n - 1 :]).all(), entry.name
            assert np.isnan(found[: entry.warmup.n - 1]).all(), entry.name


FLAT = {
    "price_vs_ema_9": 0.0, "ema_alignment": 0.0, "consecutive_above_ema": 0.0, "returns_1": 0.0,
    "rsi_14": 50.0, "macd_histogram": 0.0, "stoch_k": 50.0, "stoch_d": 50.0, "momentum_10": 0.0,
    "atr_pct": 0.0, "bb_position": 0.5, "bb_width": 0.0, "adx_14": 0.0, "di_plus": 0.0,
    "di_minus": 0.0, "volume_ratio": 1.0, "volume_zscore": 0.0, "trade_imbalance": 0.0, "vpin": 0.0,
}  # fmt: skip


@pytest.mark.parametrize("kind", ["flat", "dead", "zero"])
def test_a_market_that_stands_still_gives_the_stated_values(kind: str) -> None:
    world = worlds()[0]
    bars = odd_bars(kind)
    if kind == "flat":
        bars["buy"] = bars["sell"]
    last = world.fresh(bar_events(bars))[-1]
    for name, wanted in FLAT.items():
        assert last[world.column[name]] == wanted, name


@pytest.mark.parametrize("factor", [1e-320, 1e-300, 1.0, 1e80])
def test_odd_quotes_give_finite_values(factor: float) -> None:
    quotes = random_quotes(np.random.default_rng(13), 4000, mean_ns=2e7)
    for name in ("bid", "ask", "bid_size", "ask_size"):
        quotes[name] = quotes[name] * factor
    events = quote_events(quotes)
    for at, entry in PAIRS:
        if {"quotes", "trades"} & set(entry.inputs) and entry.warmup.of != "bars":
            found = column(at, entry, events)[-500:]
            assert np.isfinite(found).all() or entry.inputs == ("trades",), entry.name


def test_sizes_of_zero_give_zero_imbalance() -> None:
    quotes = random_quotes(np.random.default_rng(14), 1000, mean_ns=2e7)
    quotes["bid_size"] = quotes["ask_size"] = np.zeros(1000)
    world = worlds()[0]
    last = world.fresh(quote_events(quotes))[-1]
    for name in ("book_imbalance", "microprice", "order_flow_imbalance_1s"):
        assert last[world.column[name]] == 0.0


def test_a_market_that_falls_silent_leaves_no_subnormal_numbers() -> None:
    lively = mixed_events(15)
    n = 40_000
    still = np.zeros(n, EVENT)
    still["kind"] = np.where(np.arange(n) % 2 == 0, BAR, QUOTE)
    still["ts"] = lively["ts"][-1] + MINUTE * (1 + np.arange(n))
    bar = still["kind"] == BAR
    for slot, price in zip("abcd", (1e-3, 1e-3, 1e-3, 1e-3)):
        still[slot] = np.where(bar, price, 1.0)
    still["b"][~bar] = 1.0
    for world in worlds():
        world.fresh(lively)
        found = world.run(still)
        words = world.features.view(np.float64).ravel()
        halves = np.concatenate([words, found[-1]])
        tiny = np.abs(halves)
        assert not ((tiny > 0.0) & (tiny < np.finfo(float).tiny) & floats_of(world)).any()
        assert np.isfinite(found[-1]).all()
        if "keltner_position" in world.column:  # bands that fade away are no measure
            assert np.abs(found[:, world.column["keltner_position"]]).max() < 100.0


def floats_of(world: World) -> np.ndarray:
    """Mark the words of a state record that are float64, then the values."""
    marks = np.zeros(world.features.dtype.itemsize, bool)

    def walk(dtype: np.dtype, at: int) -> None:
        if dtype.subdtype is not None:
            base, shape = dtype.subdtype
            for k in range(int(np.prod(shape))):
                walk(base, at + k * base.itemsize)
        elif dtype.names is not None:
            for name in dtype.names:
                inner, offset = dtype.fields[name][:2]
                walk(inner, at + offset)
        elif dtype == np.float64:
            marks[at] = True

    walk(world.features.dtype, 0)
    return np.concatenate([marks[::8], np.ones(len(world.spec), bool)])


def test_gaps_in_time_give_finite_values() -> None:
    draw = np.random.default_rng(16)
    events = mixed_events(17)
    jumps = np.cumsum(np.where(draw.random(len(events)) < 0.01, 86_400 * SECOND, 0))
    events["ts"] += jumps
    for world in worlds():
        found = world.fresh(events)
        late = events["ts"] - START > 2 * 86_400 * SECOND
        for name, k in world.column.items():
            values = found[late, k]
            assert not np.isinf(values).any(), name
            first = int(np.argmax(np.isfinite(values)))
            assert np.isfinite(values[first:]).all(), name


def test_steps_and_values_allocate_nothing() -> None:
    events = mixed_events(18)
    _nrt_python.memsys_enable_stats()
    for world in worlds():
        out = np.empty((len(events), len(world.spec)))
        world.fresh(events)
        before = rtsys.get_allocation_stats()
        world.run(events, out)
        after = rtsys.get_allocation_stats()
        assert after == before


HOSTILE = [np.nan, np.inf, -np.inf, 0.0, -1.0, 1e200, 1e30, 1e-300, 5e-324]


@pytest.mark.parametrize("seed", range(3))
def test_hostile_values_neither_pass_the_mask_nor_stay(seed: int) -> None:
    """Any field may hold anything: NaN shows in the mask, and good data makes all whole again."""
    draw = np.random.default_rng(200 + seed)
    events = mixed_events(seed + 30, n=3000)
    for name in "abcdefg":
        hit = draw.random(len(events)) < 0.03
        events[name][hit] = draw.choice(HOSTILE, int(hit.sum()))
    for side in ("bids", "asks"):
        events[side][draw.random(events[side].shape) < 0.03] = draw.choice([np.nan, 1e200, 0.0])
        events[side][draw.random(len(events)) < 0.02] = 0.0  # nothing on this side
    good = mixed_events(seed + 60, n=4000)
    good["ts"] += events["ts"][-1] - good["ts"][0]
    for world in worlds():
        world.restart()
        for at in range(0, len(events), 97):
            world.run(np.ascontiguousarray(events[at : at + 97]))
            row, whole = world.row()
            assert whole == np.isfinite(row).all()
        world.run(good)
        row, whole = world.row()
        assert whole, np.array(world.spec.names)[~np.isfinite(row)]


def test_ranges_hold_where_they_are_strict() -> None:
    bounds = {"0 to 100": (0.0, 100.0), "-1 to 1": (-1.0, 1.0), "0 to 1": (0.0, 1.0)}
    events = mixed_events(19, n=8000)
    for at, entry in PAIRS:
        low, high = bounds.get(entry.feature.words.range, (-np.inf, np.inf))
        found = column(at, entry, events)
        found = found[np.isfinite(found)]
        assert ((found >= low - 1e-9) & (found <= high + 1e-9)).all(), entry.name


@pytest.mark.parametrize("feature", own_features(), ids=lambda f: f.name)
def test_is_documented(feature) -> None:  # type: ignore[no-untyped-def]
    first = feature.words.doc.strip().splitlines()[0]
    assert first.endswith((".", ":"))
    assert len(feature.words.doc) > 40
    assert feature.words.source
    module = importlib.import_module(feature.module)
    assert doctest.testmod(module).failed == 0


SCRIPT = """
import numpy as np, sys
from tests.features.harness import every_spec, mixed_events
from features.fuse import fused_source
from engine.market import MARKET
from tests.features.harness import values_source
from tests.features.market_step import market_step, peer_step
spec = every_spec()[0]
source = fused_source([spec])
scope = {}
exec(compile(source + values_source(source, len(spec)), "fused", "exec"), scope)
fs, m = np.zeros(1, scope["FEATURES"])[0], np.zeros(1, MARKET)[0]
scope["init"](fs)
events = mixed_events(20)
out = np.zeros((len(events), len(spec)))
with np.errstate(all="ignore"):
    for e, row in zip(events, out):
        if peer_step(m, e):
            scope["on_peer_bar"](fs, m)
        step = ("", "on_bar", "on_quote", "on_trade", "on_depth")[market_step(m, e)]
        scope[step](fs, m)
        scope["values"](fs, m, row)
sys.stdout.buffer.write(out.tobytes())
"""


def test_runs_the_same_without_the_compiler() -> None:
    """The debugger and coverage see the same numbers, but for last bits of LLVM's own."""
    env = {**os.environ, "NUMBA_DISABLE_JIT": "1"}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], cwd=ROOT, env=env, capture_output=True, check=True
    )
    plain = np.frombuffer(done.stdout).reshape(-1, len(every_spec()[0]))
    compiled = worlds()[0].fresh(mixed_events(20))
    np.testing.assert_allclose(plain, compiled, rtol=1e-12, atol=1e-13)
    assert np.isfinite(plain[-1]).sum() > 30
