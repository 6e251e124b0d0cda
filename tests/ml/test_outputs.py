"""Every kind of output becomes advice by its declared schema; what is no number is HOLD."""

import math
from types import SimpleNamespace
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.events import Action, HoldReason
from engine.kernel import chances
from engine.kernel.output_layout import OutputKind
from ml.manifest import ACTIONS8, OutputSchema, check_output
from ml.outputs import SUM_TOLERANCE, advise, signal
from ml.refusal import ModelRefused

BUY, HOLD, SELL = Action.BUY, Action.HOLD, Action.SELL
LEVELS = (0.1, 0.5, 0.9)
SCHEMAS = {
    "classifier3": OutputSchema(name="p", kind="classifier3", classes=("BUY", "HOLD", "SELL")),
    "binary": OutputSchema(name="p", kind="binary", classes=("UP",)),
    "regressor": OutputSchema(
        name="r", kind="regressor", classes=("VALUE",), dead_band=0.001, scale=0.01
    ),
    "quantiles": OutputSchema(
        name="q",
        kind="quantiles",
        classes=tuple(f"{h}_{q}" for h in ("1m", "5m") for q in LEVELS),
        horizons=("1m", "5m"),
        levels=LEVELS,
        act_on="5m",
        dead_band=0.5,
    ),
    "size": OutputSchema(name="s", kind="size", classes=("SIZE",)),
    "action": OutputSchema(name="a", kind="action", classes=("ACTION",), dead_band=0.1),
    "discrete8": OutputSchema(name="d", kind="discrete8", classes=ACTIONS8),
}


def test_every_schema_is_sound():
    for schema in SCHEMAS.values():
        check_output(schema, "x")


@pytest.mark.parametrize(
    ("kind", "y", "action", "confidence", "position"),
    [
        ("classifier3", [0.7, 0.2, 0.1], BUY, 0.7, None),
        ("classifier3", [0.1, 0.2, 0.7], SELL, 0.7, None),
        ("classifier3", [0.45, 0.1, 0.45], HOLD, 0.1, None),
        ("binary", [0.8], BUY, 0.8, None),
        ("binary", [0.25], SELL, 0.75, None),
        ("binary", [0.5], HOLD, 0.0, None),
        ("regressor", [0.005], BUY, 0.5, None),
        ("regressor", [-0.05], SELL, 1.0, None),
        ("regressor", [0.001], HOLD, 1.0, None),
        ("quantiles", [9, 9, 9, -3.5, 2.5, 6.5], BUY, 0.5 + 0.4 * 2 / 6, None),
        ("quantiles", [9, 9, 9, -6.5, -2.5, 3.5], SELL, 0.5 + 0.4 * 2 / 6, None),
        ("quantiles", [9, 9, 9, -0.4, 0.0, 0.4], HOLD, 1.0, None),
        ("quantiles", [9, 9, 9, 6.5, 2.5, -3.5], BUY, 0.5 + 0.4 * 2 / 6, None),
        ("size", [0.6], BUY, 0.6, 0.6),
        ("size", [7.0], BUY, 1.0, 1.0),
        ("size", [-2.0], HOLD, 1.0, 0.0),
        ("action", [-0.4], SELL, 0.4, -0.4),
        ("action", [-9.0], SELL, 1.0, -1.0),
        ("action", [0.1], HOLD, 1.0, 0.0),
    ],
)
def test_what_an_output_means(kind, y, action, confidence, position):
    found = advise(SCHEMAS[kind], y)
    assert found.action == action
    assert found.confidence == pytest.approx(confidence, abs=1e-6)
    assert (found.reason == HoldReason.NONE) == (action != HOLD)
    assert math.isnan(found.position) if position is None else found.position == position


@pytest.mark.parametrize("name", ACTIONS8)
def test_the_eight_actions_of_an_agent(name):
    scores = [5.0 if action == name else 0.0 for action in ACTIONS8]
    found = advise(SCHEMAS["discrete8"], scores)
    side = {"BUY": BUY, "SELL": SELL}.get(name.split("_")[0], HOLD)
    assert found.action == side
    assert found.close == (name == "CLOSE")
    sizes = {"SMALL": 0.25, "MEDIUM": 0.5, "LARGE": 1.0}
    if side != HOLD:
        assert found.position == sizes[name.split("_")[1]] * (1 if side == BUY else -1)


