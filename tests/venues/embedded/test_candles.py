"""Candles against a plain reading of what a candle is."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from venues.embedded.candles import MINUTE_MS, MinuteCandles
from venues.embedded.market import TRADES
from venues.embedded.trades import TradeTable

START_MS = 1_736_121_600_000
TRADE = st.tuples(st.integers(0, 150_000), st.integers(1, 50), st.integers(1, 9),
                  st.sampled_from([1, -1]))  # fmt: skip


def plain(trades: list[tuple], opened: int, length: int, before: int) -> tuple:
    """Return (open, high, low, close, lots, money, count, bought) of one candle."""
    mine = [t for t in trades if opened <= t[0] < opened + length]
    if not mine:
        return before, before, before, before, 0, 0, 0, 0
    prices = [t[1] for t in mine]
    return (
        prices[0], max(prices), min(prices), prices[-1], sum(t[2] for t in mine),
        sum(t[1] * t[2] for t in mine), len(mine), sum(t[2] for t in mine if t[3] > 0),
    )  # fmt: skip


@given(
    st.lists(TRADE, min_size=1, max_size=60), st.integers(0, 60), st.sampled_from([1, 3, 5]),
    st.integers(0, 12), st.integers(1, 12),
)  # fmt: skip
def test_candles_equal_a_plain_reading(gaps, split, minutes, skip, limit) -> None:
    ms, trades = START_MS, []
    for gap, price, lots, side in gaps:
        ms += gap
        trades.append((ms, price, lots, side))
    past, length = trades[:split], minutes * MINUTE_MS
    history = np.array([(t[0] * 1_000_000, *t[1:]) for t in past], TRADES)
    table = TradeTable(history, 0)
    for trade in trades[split:]:
        table.add(*trade, same_taker=False)
    now = trades[-1][0] + 2 * MINUTE_MS
    start = START_MS + skip * MINUTE_MS
    rows = table.candles.select(length, start, None, limit, now)
    first = trades[0][0] - trades[0][0] % length
    opened = [t for t in range(-(-start // length) * length, now + 1, length)[:limit] if t >= first]
    assert rows["ms"].tolist() == opened
    for row in rows:
        earlier = [t for t in trades if t[0] < row["ms"]]
        expected = plain(trades, int(row["ms"]), length, earlier[-1][1] if earlier else 0)
        names = ("open", "high", "low", "close", "lots", "money", "count", "buy_lots")
        assert tuple(int(row[name]) for name in names) == expected
        if row["count"]:
            ids = [n + 1 for n, t in enumerate(trades) if row["ms"] <= t[0] < row["ms"] + length]
            assert int(row["first_id"]) == ids[0]


def test_newest_candles_come_without_a_start() -> None:
    candles = MinuteCandles()
    for minute in range(10):
        candles.add(START_MS + minute * MINUTE_MS, 100 + minute, 1, 1)
    rows = candles.select(MINUTE_MS, None, None, 3, START_MS + 11 * MINUTE_MS)
    assert rows["close"].tolist() == [109, 109, 109]
    assert rows["count"].tolist() == [1, 0, 0]


def test_trades_are_bounded_and_found_by_id_and_time(monkeypatch) -> None:
    monkeypatch.setattr("venues.embedded.trades.MAX_TRADES", 1 << 13)
    table = TradeTable(np.zeros(0, TRADES), 0)
    for number in range(20_000):
        table.add(START_MS + number, 1 + number % 2, 1, 1, same_taker=number % 4 == 1)
    rows = table.rows
    assert len(rows) <= 1 << 13
    assert rows["id"].tolist() == list(range(20_001 - len(rows), 20_001))
    some = table.select(key="id", start=19_990, ms_from=None, ms_to=None, limit=5)
    assert some["id"].tolist() == list(range(19_990, 19_995))
    timed = table.select(
        key="id", start=None, ms_from=START_MS + 19_000, ms_to=START_MS + 19_002, limit=99
    )
    assert timed["ms"].tolist() == [START_MS + 19_000, START_MS + 19_001, START_MS + 19_002]
    assert len(table.select(key="id", start=None, ms_from=None, ms_to=None, limit=7)) == 7
    assert table.candles.trades == 20_000
