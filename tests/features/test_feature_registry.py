"""The catalogue: names, families, parameters, and what a spec needs of the data."""

import subprocess
import sys
from pathlib import Path

import pytest

from engine.errors import ConfigError
from features.registry import (
    absent_features,
    catalogue,
    feature,
    lookup,
    quotes,
    reads_levels,
    required_inputs,
    resolve,
    resolve_one,
    warmup_of,
)
from features.spec import FeatureSpec, parse_spec
from tests.features.harness import own_features

ROOT = Path(__file__).resolve().parents[2]
PROMISED = (
    "price_vs_ema_9 price_vs_ema_21 price_vs_ema_50 ema_alignment consecutive_above_ema returns_1 "
    "returns_5 returns_20 rsi_14 rsi_7 macd_histogram stoch_k stoch_d momentum_10 atr_pct "
    "bb_position bb_width adx_14 di_plus di_minus volume_ratio volume_zscore trade_imbalance vpin "
    "hour_sin hour_cos dow_sin dow_cos"
).split()
TICKS = "bid_ask_spread mid_price_velocity_1s microprice order_flow_imbalance_1s book_imbalance"


def spec(*names: str) -> FeatureSpec:
    return FeatureSpec(tuple((name, {}) for name in names))


def test_the_promised_names_exist() -> None:
    for name in [*PROMISED, *TICKS.split()]:
        assert resolve_one(name).name == name


def committed(name: str) -> FeatureSpec:
    return parse_spec((ROOT / "config" / "features" / name).read_bytes(), name)


def test_the_committed_specs_resolve_and_need_what_they_say() -> None:
    classifier = committed("signal_classifier_28.json")
    assert classifier.names == tuple(PROMISED)
    assert required_inputs(classifier) == {"bars"}
    assert absent_features(classifier, {"trades"}) == {}
    assert absent_features(classifier, {"quotes"}) == {}
    assert required_inputs(committed("tick_mlp.json")) == {
        "quotes", "quote_sizes", "trades", "trade_sides",
    }  # fmt: skip
    assert required_inputs(committed("tick_quotes.json")) == {"quotes"}


def test_absent_inputs_are_named_by_feature() -> None:
    wanted = spec("microprice", "bid_ask_spread", "book_imbalance_5", "rsi_14")
    assert absent_features(wanted, {"quotes"}) == {
        "microprice": ("quote_sizes",),
        "book_imbalance_5": ("levels",),
    }
    assert absent_features(wanted, {"depth"}) == {}
    assert required_inputs(wanted) == {"quotes", "quote_sizes", "depth", "bars"}
    assert absent_features(spec("microprice"), {"bars"}) == {
        "microprice": ("quotes", "quote_sizes")
    }


def test_bars_of_the_data_do_not_know_the_aggressor() -> None:
    everything = {"bars", "trades", "trade_sides"}
    assert absent_features(spec("vpin"), everything) == {"vpin": ("trade_sides",)}
    assert absent_features(spec("vpin"), {"trades", "trade_sides"}) == {}
    assert absent_features(FeatureSpec((("vpin", {"mode": "bulk"}),)), {"bars"}) == {}


def test_inputs_and_warm_up_follow_the_parameters() -> None:
    bulk = FeatureSpec((("trade_imbalance", {"mode": "bulk", "span": 3}),))
    assert required_inputs(bulk) == {"bars"}
    assert required_inputs(spec("trade_imbalance")) == {"bars", "trades", "trade_sides"}
    assert warmup_of(bulk) == {"bars": 53}
    assert warmup_of(spec("rsi_14", "returns_20", "mid_vs_ema_50")) == {"bars": 21, "quotes": 50}
    assert not reads_levels([spec("microprice")])
    assert reads_levels([spec("microprice"), spec("book_imbalance_3")])


@pytest.mark.parametrize(
    ("name", "params", "words"),
    [
        ("rsi14", {}, "unknown feature 'rsi14'; nearest: rsi_{span}"),
        ("rsi_0", {}, "unknown feature"),
        ("rsi_014", {}, "unknown feature"),
        ("rsi_99999", {}, "allowed: 1 to 10000"),
        ("rsi_14", {"span": 14}, "span stands in the name"),
        ("vpin", {"modus": "bulk"}, "unknown parameter 'modus'; known: mode"),
        ("vpin", {"mode": "bars"}, "allowed: trades, bulk"),
        ("vpin", {"mode": 1}, "allowed: trades, bulk"),
        ("vpin", {"buckets": 2.5}, "a whole number is wanted"),
        ("vpin", {"buckets": "2"}, "a number is wanted"),
        ("vpin", {"bucket_bars": 0.0}, "allowed: 0.1 to 100.0"),
        ("bb_width", {"width": float("nan")}, "allowed: 0.01 to 100.0"),
        ("macd_histogram", {"fast": 30}, "fast must be at most slow"),
        ("book_imbalance_11", {}, "allowed: 1 to 10"),
    ],
)
def test_wrong_entries_are_refused_in_one_helping_line(name: str, params: dict, words: str) -> None:
    with pytest.raises(ConfigError) as error:
        resolve_one(name, params)
    assert words in str(error.value)
    assert "\n" not in str(error.value)


def test_a_spec_may_not_name_a_feature_twice() -> None:
    with pytest.raises(ConfigError, match="'rsi_14' stands in the list twice"):
        resolve(spec("rsi_14", "rsi_7", "rsi_14"))


def test_names_are_unique_and_each_member_has_one_meaning() -> None:
    names = [entry.name for entry in own_features()]
    assert len(set(names)) == len(names)
    for entry in own_features():
        member = entry.name.format(**entry.defaults)
        assert lookup(member)[0] is entry
        matching = [other for other in own_features() if other.match(member) is not None]
        assert matching == [entry]


def test_registration_refuses_what_is_not_whole() -> None:
    def value(s: object, m: object) -> float:
        return 0.0

    words = {"unit": "u", "range": "r", "source": "s"}
    with pytest.raises(ValueError, match="twice"):
        feature("stoch_k", value=value, warmup=quotes(1), **words)
    with pytest.raises(ValueError, match="state and init"):
        feature("some_new_one", value=value, init=value, warmup=quotes(1), **words)
    with pytest.raises(ValueError, match="defaults lack"):
        feature("some_new_{span}", value=value, warmup=quotes(1), **words)
    with pytest.raises(ValueError, match="must be given"):
        feature("some_new_one", value=value, warmup=quotes(1), **{**words, "unit": ""})
    assert "some_new_one" not in {entry.name for entry in catalogue()}


def test_the_catalogue_does_not_depend_on_what_was_imported_before() -> None:
    script = "{}from features.registry import catalogue; print([f.name for f in catalogue()])"
    outputs = {
        subprocess.run(
            [sys.executable, "-c", script.format(first)],
            cwd=ROOT, capture_output=True, text=True, check=True,
        ).stdout
        for first in ("", "import features.vpin, features.adx; ")
    }  # fmt: skip
    assert len(outputs) == 1
