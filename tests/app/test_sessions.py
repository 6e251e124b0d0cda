"""Regular hours: outside of them nothing opens, however orders are drawn and rows are grouped."""

from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import app.replay
import app.slots
import app.wire
from app.replay import Replay, replay
from app.rules import check_calendars
from app.sources import open_tape
from config.load import load_settings
from config.settings import Settings
from engine.audit_layout import Record
from engine.audit_reader import AuditFile
from engine.errors import ConfigError
from engine.events import Action, HoldReason, OrderState
from engine.instruments import Instrument
from engine.kernel.session_layout import SESSION
from engine.kernel.sessions import find_session
from engine.rows import LAST, ROW, Kind
from engine.session_table import EXCHANGES, NS_PER_MINUTE, trading_hours
from engine.tape import Tape, TapeWriter
from tests.app.drawn import drawn_settings, remembering, run_drawn, the_parts
from tests.app.replay_cli import SAMPLE

DATA = Path(__file__).resolve().parents[3] / "shared" / "data" / "bars"
NEW_YORK = ZoneInfo("America/New_York")
SECOND = 1_000_000_000
SPY = Instrument(
    venue="test", symbol="SPY", base="SPY", quote="USD", tick="0.01", lot="0.01",
    has=("quotes", "quote_sizes"),
)  # fmt: skip


def ns(text: str) -> int:
    return int(np.datetime64(text, "ns").astype(np.int64))


def with_hours(settings: Settings, calendars: dict[str, str], wait: bool = True) -> Settings:
    """Keep hours; exits wait by default, so only the other choice is said."""
    said = {} if wait else {"exits_wait": False}
    engine = msgspec.structs.replace(settings.engine, calendars=calendars, **said)
    return msgspec.structs.replace(settings, engine=engine)


def inside(ts: np.ndarray, exchange: str = "XNYS") -> np.ndarray:
    """Tell which times lie in a session, by another search than the kernel's."""
    opens, closes = (trading_hours(exchange) * NS_PER_MINUTE).T
    at = np.searchsorted(opens, ts, side="right") - 1
    return (at >= 0) & (ts < closes[at])


@pytest.fixture(scope="module")
def quotes(tmp_path_factory: pytest.TempPathFactory) -> Tape:
    """Make quotes of 12 to 22 o'clock UTC, four days with the change to daylight saving.

    One every two seconds around the opens and the closes, one every 30 else.
    """
    draw = np.random.default_rng(5)
    moments = []
    for day in ("2011-03-10", "2011-03-11", "2011-03-13", "2011-03-14", "2011-03-15"):
        start = ns(f"{day}T12:00")
        seconds = np.arange(0, 36_000)
        near = np.zeros(len(seconds), bool)
        for minute in (90, 150, 480, 540):  # half past one, half past two, eight and nine o'clock
            near |= abs(seconds - 60 * minute) < 120
        moments.append(start + seconds[(seconds % 30 == 0) | near & (seconds % 2 == 0)] * SECOND)
    rows = np.zeros(sum(map(len, moments)), ROW)
    rows["ts_event"] = rows["ts_recv"] = np.concatenate(moments)
    rows["kind"], rows["flags"] = Kind.QUOTE, LAST
    steps = draw.choice([-1, 0, 1], len(rows)) * draw.choice([1, 20], len(rows))
    bid = 12_000 + np.cumsum(steps)
    rows["f0"], rows["f1"] = bid / 100, (bid + draw.integers(1, 4, len(rows))) / 100
    rows["f2"] = rows["f3"] = draw.integers(1, 200, len(rows)) / 10
    folder = tmp_path_factory.mktemp("hours") / "tape"
    writer = TapeWriter(folder, (SPY,))
    writer.append(rows)
    writer.close()
    return Tape.open(folder)


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app.replay, "build", remembering(app.replay.build))


def settings_of(tmp_path: Path, wait: bool = True, **words: Any) -> Settings:
    drawn = drawn_settings(tmp_path, quote="USD", allow_short=True, **words)
    return with_hours(drawn, {"SPY": "XNYS"}, wait)


def records(run_dir: str, kind: Record) -> np.ndarray:
    return np.concatenate(list(AuditFile(Path(run_dir)).pick((kind,))))


def sent(run_dir: str) -> np.ndarray:
    """Return the records of the orders that were sent."""
    orders = records(run_dir, Record.ORDER)
    return orders[orders["code"] == OrderState.SENT]


def reduce_outside(run_dir: str) -> int:
    """Check that no fill outside the hours adds to what a model holds; count those that lessen."""
    moves = records(run_dir, Record.EXPOSURE)
    count = 0
    for model in np.unique(moves["model"]):
        mine = moves[moves["model"] == model]
        change = np.diff(mine["i0"], prepend=0)[~inside(mine["ts"])]
        assert (change <= 0).all()
        count += int((change < 0).sum())
    return count


