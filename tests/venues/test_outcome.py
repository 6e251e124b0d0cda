"""What an answer proves, and what it does not."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.events import RejectReason as R
from engine.journal_layout import Doubt
from venues.outcome import BINANCE, RULES, UNLISTED, Attempt, Kind, judge
from venues.rate_budget import Errand, RateBudget


def attempt(status: int, body: object, sent: bool = True) -> Attempt:
    made = Attempt()
    made.began, made.sent, made.status = 1, sent, status
    made.body = body if isinstance(body, str) else json.dumps(body)
    return made


def refusal(code: int, text: str = "x") -> dict:
    return {"code": code, "msg": text}


@pytest.mark.parametrize("code", [-1000, -1001, -1006, -1007, -9999, 0, 200])
def test_codes_that_are_not_listed_prove_nothing(code):
    assert judge(BINANCE, attempt(400, refusal(code)), False).kind == Kind.UNKNOWN


@pytest.mark.parametrize("code", [-1013, -1021, -1022, -1100, -1111, -1121, -1130, -2010, -2015])
def test_listed_codes_prove_a_rejection(code):
    outcome = judge(BINANCE, attempt(400, refusal(code)), False)
    assert (outcome.kind, outcome.code) == (Kind.REJECTED, str(code))
    assert outcome.reason != R.NONE


def test_a_listed_code_behind_a_5xx_proves_nothing():
    outcome = judge(BINANCE, attempt(503, refusal(-2010)), False)
    assert (outcome.kind, outcome.doubt) == (Kind.UNKNOWN, Doubt.VENUE_UNSURE)


def test_a_duplicate_id_means_that_it_was_accepted_earlier():
    outcome = judge(BINANCE, attempt(400, refusal(-2010, "Duplicate order sent.")), False)
    assert (outcome.kind, outcome.doubt) == (Kind.UNKNOWN, Doubt.DUPLICATE)


def test_only_the_transports_record_proves_that_nothing_left():
    assert judge(BINANCE, attempt(0, "", sent=False), False).kind == Kind.NOT_SENT
    assert judge(BINANCE, attempt(0, "", sent=True), False).kind == Kind.UNKNOWN


def test_what_the_transport_wrote_down_goes_before_the_answer():
    left = attempt(0, "", sent=False)
    assert judge(BINANCE, left, False).reason == R.NOT_REACHED
    left.began = 0
    assert judge(BINANCE, left, False).reason == R.LIBRARY
    left.stopped = True
    assert judge(BINANCE, left, False).reason == R.WIRE
    answered = attempt(400, refusal(-2010))
    answered.redirected = True
    assert judge(BINANCE, answered, False).doubt == Doubt.NO_ANSWER
    assert judge(BINANCE, attempt(400, "<html>no</html>"), False).doubt == Doubt.UNREADABLE


def test_a_success_is_believed_only_with_the_library_and_without_a_refusal_in_it():
    assert judge(BINANCE, attempt(200, {"orderId": 1}), True).kind == Kind.ACCEPTED
    assert judge(BINANCE, attempt(200, {"orderId": 1}), False).kind == Kind.UNKNOWN
    assert judge(BINANCE, attempt(200, refusal(-2010)), True).kind == Kind.REJECTED


@given(st.sampled_from(sorted(RULES)), st.integers(200, 599), st.text(max_size=200))
def test_no_text_is_ever_a_proof(exchange, status, body):
    kind = judge(RULES[exchange], attempt(status, body), False).kind
    assert kind == Kind.UNKNOWN


@given(
    st.sampled_from(sorted(RULES)),
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(st.sampled_from(["code", "msg", "data", "error", "sCode"]), inner)
        ),
        max_leaves=10,
    ),
)
def test_odd_answers_are_judged_without_an_exception(exchange, body):
    assert judge(RULES[exchange], attempt(400, body), False).kind != Kind.ACCEPTED


@pytest.mark.parametrize(
    ("exchange", "body", "reason"),
    [
        ("bybit", {"retCode": 170131, "retMsg": "Insufficient balance."}, R.BALANCE),
        ("okx", {"code": "1", "data": [{"sCode": "51008", "sMsg": "m"}]}, R.BALANCE),
        ("okx", {"code": "51008", "data": [{"sCode": "0"}]}, R.BALANCE),
        ("kraken", {"error": ["EOrder:Insufficient funds"]}, R.BALANCE),
        ("coinbase", {"success": False, "error_response": {"error": "INSUFFICIENT_FUND"}},
         R.BALANCE),
    ],
)  # fmt: skip
def test_other_exchanges_have_tables_of_their_own(exchange, body, reason):
    outcome = judge(RULES[exchange], attempt(200, body), False)
    assert (outcome.kind, outcome.reason) == (Kind.REJECTED, reason)
    assert judge(UNLISTED, attempt(200, body), False).kind == Kind.UNKNOWN


@pytest.mark.parametrize(
    ("exchange", "body"),
    [("okx", {"code": "0", "data": []}), ("kraken", {"error": [], "result": {}}), ("bybit", {})],
)
def test_an_answer_without_a_refusal_in_it_proves_no_rejection(exchange, body):
    assert judge(RULES[exchange], attempt(200, body), True).kind == Kind.ACCEPTED
    assert judge(RULES[exchange], attempt(200, body), False).kind == Kind.UNKNOWN


def test_cancels_have_a_budget_of_their_own_and_pauses_end():
    budget = RateBudget(orders=(2, 10.0), cancels=(1, 10.0), queries=(1, 10.0))
    assert [budget.take(Errand.ORDER, 0.0) for _ in range(3)] == [True, True, False]
    assert budget.take(Errand.CANCEL, 0.0)
    assert budget.wait_s(Errand.ORDER, 4.0) == 6.0
    assert budget.take(Errand.ORDER, 10.0)
    budget.pause_orders(10.0, 60.0)
    assert not budget.take(Errand.ORDER, 21.0)
    assert budget.take(Errand.CANCEL, 21.0)
    budget.pause_all(21.0, 5.0)
    assert not budget.take(Errand.CANCEL, 25.9)
    assert not budget.take(Errand.QUERY, 25.9)
    assert budget.take(Errand.QUERY, 26.0)
