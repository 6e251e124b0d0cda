"""The kernel and ml/outputs.py make the same of every output, whatever its numbers are."""

import ctypes
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.desk_module import load_desk
from app.kernel import KERNEL_FOLDER
from engine.audit_layout import Record
from engine.events import Action, HoldReason
from engine.instruments import Instrument
from engine.kernel.output_layout import OutputKind
from engine.kernel.state import KernelRules, KernelState
from ml.manifest import ACTIONS8, OutputSchema
from ml.output_forms import kernel_form, kernel_kind
from ml.outputs import advise
from tests.ml.test_outputs import SCHEMAS

RULES = KernelRules(
    implied_wakes=True, bar_interval_ns=60, bar_grace_ns=0, max_data_age_ns=1, max_jump=0.5,
    jump_confirmations=1, trigger_confirmations=1, sample_ns=1, assumed_notional=1.0,
    half_spread=0.0,
)  # fmt: skip
BTC = Instrument(
    venue="t", symbol="BTCUSDT", base="BTC", quote="USDT", tick="0.01", lot="0.001", has=("quotes",)
)
MIXED = OutputSchema(name="d", kind="discrete8", classes=ACTIONS8[::-1], sizes=(0.1, 0.2, 0.3))
KINDS = {k: s for k, s in SCHEMAS.items() if k not in ("classifier3", "binary")} | {"mixed": MIXED}
NUMBER = st.one_of(
    st.floats(width=32),
    st.floats(-2, 2, width=32),
    st.sampled_from([0.0, -0.0, 0.1, -0.1, 0.5, 1.0, -1.0, 0.001, 0.125]),
)


class Judge:
    """One slot of a kernel, asked through the entry that the loop itself calls."""

    def __init__(self, schema: OutputSchema) -> None:
        _, rare = load_desk(KERNEL_FOLDER)
        kind = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_int64, ctypes.c_int64)
        self._call = kind(rare["rare_output"])
        self.schema = schema
        self.state = KernelState([BTC], 1, np.dtype([("unused", "i8")]), RULES)
        self.y = np.zeros((1, schema.columns), np.float32)
        self.form = kernel_form(schema)
        values = {"output_kind": int(kernel_kind(schema)), "form": self.form.ctypes.data}
        self.state.set_slot(0, values, np.zeros((1, 1), np.float32), self.y)

    def __call__(self, y, threshold: float) -> tuple[np.ndarray, bool]:
        """Return the records that were written, and whether a strategy hears of it."""
        self.y[0], self.state.slots["threshold"] = y, threshold
        self.state.root["audit_count"] = 0
        heard = self._call(self.state.address, 0)
        return self.state.audit[: int(self.state.root["audit_count"][0])], bool(heard)


@pytest.fixture(scope="module")
def judges():
    return {name: Judge(schema) for name, schema in KINDS.items()}


def same(a: float, b: float) -> bool:
    return a == b or (math.isnan(a) and math.isnan(b))


@given(st.sampled_from(sorted(KINDS)), st.data(), st.floats(0, 1))
def test_kernel_and_mapping_agree_to_the_last_bit(judges, name, data, threshold):
    judge, schema = judges[name], KINDS[name]
    y = np.array(
        data.draw(st.lists(NUMBER, min_size=schema.columns, max_size=schema.columns)), np.float32
    )
    if schema.kind == "discrete8" and data.draw(st.booleans()):
        y = np.abs(np.where(np.isfinite(y), y, 1.0))
        y = (y / max(float(y.sum()), 1e-30)).astype(np.float32)
    records, heard = judge(y, threshold)
    advice = advise(schema, y.tolist(), threshold)
    decision, outputs = records[0], records[1:]
    assert decision["kind"] == Record.DECISION
    assert (decision["code"], decision["aux"]) == (int(advice.action), int(advice.reason))
    assert (decision["f0"], decision["f1"], decision["f2"]) == (
        advice.p_sell, advice.p_hold, advice.p_buy,
    )  # fmt: skip
    assert heard == (advice.action != 1 or advice.close)
    assert len(outputs) == -(-schema.columns // 5)
    said = np.array([[one[f"f{k}"] for k in range(2, 7)] for one in outputs]).ravel()
    assert np.isnan(said[schema.columns :]).all()
    for one in outputs:
        assert one["code"] == OutputKind[schema.kind.upper()]
        assert same(float(one["f0"]), advice.value) and same(float(one["f1"]), advice.position)
    for ours, given_one in zip(said, y.astype(np.float64)):
        assert same(float(ours), float(given_one))


def test_outside_the_session_advice_to_open_is_a_hold_that_still_says_its_value(judges):
    judge = judges["action"]
    sessions = np.array([[10**15, 2 * 10**15]], np.int64)
    hours, root = judge.state.sessions, judge.state.root
    hours["table"], hours["count"] = sessions.ctypes.data, len(sessions)
    root["sessions"] = hours.ctypes.data
    try:
        for now, reason in (
            (15 * 10**14, HoldReason.NONE),
            (10**14, HoldReason.SESSION_UNKNOWN),
        ):
            root["now"] = now
            records, heard = judge([0.8], 0.3)
            assert (records[0]["aux"], heard) == (reason, reason == HoldReason.NONE)
            assert records[0]["code"] == (Action.HOLD if reason else Action.BUY)
            assert records[1]["f0"] == records[1]["f1"] == np.float32(0.8)
    finally:
        root["sessions"] = 0
