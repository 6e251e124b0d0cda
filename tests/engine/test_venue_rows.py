"""Venue events on the tape."""

from engine.events import RejectReason
from engine.rows import LAST, Kind
from engine.venue_events import Acked, Filled, Measure, Rejected, Trouble
from engine.venue_rows import rows_of

WHERE = {"BTCUSDT": 3}


def rows(event, tag: str = "aaaaaaaa"):
    return rows_of(event, tag, 99, WHERE, {"BNB": 7}.__getitem__)


def test_a_fill_with_a_fee_is_a_packet_of_two_rows():
    event = Filled(
        tag="aaaaaaaa", ordinal=4, symbol="BTCUSDT", ts_event=5, side=-1, price_tick=10,
        qty_lot=20, fee_minor=30, fee_asset="BNB", liquidity=1, trade_id="12",
    )  # fmt: skip
    fill, fee = rows(event)
    assert (fill["kind"], fill["side"], fill["instrument"]) == (Kind.FILL, -1, 3)
    assert [int(fill[f"i{k}"]) for k in range(5)] == [4, 10, 20, 12, 1]
    assert (fee["kind"], fee["flags"], fill["flags"]) == (Kind.FILL_FEE, LAST, 0)
    assert [int(fee[f"i{k}"]) for k in range(4)] == [4, 12, 30, 7]


def test_an_answer_is_one_row_and_an_earlier_runs_is_none():
    event = Rejected(tag="aaaaaaaa", ordinal=4, symbol="BTCUSDT", reason=RejectReason.BALANCE)
    (row,) = rows(event)
    assert (row["kind"], row["i0"], row["i1"]) == (Kind.REJECT, 4, RejectReason.BALANCE)
    acked = Acked(tag="aaaaaaaa", ordinal=4, symbol="BTCUSDT", venue_id="some-uuid")
    assert rows(acked)[0]["i1"] > 0
    assert len(rows(event, "bbbbbbbb")) == 0
    assert len(rows(Trouble(code="a.b", text="", measure=Measure.HOLD))) == 0