def test_outside_the_hours_nothing_opens_and_what_reduces_goes(quotes, tmp_path, watched):
    free = run_drawn(quotes, with_hours(settings_of(tmp_path), {}))
    kept = run_drawn(quotes, settings_of(tmp_path, wait=False))
    assert (~inside(sent(free.run_dir)["ts"])).mean() > 0.3, "the market trades at all hours"
    assert reduce_outside(kept.run_dir) > 3
    assert inside(records(kept.run_dir, Record.FILL)["ts"]).sum() > 100
    assert kept.signals.hold_reasons["SESSION_CLOSED"] > 100
    assert kept.blocked["SESSION_CLOSED"] > 3


def test_as_it_comes_no_order_leaves_outside_the_hours(quotes, tmp_path, watched):
    kept = run_drawn(quotes, settings_of(tmp_path))
    orders = sent(kept.run_dir)
    assert len(orders) > 100
    assert inside(orders["ts"]).all()
    assert inside(records(kept.run_dir, Record.FILL)["ts"]).all()
    local = [datetime.fromtimestamp(ts // SECOND, NEW_YORK) for ts in orders["ts"].tolist()]
    assert all(570 <= moment.hour * 60 + moment.minute < 960 for moment in local)
    days = {moment.date().isoformat() for moment in local}
    assert days == {"2011-03-10", "2011-03-11", "2011-03-14", "2011-03-15"}
    assert not (the_parts().gate.record[0]["in_flight"]).any()


@pytest.mark.parametrize("wait", [False, True])
def test_grouping_of_rows_and_the_place_of_orders_change_nothing(
    quotes, tmp_path, watched, monkeypatch, wait
):
    whole = run_drawn(quotes, settings_of(tmp_path, wait))
    assert run_drawn(quotes, settings_of(tmp_path, wait, block_rows=7)).decision_digest == (
        whole.decision_digest
    )
    monkeypatch.setattr(app.wire, "ORDERS_IN_KERNEL", False)
    assert run_drawn(quotes, settings_of(tmp_path, wait)).decision_digest == whole.decision_digest


def still(tmp_path: Path, begin: int) -> Tape:
    """Make 500 quotes, one a second, of a market that stands still."""
    rows = np.zeros(500, ROW)
    rows["ts_event"] = rows["ts_recv"] = begin + np.arange(500) * SECOND
    rows["kind"], rows["flags"] = Kind.QUOTE, LAST
    rows["f0"], rows["f1"], rows["f2"], rows["f3"] = 120.0, 120.01, 50.0, 50.0
    writer = TapeWriter(tmp_path / "tape", (SPY,))
    writer.append(rows)
    writer.close()
    return Tape.open(tmp_path / "tape")


def test_beyond_the_table_what_is_held_can_go(tmp_path, watched):
    told = run_drawn(still(tmp_path, ns("2030-12-31T20:56")), settings_of(tmp_path))
    assert reduce_outside(told.run_dir) > 0
    late = sent(told.run_dir)["ts"] >= ns("2030-12-31T21:00")
    assert 0 < late.sum() < len(late)


def test_in_lunch_breaks_nothing_leaves(tmp_path, watched):
    settings = with_hours(settings_of(tmp_path), {"SPY": "XTKS"})
    told = run_drawn(still(tmp_path, ns("2019-03-12T02:26")), settings)
    noon = ns("2019-03-12T02:30")
    assert 0 < (sent(told.run_dir)["ts"] < noon).sum() == len(sent(told.run_dir))
    assert told.signals.hold_reasons["SESSION_CLOSED"] > 100


def test_beyond_the_table_nothing_opens_and_the_summary_names_the_command(tmp_path, watched):
    told = run_drawn(still(tmp_path, ns("2031-03-12T15:00")), settings_of(tmp_path))
    assert told.orders == 0
    assert told.signals.hold_reasons["SESSION_UNKNOWN"] > 100
    (note,) = [text for text in told.notes if "make sessions" in text]
    assert "SPY" in note
    assert "XNYS" in note
    assert "2030-12-31" in note


@pytest.mark.parametrize(
    ("calendars", "said"), [({"SPY": "NYSE"}, "XNYS"), ({"QQQ": "XNYS"}, "SPY")]
)
def test_a_calendar_that_would_guard_nothing_is_refused(calendars, said):
    with pytest.raises(ConfigError, match=said):
        check_calendars(with_hours(load_settings(None), calendars), (SPY,))
    check_calendars(with_hours(load_settings(None), {"spy": "XNYS"}), (SPY,))


def test_the_kernel_finds_what_another_search_finds():
    draw = np.random.default_rng(6)
    for exchange in EXCHANGES:
        table = np.ascontiguousarray(trading_hours(exchange) * NS_PER_MINUTE)
        record = np.zeros(1, SESSION)[0]
        record["table"], record["count"] = table.ctypes.data, len(table)
        edges = table[draw.integers(0, len(table), 200)].ravel()
        last = int(table[-1, 1])
        moments = [*edges, *(edges - 1), *draw.integers(table[0, 0], last, 500), last - 1]
        for ts in map(int, moments):
            find_session(record, ts)
            assert record["begins"] <= ts < record["ends"]
            known = table[0, 0] <= ts < last
            assert record["shut"] == (
                HoldReason.NONE if inside(np.array([ts]), exchange)[0]
                else HoldReason.SESSION_CLOSED if known else HoldReason.SESSION_UNKNOWN
            )  # fmt: skip
        for ts in (int(table[0, 0]) - 1, last, last + 10**18):
            find_session(record, ts)
            assert record["shut"] == HoldReason.SESSION_UNKNOWN


def test_models_hold_alike_asked_ahead_and_one_by_one(tmp_path):
    """The sample is a Monday from noon to four, UTC: New York opens at half past two."""
    base = load_settings(None)
    base = msgspec.structs.replace(base, runs_dir=str(tmp_path / "runs"))
    base = with_hours(base, {"BTCUSDT": "XNYS", "ETH/USDT": "XNYS"})
    made = open_tape([SAMPLE], assumed=base.assumed, cache_dir=tmp_path / "tapes")
    found = []
    for rows, block in ((1024, 65_536), (1, 1000)):
        engine = msgspec.structs.replace(base.engine, batch_rows=rows, block_rows=block)
        settings = msgspec.structs.replace(base, engine=engine)
        found.append(replay(Replay(tape=Tape.open(made), settings=settings, report=False)))
    ahead, single = found
    assert ahead.decision_digest == single.decision_digest
    decisions = records(ahead.run_dir, Record.DECISION)
    shut = decisions[decisions["aux"] & 0xFF == HoldReason.SESSION_CLOSED]
    assert len(shut) > 1000
    assert not inside(shut["ts"]).any()
    assert inside(decisions["ts"][decisions["code"] != Action.HOLD]).all()
    assert inside(sent(ahead.run_dir)["ts"]).all()
    assert ahead.fills > 20


def thin_bars(folder: Path) -> Path:
    """Write minute bars of four days, from eight to eight, of which every third one is missing."""
    draw = np.random.default_rng(7)
    days = [ns(f"{day}T12:00") for day in ("2011-03-10", "2011-03-11", "2011-03-14", "2011-03-15")]
    opened = np.concatenate([day + np.arange(720) * NS_PER_MINUTE for day in days])
    opened = opened[draw.random(len(opened)) < 2 / 3]
    close = np.round(12 * np.exp(np.cumsum(draw.normal(0, 1e-3, len(opened)))), 2)
    first = np.concatenate([[12.0], close[:-1]])
    table = {
        "ts_ns": opened,
        "open": first,
        "high": np.maximum(first, close) + 0.01,
        "low": np.minimum(first, close) - 0.01,
        "close": close,
        "volume": draw.integers(1, 99, len(opened)),
    }
    pq.write_table(pa.table(table), folder / "us_SPY_1m.parquet")
    return folder / "us_SPY_1m.parquet"


BARS = [
    ("", "SPY"),
    ("us_SPY_1m_201103", "SPY"),
    ("us_multi_1m_20190211_20190215", "SPY,PPLT,UGA,TSLA"),
]


@pytest.mark.parametrize(("file", "symbols"), BARS, ids=["made", "winter to summer", "thin ones"])
@pytest.mark.parametrize("wait", [False, True])
def test_minute_bars_are_traded_in_regular_hours_only(
    tmp_path, watched, monkeypatch, file, symbols, wait
):
    path = DATA / f"{file}.parquet" if file else thin_bars(tmp_path)
    if not path.exists():
        pytest.skip("no ../shared/data: the recorded sets")
    monkeypatch.setattr(app.slots, "absent_features", lambda *_: {})  # the strategy reads none
    settings = drawn_settings(tmp_path, quote="USD", allow_short=True, max_order_notional=200.0)
    names = symbols.split(",")
    made = open_tape([path], assumed=settings.assumed, cache_dir=tmp_path / "tapes", symbols=names)
    told = run_drawn(Tape.open(made), with_hours(settings, dict.fromkeys(names, "XNYS"), wait))
    orders, fills = sent(told.run_dir), records(told.run_dir, Record.FILL)
    assert len(fills) > 30
    assert inside(orders["ts"]).mean() > 0.8
    if wait:
        assert inside(orders["ts"]).all()
        assert inside(fills["ts"]).all()
    else:
        reduce_outside(told.run_dir)
