"""Opening data: folders, caching, merging, overlapping files, and what is left behind."""

import os
import threading
from pathlib import Path

import pytest

from config.settings import AssumedMarket
from engine.errors import DataError
from engine.rows import LAST, SNAPSHOT, SNAPSHOT_START, Kind
from engine.tape import Tape
from store import source
from store.folders import describe, find, venue_and_symbol
from store.source import open_tape
from tests.store.files import ASSUMED, MINUTE, START, parquet, rows_of, tape_of, text

MS = 1_000_000


def trades(path: Path, stamps: list[int], *, recv: int | None = None, first_id: int = 1) -> Path:
    """Write trades at START + stamps (ms)."""
    columns: dict[str, object] = {
        "event_ns": [START + one * MS for one in stamps],
        "trade_id": [first_id + k for k in range(len(stamps))],
        "side": [1] * len(stamps),
        "price": [100.0 + 0.1 * k for k in range(len(stamps))],
        "size": [1.0] * len(stamps),
    }
    if recv is not None:
        columns["recv_ns"] = [START + (one + recv) * MS for one in stamps]
    return parquet(path, **columns)


def quotes(path: Path, stamps: list[int], *, recv: int | None = None) -> Path:
    """Write quotes at START + stamps (ms)."""
    columns: dict[str, object] = {
        "event_ns": [START + one * MS for one in stamps],
        "bid_px": [99.9] * len(stamps),
        "ask_px": [100.1] * len(stamps),
    }
    if recv is not None:
        columns["recv_ns"] = [START + (one + recv) * MS for one in stamps]
    return parquet(path, **columns)


def test_rows_merge_by_receive_time_where_all_have_it(tmp_path: Path) -> None:
    a = trades(tmp_path / "trades" / "x_AUSD.parquet", [10, 30, 50], recv=3)
    b = quotes(tmp_path / "quotes" / "x_AUSD.parquet", [11, 29, 51], recv=1)
    rows = rows_of(tape_of(tmp_path, a, b))
    assert rows["kind"].tolist() == [1, 2, 1, 2, 1, 2]
    assert (rows["ts_recv"] > 0).all()
    assert (rows["flags"] == LAST).all()


def test_rows_merge_by_event_time_where_some_have_no_receive_time(tmp_path: Path) -> None:
    a = trades(tmp_path / "trades" / "x_AUSD.parquet", [10, 30, 50], recv=300)
    b = quotes(tmp_path / "quotes" / "x_AUSD.parquet", [11, 29, 51])
    tape = tape_of(tmp_path, a, b)
    assert rows_of(tape)["kind"].tolist() == [2, 1, 1, 2, 2, 1]
    assert not rows_of(tape)["ts_recv"].any()
    assert "merged by event time" in tape.info.notes[0]


