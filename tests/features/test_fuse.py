"""The fused module: plain source, shared state, one hash for everything it is made of."""

import numpy as np
import pytest

from engine.market import MARKET
from features.fuse import bound_source, dtype_source, fused_source, load_fused, part_modules
from features.registry import resolve
from features.spec import FeatureSpec
from tests.features.harness import World, bar_events, random_bars

ONE = FeatureSpec((("rsi_14", {}), ("bid_ask_spread", {}), ("trade_imbalance", {"mode": "bulk"})))
TWO = FeatureSpec((("trade_imbalance", {}), ("rsi_14", {}), ("rsi_7", {})))


def test_the_same_feature_has_one_state_and_other_parameters_another() -> None:
    source = fused_source([ONE, TWO])
    module = load_fused([ONE, TWO])
    assert module.FEATURES.names == (
        "stateless", "rsi_14", "trade_imbalance", "trade_imbalance__2", "rsi_7",
    )  # fmt: skip
    assert source.count("rsi_on_bar(fs['rsi_14'], m)") == 1
    assert module.SPECS == (3, 3)
    assert not module.READS_LEVELS


def test_two_specs_give_what_each_gives_alone() -> None:
    module = load_fused([ONE, TWO])
    events = bar_events(random_bars(np.random.default_rng(1), 120))
    alone = [World(spec, folder=None).fresh(events)[-1] for spec in (ONE, TWO)]
    fs, m = np.zeros(1, module.FEATURES), np.zeros(1, MARKET)
    module.init(fs[0])
    for e in events:
        for slot, name in zip(
            "abcdefg", "open high low close volume buy_volume sell_volume".split()
        ):
            m[f"bar_{name}"] = e[slot]
        module.on_bar(fs[0], m[0])
    for k, wanted in enumerate(alone):
        out = np.full(4, 7.0, np.float32)
        whole = module.read(k, fs[0], m[0], out[:3])
        np.testing.assert_array_equal(out[:3], wanted.astype(np.float32))
        assert whole == int(np.isfinite(wanted).all())
        assert out[3] == 7.0
    assert module.read(2, fs[0], m[0], np.zeros(3, np.float32)) == 0


def test_the_source_is_the_same_each_time_and_changes_with_every_part(monkeypatch) -> None:  # type: ignore[no-untyped-def]
    source = fused_source([ONE])
    assert fused_source([ONE]) == source
    other = FeatureSpec((*ONE.features[:2], ("trade_imbalance", {"mode": "bulk", "span": 6})))
    assert fused_source([other]) != source
    monkeypatch.setattr("numba.__version__", "0.0.1")
    assert fused_source([ONE]) != source


def test_helpers_are_parts() -> None:
    assert part_modules(resolve(ONE)) == (
        "features.bid_ask_spread", "features.bulk_volume", "features.ring", "features.rsi",
        "features.smoothing", "features.step", "features.trade_imbalance",
    )  # fmt: skip


def test_a_layout_written_as_source_is_the_same_layout() -> None:
    for entry in resolve(TWO):
        assert eval(dtype_source(entry.state), {"np": np}) == entry.state


def test_a_torn_cache_is_dropped_and_compiled_again(tmp_path) -> None:  # type: ignore[no-untyped-def]
    spec = FeatureSpec((("bid_ask_spread", {}),))
    tail = "@njit('int64(int64)', cache=CACHE)\ndef double(x):\n    return 2 * x\n"
    assert load_fused([spec], tmp_path, tail).double(4) == 8
    (index,) = (tmp_path / "__pycache__").glob("*.nbi")
    index.write_bytes(index.read_bytes()[:20])
    assert load_fused([spec], tmp_path, tail).double(4) == 8
    assert not list(tmp_path.glob("*.tmp"))


def test_embedding_binds_the_calls_of_features() -> None:
    source = bound_source("engine.kernel.apply", ("engine.kernel.apply",))
    assert "fused.on_" not in source
    assert "on_quote(features_at(root, instrument), m)" in source


@pytest.mark.parametrize("value", [1e39, -1e39, np.nan])
def test_a_row_with_what_float32_cannot_hold_is_not_whole(value: float) -> None:
    module = load_fused([FeatureSpec((("bid_ask_spread", {}),))])
    fs, m, out = np.zeros(1, module.FEATURES), np.zeros(1, MARKET), np.zeros(1, np.float32)
    m["quote_count"], m["mid"], m["bid"], m["ask"] = 1, 1.0, 0.0, value
    assert module.read_0(fs[0], m[0], out) == 0
    assert not np.isfinite(out[0])
