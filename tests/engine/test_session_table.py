"""The committed sessions: New York's hours by the clock on the wall, and the library's own."""

import importlib.util
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow.parquet as pq
import pytest

from engine.session_table import EXCHANGES, sessions, trading_hours

DATA = Path(__file__).resolve().parents[2] / ".." / "shared" / "data" / "bars"
NEW_YORK = ZoneInfo("America/New_York")


def test_sessions_are_in_order_and_do_not_overlap() -> None:
    for table in (made(exchange) for made in (sessions, trading_hours) for exchange in EXCHANGES):
        assert len(table) > 7000
        assert (table[:, 0] < table[:, 1]).all()
        assert (table[1:, 0] > table[:-1, 1]).all()


def test_new_york_opens_at_half_past_nine_in_summer_and_in_winter() -> None:
    table = sessions("XNYS")
    for opened, closed in table[::5]:
        begin, end = (datetime.fromtimestamp(60 * int(m), NEW_YORK) for m in (opened, closed))
        assert (begin.hour, begin.minute) == (9, 30)
        assert (end.hour, end.minute) in ((16, 0), (13, 0))
        assert begin.weekday() < 5


@pytest.mark.parametrize(
    ("day", "open_"), [("2011-03-11", "14:30"), ("2011-03-14", "13:30"), ("2019-11-29", "14:30")]
)
def test_days_that_are_known(day: str, open_: str) -> None:
    opens = sessions("XNYS")[:, 0]
    assert int(np.datetime64(f"{day}T{open_}", "m").astype(np.int64)) in opens


def test_only_tokyo_stops_for_lunch_and_never_at_another_hour() -> None:
    for exchange in ("XNYS", "XLON", "XETR"):
        assert np.array_equal(trading_hours(exchange), sessions(exchange))
    hours, days = trading_hours("XTKS"), sessions("XTKS")
    assert len(hours) == 2 * len(days)
    assert np.array_equal(hours[::2, 0], days[:, 0])
    assert np.array_equal(hours[1::2, 1], days[:, 1])
    tokyo = ZoneInfo("Asia/Tokyo")
    for ended, resumed in zip(hours[:-1:20, 1], hours[1::20, 0], strict=True):
        begin, end = (datetime.fromtimestamp(60 * int(m), tokyo) for m in (ended, resumed))
        assert (begin.hour, begin.minute, end.hour, end.minute) == (11, 30, 12, 30)


@pytest.mark.parametrize("day", ["2011-04-22", "2012-10-29", "2019-12-25", "2022-06-20"])
def test_holidays_and_a_hurricane(day: str) -> None:
    days = sessions("XNYS")[:, 0] // 1440
    assert int(np.datetime64(day, "D").astype(np.int64)) not in days


def test_the_busy_minutes_of_real_bars_lie_inside() -> None:
    path = DATA / "us_SPY_1m_201103.parquet"
    if not path.exists():
        pytest.skip("no us_SPY_1m_201103.parquet beside the repository")
    bars = pq.read_table(path)
    minute = bars["ts_ns"].to_numpy() // 60_000_000_000
    volume = bars["volume"].to_numpy()
    opens, closes = sessions("XNYS").T
    at = np.searchsorted(opens, minute, side="right") - 1
    inside = minute < closes[at]
    assert inside.sum() == 23 * 390
    assert np.median(volume[inside]) > 50 * np.median(volume[~inside])


@pytest.mark.filterwarnings("ignore:Series.values:DeprecationWarning")
@pytest.mark.skipif(
    importlib.util.find_spec("exchange_calendars") is None,
    reason="exchange_calendars is not here: it has an environment of its own (make sessions)",
)
def test_the_table_is_what_the_library_says() -> None:
    from app.session_table import source

    made = Path(__file__).resolve().parents[2] / "engine" / "session_data.py"
    assert source() == made.read_text(encoding="utf-8")
