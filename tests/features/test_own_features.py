"""Own-state features: their ranges, what is not known, and that there is none outside of a run."""

import doctest
import importlib
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.events import Action
from engine.market import MARKET
from engine.own_state import OWN
from features.examples import example
from features.fuse import load_fused
from features.registry import Feature, catalogue, own_features, required_inputs, resolve_one
from features.spec import FeatureSpec

OWN_FEATURES = [entry for entry in catalogue() if entry.words.group == "own state"]
ALONE = [entry for entry in OWN_FEATURES if entry.inputs({})[:1] == ("own_state",)]
MONEY = st.floats(-1e15, 1e15)
CHANCES = st.tuples(*[st.floats(0.0, 1.0)] * 3).filter(lambda p: sum(p) > 0.0)


def value(entry: Feature, o: np.void) -> float:
    """Return what a feature that reads own state alone says."""
    found = entry.value.py_func(np.zeros(1, entry.state)[0], np.zeros(1, MARKET)[0], o)
    return float(found)


def test_they_are_these() -> None:
    assert {entry.name for entry in OWN_FEATURES} == {
        *("consecutive_losses", "correlation_exposure", "current_drawdown_pct"),
        *("expected_profit_after_fees", "exposure_room", "portfolio_heat", "position_pct"),
        *("signal_classifier_prob", "signal_confidence", "unrealised_pnl_pct"),
    }
    assert len(ALONE) == 8


@settings(max_examples=200, deadline=None)
@given(st.floats(1e-3, 1e15), MONEY, MONEY, st.floats(0.0, 1e15), CHANCES, st.sampled_from(Action))
def test_values_are_finite_and_in_range(equity, position, cost, risk, chances, action) -> None:
    o = np.zeros(1, OWN)[0]
    o["equity"], o["peak"] = equity, equity + risk
    o["position"], o["cost"], o["at_risk"] = position, cost, risk
    o["used"], o["limit"] = risk, risk + 1.0
    shares = [p / sum(chances) for p in chances]
    o["signal_sell"], o["signal_hold"], o["signal_buy"] = shares
    o["classifier_buy"], o["signal_action"] = shares[2], float(action)
    found = {entry.name: value(entry, o) for entry in ALONE}
    assert all(math.isfinite(x) for x in found.values())
    assert found["signal_confidence"] == shares[action]
    assert 0.0 <= found["current_drawdown_pct"] <= 100.0
    assert found["portfolio_heat"] >= 0.0
    assert found["exposure_room"] <= 1.0
    assert math.copysign(1.0, found["position_pct"]) == math.copysign(1.0, position)


@pytest.mark.parametrize("entry", ALONE, ids=lambda entry: entry.name)
def test_what_is_not_known_is_nan(entry: Feature) -> None:
    empty = np.zeros(1, OWN)[0]  # no money, no limit
    for name in ("signal_action", "signal_sell", "signal_hold", "signal_buy", "classifier_buy"):
        empty[name] = np.nan
    if entry.name == "consecutive_losses":  # a count is always known
        assert value(entry, empty) == 0.0
    else:
        assert math.isnan(value(entry, empty))


@pytest.mark.parametrize("entry", OWN_FEATURES, ids=lambda entry: entry.name)
def test_is_documented(entry: Feature) -> None:
    assert entry.words.doc.strip().splitlines()[0].endswith((".", ":"))
    assert doctest.testmod(importlib.import_module(entry.module)).failed == 0


def test_outside_of_a_run_there_is_no_own_state() -> None:
    both = FeatureSpec((("position_pct", {}), ("hour_sin", {})))
    assert own_features(both) == ("position_pct",)
    assert required_inputs(both) == {"bars"}
    module = load_fused([FeatureSpec((("position_pct", {}),))])
    fs, m, o = np.zeros(1, module.FEATURES), np.zeros(1, MARKET), np.zeros(1, OWN)
    o["equity"], o["position"] = 400.0, -100.0
    out = np.zeros(1, np.float32)
    assert module.read_0(fs[0], m[0], out) == 0
    assert np.isnan(out[0])
    m["own"] = o.ctypes.data
    assert module.read_0(fs[0], m[0], out) == 1
    assert out[0] == -25.0


def test_the_examples_of_the_catalogue_move() -> None:
    assert len(set(example(resolve_one("position_pct")))) == 3