def test_eight_probabilities_are_taken_as_they_are():
    shares = [0.3, 0.1, 0.0, 0.2, 0.1, 0.1, 0.0, 0.2]
    found = advise(SCHEMAS["discrete8"], shares)
    assert (found.action, found.value) == (HOLD, 0.3)
    assert (found.p_buy, found.p_sell) == (pytest.approx(0.3), pytest.approx(0.2))


ANY = st.floats(allow_nan=True, allow_infinity=True)


@given(st.sampled_from(sorted(SCHEMAS)), st.data())
def test_no_output_whatever_leaves_the_bounds(kind, data):
    schema = SCHEMAS[kind]
    width = data.draw(st.sampled_from([schema.columns, schema.columns, schema.columns + 1]))
    y = data.draw(st.lists(ANY, min_size=width, max_size=width))
    found = advise(schema, y, 0.3)
    shares = (found.p_sell, found.p_hold, found.p_buy)
    assert all(0.0 <= p <= 1.0 + 1e-3 for p in shares)
    assert abs(sum(shares) - 1) <= 2e-3 or found.reason == HoldReason.MODEL_NAN
    assert (found.action == HOLD) == (found.reason != HoldReason.NONE)
    assert math.isnan(found.position) or -1.0 <= found.position <= 1.0
    if not all(math.isfinite(value) for value in y) or len(y) != schema.columns:
        assert found.reason == HoldReason.MODEL_NAN


@given(st.lists(st.floats(-0.25, 1.25, width=32), min_size=3, max_size=3), st.booleans(),
       st.floats(0, 1))  # fmt: skip
def test_classes_are_judged_as_the_kernel_judges_them(y, scaled, threshold):
    if scaled and sum(y) > 0.1:
        y = [value / sum(y) for value in y]
    y = np.array(y, np.float32)
    read, judge = (getattr(f, "py_func", f) for f in (chances.read_output, chances.judge_chances))
    slots = {
        "classifier3": {"output_kind": OutputKind.CLASSIFIER3, "buy_at": 0, "hold_at": 1,
                        "sell_at": 2},
        "binary": {"output_kind": OutputKind.BINARY},
    }  # fmt: skip
    for kind, slot in slots.items():
        root: dict[str, float] = {}
        read(root, slot, y)
        with patch.object(chances, "shut_for", lambda *_: HoldReason.NONE):
            expected = judge(root, slot | {"threshold": threshold})
        found = advise(SCHEMAS[kind], y[: SCHEMAS[kind].columns], threshold)
        assert (found.action, found.reason) == expected
        assert (found.p_sell, found.p_hold, found.p_buy) == (
            root["p_sell"], root["p_hold"], root["p_buy"],
        )  # fmt: skip


def test_the_kernel_and_the_mapping_ask_for_the_same_sum():
    assert SUM_TOLERANCE == chances.SUM_TOLERANCE


def test_an_advice_becomes_a_signal():
    found = advise(SCHEMAS["binary"], [0.8], 0.9)
    assert (found.action, found.reason) == (HOLD, HoldReason.BELOW_THRESHOLD)
    sent = signal(found, signal_id=1, ts=2, row=3, instrument=4, model=5)
    assert (sent.action, sent.reason, sent.p_buy) == (1, int(HoldReason.BELOW_THRESHOLD), 0.8)


@pytest.mark.parametrize(
    "changes",
    [
        {"kind": "quantiles"},
        {"kind": "quantiles", "horizons": ("1m",), "levels": (0.5, 0.1)},
        {"kind": "quantiles", "horizons": ("1m",), "levels": (0.1, 0.4, 0.9)},
        {"kind": "quantiles", "horizons": ("1m",), "levels": (0.1, 0.5)},
        {"kind": "quantiles", "horizons": ("1m",), "levels": LEVELS, "act_on": "2m"},
        {"kind": "discrete8"},
        {"kind": "discrete8", "classes": ACTIONS8, "sizes": (0.5, 0.2, 1.0)},
        {"kind": "size"},
        {"kind": "classifier3", "classes": ("UP", "DOWN", "FLAT")},
    ],
)
def test_a_schema_that_contradicts_itself_is_refused(changes):
    words = SimpleNamespace(**({"name": "y", "classes": ("A", "B", "C")} | changes))
    with pytest.raises(ModelRefused) as caught:
        check_output(OutputSchema(**vars(words)), "x")
    assert caught.value.code == "model.contract"