def test_a_clock_that_is_behind_is_corrected_and_recorded(tmp_path: Path) -> None:
    a = trades(tmp_path / "trades" / "x_AUSD.parquet", list(range(0, 5000, 10)), recv=-1268)
    b = quotes(tmp_path / "quotes" / "x_BUSD.parquet", list(range(5, 5000, 10)), recv=-1262)
    tape = tape_of(tmp_path, a, b)
    assert {one.clock_offset_ns for one in tape.instruments} == {1270 * MS}
    rows = rows_of(tape)
    latency = rows["ts_recv"] - rows["ts_event"]
    assert set((latency // MS).tolist()) == {2, 8}, "one offset keeps the order of instruments"
    rows = rows_of(tape_of(tmp_path, a, b, clock_offset="none"))
    assert (rows["ts_recv"] - rows["ts_event"]).max() < 0
    tape = tape_of(tmp_path, a, b, clock_offset="2000.5")
    assert tape.instruments[0].clock_offset_ns == 2_000_500_000


def test_overlapping_files_give_each_trade_and_bar_once(tmp_path: Path) -> None:
    a = trades(tmp_path / "trades" / "x_AUSD_1.parquet", [10, 20, 20, 30], first_id=1)
    b = trades(tmp_path / "trades" / "x_AUSD_2.parquet", [20, 20, 30, 40], first_id=2)
    tape = tape_of(tmp_path, b, a)
    assert rows_of(tape)["i2"].tolist() == [1, 2, 3, 4, 5]
    assert tape.info.dropped == {"trade that stands twice": 3}
    bars = {name: [1.0] * 4 for name in ("open", "high", "low", "close", "volume")}
    for k in range(2):
        stamps = [START + (2 * k + n) * MINUTE for n in range(4)]
        parquet(tmp_path / "bars" / f"x_CUSD_{k}.parquet", ts_ns=stamps, **bars)
    tape = tape_of(tmp_path, *sorted((tmp_path / "bars").iterdir()))
    assert (rows_of(tape)["kind"] == Kind.BAR).sum() == 6
    assert (rows_of(tape)["kind"] == Kind.QUOTE).sum() == 12
    assert tape.info.dropped == {"bar that stands twice": 2}


def test_bars_beside_quotes_make_no_quotes(tmp_path: Path) -> None:
    ohlc = {name: [1.0] * 3 for name in ("open", "high", "low", "close", "volume")}
    a = parquet(tmp_path / "bars" / "x_AUSD.parquet",
                ts_ns=[START + k * MINUTE for k in range(3)], **ohlc)  # fmt: skip
    b = quotes(tmp_path / "quotes" / "x_AUSD.parquet", [10, 70_000])
    rows = rows_of(tape_of(tmp_path, a, b))
    assert (rows["kind"] == Kind.QUOTE).sum() == 2
    assert (rows["kind"] == Kind.BAR).sum() == 3


def test_several_symbols_in_one_file_in_any_order(tmp_path: Path) -> None:
    stamps = [START + k * MINUTE for k in range(3)]
    ohlc = {name: [1.0, 2.0, 3.0] * 2 for name in ("open", "high", "low", "close")}
    path = parquet(tmp_path / "bars" / "us_multi_1m.parquet", symbol=["SPY"] * 3 + ["QQQ"] * 3,
                   ts_ns=stamps * 2, volume=[5] * 6, **ohlc)  # fmt: skip
    tape = tape_of(tmp_path, path)
    assert [one.name for one in tape.instruments] == ["us:QQQ", "us:SPY"]
    rows = rows_of(tape)
    assert (rows["ts_recv"][1:] >= rows["ts_recv"][:-1]).all()
    bars = rows[rows["kind"] == Kind.BAR]
    assert bars["instrument"].tolist() == [0, 1] * 3
    assert bars["f0"].tolist() == [1.0, 1.0, 2.0, 2.0, 3.0, 3.0]
    only = tape_of(tmp_path, path, symbols=("SPY",))
    assert [one.symbol for one in only.instruments] == ["SPY"]
    with pytest.raises(DataError, match="no data of DIA"):
        tape_of(tmp_path, path, symbols=("DIA",))


def test_depth_without_ids_is_packed_by_message(tmp_path: Path) -> None:
    path = text(
        tmp_path / "depth" / "x_AUSD.csv",
        "exchange,symbol,timestamp,local_timestamp,is_snapshot,side,price,amount",
        *[
            f"x,AUSD,{START // 1000},{START // 1000 + at},{snapshot},{side},{price},1.0"
            for at, snapshot, side, price in (
                (1, "true", "bid", 99), (1, "true", "ask", 101), (5, "false", "bid", 98),
                (5, "false", "ask", 102), (6, "false", "bid", 97),
            )
        ],
    )  # fmt: skip
    rows = rows_of(tape_of(tmp_path, path))
    assert rows["flags"].tolist() == [SNAPSHOT | SNAPSHOT_START, SNAPSHOT | LAST, 0, LAST, LAST]
    assert rows["side"].tolist() == [1, -1, 1, -1, 1]
    assert rows["i2"].tolist() == [99, 101, 98, 102, 97]


def depth(path: Path, messages: list[tuple[int, int, bool]]) -> Path:
    """Write depth messages (first id, last id, snapshot) of two levels each, 10 ms apart."""
    rows = [(k, *one, side) for k, one in enumerate(messages) for side in (1, -1)]
    return parquet(
        path,
        recv_ns=[START + k * 10 * MS for k, *_ in rows],
        event_ns=[START + k * 10 * MS for k, *_ in rows],
        first_id=[first for _, first, *_ in rows],
        last_id=[last for _, _, last, *_ in rows],
        prev_id=[-1] * len(rows),
        side=[side for *_, side in rows],
        price=[100.0 - side for *_, side in rows],
        size=[1.0 + k for k, *_ in rows],
        is_snapshot=[int(snapshot) for *_, snapshot, _ in rows],
    )


def test_depth_with_ids_goes_through_the_sync(tmp_path: Path) -> None:
    messages = [(1, 10, False), (11, 20, False), (15, 15, True), (21, 30, False), (41, 50, False),
                (51, 60, False), (55, 55, True), (61, 70, False)]  # fmt: skip
    tape = tape_of(tmp_path, depth(tmp_path / "depth" / "x_AUSD.parquet", messages))
    rows = rows_of(tape)
    ends = rows[rows["flags"] & LAST != 0]
    assert [(Kind(one["kind"]).name, int(one["i3"])) for one in ends] == [
        ("DEPTH", 15), ("DEPTH", 20), ("DEPTH", 30), ("GAP", 0), ("DEPTH", 55), ("DEPTH", 60),
        ("DEPTH", 70),
    ]  # fmt: skip
    gap = rows[rows["kind"] == Kind.GAP][0]
    assert (gap["i0"], gap["i1"], gap["i2"]) == (START + 30 * MS, START + 40 * MS, 1)
    assert tape.info.dropped == {"depth older than the snapshot, or before it": 4}


def test_the_order_of_files_and_batches_does_not_matter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = [
        trades(tmp_path / "trades" / "x_AUSD.parquet", list(range(0, 400, 7)), recv=2),
        quotes(tmp_path / "quotes" / "x_AUSD.parquet", list(range(0, 400, 5)), recv=2),
        depth(tmp_path / "depth" / "x_AUSD.parquet",
              [(1, 1, True)] + [(k, k, False) for k in range(2, 40)]),
        quotes(tmp_path / "quotes" / "x_BUSD.parquet", list(range(0, 400, 5)), recv=2),
    ]  # fmt: skip
    expected = tape_of(tmp_path, *files).info.sha256
    assert tape_of(tmp_path, *reversed(files)).info.sha256 == expected
    for size in (1, 3, 64):
        monkeypatch.setattr("store.tables.BATCH_ROWS", size)
        assert tape_of(tmp_path, *files).info.sha256 == expected


def test_a_tape_is_made_once_and_found_again_by_content(tmp_path: Path) -> None:
    path = trades(tmp_path / "a" / "trades" / "x_AUSD.parquet", [1, 2, 3])
    cache = tmp_path / "cache"
    calls: list[str] = []

    def note(what: str, done: int, total: int) -> None:
        assert 0 <= done <= total
        calls.append(what)

    first = open_tape([path], assumed=ASSUMED, cache_dir=cache, progress=note)
    assert "writing the tape" in calls
    calls.clear()
    moved = tmp_path / "b" / "trades" / "x_AUSD.parquet"
    moved.parent.mkdir(parents=True)
    path.rename(moved)
    assert open_tape([moved], assumed=ASSUMED, cache_dir=cache, progress=note) == first
    assert "writing the tape" not in calls
    assert open_tape([first], assumed=ASSUMED, cache_dir=cache) == first, "a tape is itself"
    others = [
        open_tape([moved], assumed=AssumedMarket(quote_size_notional=5.0, bar_spread_bps=0.0),
                  cache_dir=cache),
        open_tape([moved], assumed=ASSUMED, cache_dir=cache, symbols=["A/USD"]),
    ]  # fmt: skip
    trades(moved, [1, 2, 4])
    others.append(open_tape([moved], assumed=ASSUMED, cache_dir=cache))
    assert len({first, *others}) == 4
    assert sorted(one.name for one in cache.iterdir()) == sorted(p.name for p in {first, *others})


def test_a_damaged_cached_tape_is_made_again(tmp_path: Path) -> None:
    path = trades(tmp_path / "trades" / "x_AUSD.parquet", [1, 2, 3])
    folder = open_tape([path], assumed=ASSUMED, cache_dir=tmp_path / "cache")
    segment = folder / "000000.tape"
    os.truncate(segment, segment.stat().st_size - 64)
    assert open_tape([path], assumed=ASSUMED, cache_dir=tmp_path / "cache") == folder
    assert Tape.open(folder).info.rows == 3


@pytest.mark.parametrize("error", [KeyboardInterrupt, DataError])
def test_an_interrupted_conversion_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: type[BaseException]
) -> None:
    path = trades(tmp_path / "trades" / "x_AUSD.parquet", [1, 2, 3])
    cache = tmp_path / "cache"

    def stop(what: str, done: int, total: int) -> None:
        if what == "writing the tape":
            raise error

    with pytest.raises(error):
        open_tape([path], assumed=ASSUMED, cache_dir=cache, progress=stop)
    assert list(cache.iterdir()) == []
    (cache / ".making-999999999-x").mkdir()
    open_tape([path], assumed=ASSUMED, cache_dir=cache)
    assert not list(cache.glob(".making-*"))


def test_two_conversions_at_once_end_in_one_tape(tmp_path: Path) -> None:
    path = trades(tmp_path / "trades" / "x_AUSD.parquet", list(range(2000)))
    found: list[Path] = []
    barrier = threading.Barrier(2)
    pids = iter([111111111, 222222222])
    lock = threading.Lock()

    def work() -> None:
        barrier.wait()
        found.append(open_tape([path], assumed=ASSUMED, cache_dir=tmp_path / "cache"))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(source, "_remove_leavings", lambda folder: None)

        def own_pid() -> int:
            with lock:
                return next(pids)

        patch.setattr(source.os, "getpid", own_pid)
        patch.setattr("engine.tape_info.os.getpid", lambda: threading.get_ident())
        threads = [threading.Thread(target=work) for _ in range(2)]
        for one in threads:
            one.start()
        for one in threads:
            one.join()
    assert len(set(found)) == 1
    assert len(found) == 2
    Tape.open(found[0]).verify()
    assert [one.name for one in (tmp_path / "cache").iterdir()] == [found[0].name]


def test_folders_are_walked_and_wire_is_left_out_beside_tables(tmp_path: Path) -> None:
    trades(tmp_path / "data" / "trades" / "binance_spot_BTCUSDT_1.parquet", [1])
    quotes(tmp_path / "data" / "binance_spot" / "ETHUSDT" / "quotes" / "day.parquet", [1])
    text(tmp_path / "data" / "wire" / "binance_spot_BTCUSDT.jsonl", "{}")
    text(tmp_path / "data" / "README.md", "read me")
    found = find([tmp_path / "data"])
    assert {(one.venue, one.symbol, one.kind) for one in found.sources} == {
        ("binance_spot", "BTCUSDT", "trades"), ("binance_spot", "ETHUSDT", "quotes"),
    }  # fmt: skip
    assert found.notes == [
        f"{tmp_path / 'data'}: 2 files used, 1 left out, 1 of them wire captures"
    ]
    (wire,) = find([tmp_path / "data" / "wire"]).sources
    assert (wire.venue, wire.symbol, wire.kind) == ("binance_spot", "BTCUSDT", "wire")
    with pytest.raises(DataError, match="no such file or folder"):
        find([tmp_path / "none"])
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="no data in it"):
        find([tmp_path / "empty"])


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("binance_spot_BTCUSDT_202408.parquet", ("binance_spot", "BTCUSDT")),
        ("oanda_EURUSD_20140501_20140515.parquet", ("oanda", "EURUSD")),
        ("us_multi_1m_20190211.parquet", ("us", "")),
        ("BTCUSDT-1m-2023-01.csv", ("", "BTCUSDT")),
        ("BTC_USDT-1m.json", ("", "BTCUSDT")),
        ("binance-futures_trades_2020-02-01_BTCUSDT.csv.gz", ("binance_futures", "BTCUSDT")),
        ("binance_incremental_book_L2_2020-02-01_BTCUSDT.csv.gz", ("binance", "BTCUSDT")),
        ("prices.csv", ("", "")),
    ],
)
def test_names_of_files(name: str, expected: tuple[str, str]) -> None:
    assert venue_and_symbol(name) == expected


def test_a_name_of_its_own_wins_over_unknown_folders(tmp_path: Path) -> None:
    path = trades(tmp_path / "v" / "BTCUSDT" / "trades" / "part-000000.parquet", [1])
    found = describe(path)
    assert (found.venue, found.symbol, found.kind) == ("v", "BTCUSDT", "trades")
