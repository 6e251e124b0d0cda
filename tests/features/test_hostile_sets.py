"""Every committed set on hostile data: no exception, nothing past the mask, whole again after."""

import numpy as np
import pytest

from engine.instruments import Instrument
from engine.row_arrays import join_rows, take_rows
from engine.rows import LAST, NS_PER_S, ROW, SNAPSHOT_START, Kind, bar_flags
from features.calculator import FeatureCalculator
from features.own_record import OWN_STATE
from features.registry import required_inputs, resolve
from features.spec import FeatureSpec
from tests.features.test_sets import SIZES, committed

MINUTE = 60 * NS_PER_S
START = 1_700_000_040 * NS_PER_S
ODD = [np.nan, np.inf, -np.inf, 0.0, -1.0, -37.63, 1e308, 1e200, 1e30, 1e-300, 5e-324]


def good(spec: FeatureSpec, n: int, seed: int, start: int) -> np.ndarray:
    """Draw plausible rows of the kinds that a set needs."""
    draw = np.random.default_rng(seed)
    rows = np.zeros(n, ROW)
    bars = required_inputs(spec) == {"bars"}
    step = MINUTE if bars else 50_000_000
    rows["ts_event"] = start + np.arange(n) * step
    rows["ts_recv"] = rows["ts_event"] + (MINUTE if bars else 0)
    rows["flags"] = LAST
    ticks = 10_000 + np.cumsum(draw.integers(-1, 2, n))
    if bars:
        rows["kind"], rows["flags"] = Kind.BAR, LAST | bar_flags(MINUTE)
        rows["f0"], rows["f3"] = np.concatenate([ticks[:1], ticks[:-1]]) / 100, ticks / 100
        rows["f1"] = np.maximum(rows["f0"], rows["f3"]) + draw.integers(0, 9, n) / 100
        rows["f2"] = np.minimum(rows["f0"], rows["f3"]) - draw.integers(0, 9, n) / 100
        rows["f4"] = draw.lognormal(0, 1, n)
        return rows
    kinds = [Kind.QUOTE, Kind.QUOTE, Kind.TRADE]
    kinds += [Kind.DEPTH] * 6 if "depth" in required_inputs(spec) else []
    rows["kind"] = draw.choice(kinds, n)
    rows["side"] = draw.choice([-1, 1], n)
    quote, depth = rows["kind"] == Kind.QUOTE, rows["kind"] == Kind.DEPTH
    rows["f0"] = ticks / 100
    rows["f1"] = draw.integers(1, 99, n) / 10
    rows["f1"][quote] = rows["f0"][quote] + draw.integers(1, 4, n)[quote] / 100
    for slot in ("f2", "f3"):
        rows[slot][quote] = draw.integers(1, 99, n)[quote] / 10
    away = np.where(rows["side"] > 0, -draw.integers(1, 14, n), draw.integers(1, 14, n))
    rows["i2"][depth] = (10_000 + away)[depth]
    rows["i2"][rows["kind"] == Kind.TRADE] = np.arange(n)[rows["kind"] == Kind.TRADE]
    if depth.any():
        rows["flags"][np.argmax(depth)] |= SNAPSHOT_START
    return rows


def spoilt(rows: np.ndarray, seed: int) -> np.ndarray:
    """Return the rows with odd values, gaps, one-sided, crossed and frozen stretches in them."""
    draw = np.random.default_rng(seed)
    bad = rows.copy()
    for slot in ("f0", "f1", "f2", "f3", "f4"):
        if slot != "f2" or (rows["kind"] != Kind.DEPTH).all():
            hit = draw.random(len(bad)) < 0.04
            bad[slot][hit] = draw.choice(ODD, int(hit.sum()))
    quotes = np.flatnonzero(bad["kind"] == Kind.QUOTE)
    crossed = quotes[draw.random(len(quotes)) < 0.05]
    bad["f0"][crossed], bad["f1"][crossed] = rows["f1"][crossed], rows["f0"][crossed]
    one_sided = quotes[draw.random(len(quotes)) < 0.05]
    bad["f1"][one_sided] = draw.choice([np.nan, 0.0], len(one_sided))
    depth = np.flatnonzero(bad["kind"] == Kind.DEPTH)
    swept = depth[draw.random(len(depth)) < 0.3]
    bad["f1"][swept] = 0.0
    wild = depth[draw.random(len(depth)) < 0.02]
    bad["i2"][wild] = draw.choice([0, -1, 1, 10_050, 1 << 40, (1 << 62)], len(wild))
    frozen = len(bad) // 2
    for slot in ("f0", "f1", "f2", "f3"):
        for kind in np.unique(bad["kind"]):
            at = np.flatnonzero(bad["kind"][frozen : frozen + 200] == kind) + frozen
            if kind != Kind.DEPTH and len(at):
                bad[slot][at] = rows[slot][at[0]]
    gap = take_rows(bad, draw.random(len(bad)) < 0.01)
    gap["kind"], gap["i2"] = Kind.GAP, draw.choice([1, 3], len(gap))
    every = join_rows([bad, gap])
    return take_rows(every, np.argsort(every["ts_recv"], kind="stable"))


def instrument_of(spec: FeatureSpec) -> Instrument:
    has = tuple(sorted(required_inputs(spec) | {"trade_sides"} - {"levels"}))
    interval = MINUTE if has == ("bars", "trade_sides") else 0
    kept = ("bars",) if interval else tuple(name for name in has if name != "bars")
    return Instrument(
        venue="test", symbol="ODDUSD", base="ODD", quote="USD", tick="0.01", lot="0.1",
        has=kept, bar_interval_ns=interval,
    )  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("name", SIZES)
def test_hostile_rows_neither_pass_the_mask_nor_stay(name: str) -> None:
    spec = committed(name)
    calculator = FeatureCalculator(spec, instrument_of(spec))
    x = np.zeros(len(spec), np.float32)
    # of one instrument alone, without a run
    market = [not {"peer_bars", *OWN_STATE} & set(entry.inputs) for entry in resolve(spec)]
    whole = 0
    bad = spoilt(good(spec, 3_000, seed=1, start=START), seed=2)
    for row in bad:
        calculator.on_tick(row)
        assert calculator.fill_feature_vector(x) == np.isfinite(x).all()
    # bars of ticks want a hundred minutes: a quote each fifty milliseconds is not enough of them
    after = good(spec, 4_000, seed=3, start=int(bad["ts_recv"][-1]) + MINUTE)
    if "bars" in required_inputs(spec):
        after["ts_event"] = after["ts_recv"] = after["ts_recv"][0] + np.arange(4_000) * 5 * NS_PER_S
        if required_inputs(spec) == {"bars"}:
            after = good(spec, 4_000, seed=3, start=int(bad["ts_recv"][-1]) + MINUTE)
    for row in after:
        calculator.on_tick(row)
        warm = calculator.fill_feature_vector(x)
        assert warm == np.isfinite(x).all()
        whole += np.isfinite(x[market]).all()
    assert whole > 500, np.array(spec.names)[~np.isfinite(x)]
