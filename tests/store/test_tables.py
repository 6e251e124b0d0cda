"""Reading tables of any usual layout, and refusing the others in one line."""

import gzip
from pathlib import Path

import pytest

from engine.errors import DataError
from engine.rows import ASSUMED, BAR_OPEN, LAST, OFF_MARKET, Kind
from tests.store.files import MINUTE, START, parquet, rows_of, tape_of, text

MS = START // 1_000_000
KLINE = "{},30000.1,30010.0,29990.0,30005.5,12.5,{},375000,100,6.2,186000,0"
CSV_TRADES = {
    "binance spot dump": [f"{k},30000.{k},0.5,15000,{MS + k},{k % 2 == 0},True" for k in range(3)],
    "binance usdm dump": ["id,price,qty,quote_qty,time,is_buyer_maker"]
    + [f"{k},30000.{k},0.5,15000,{MS + k},{str(k % 2 == 0).lower()}" for k in range(3)],
    "binance aggTrades": [
        f"{k},30000.{k},0.5,{k},{k},{MS + k},{k % 2 == 0},True" for k in range(3)
    ],
    "binance aggTrades in us": [
        f"{k},30000.{k},0.5,{k},{k},{MS + k}000,{k % 2 == 0},True" for k in range(3)
    ],
    "usdm aggTrades": [
        "agg_trade_id,price,quantity,first_trade_id,last_trade_id,transact_time,is_buyer_maker"
    ]
    + [f"{k},30000.{k},0.5,{k},{k},{MS + k},{str(k % 2 == 0).lower()}" for k in range(3)],
    "tardis": ["exchange,symbol,timestamp,local_timestamp,id,side,price,amount"]
    + [
        f"binance,BTCUSDT,{MS + k}000,{MS + k + 5}000,{k},{('sell', 'buy')[k % 2]},30000.{k},0.5"
        for k in range(3)
    ],
    "canonical": ["ts_event,price,size,side,trade_id"]
    + [f"{START + k * 1_000_000},30000.{k},0.5,{-1 if k % 2 == 0 else 1},{k}" for k in range(3)],
    "semicolons and ISO": ["Time;Price;Quantity;Side"]
    + [
        f"2023-11-14T22:14:00.00{k}Z;30000.{k};0.5;{'Sell' if k % 2 == 0 else 'Buy'}"
        for k in range(3)
    ],
}


@pytest.mark.parametrize("layout", CSV_TRADES)
def test_trades_of_any_usual_layout_are_the_same(tmp_path: Path, layout: str) -> None:
    path = text(tmp_path / "trades" / "BTCUSDT-x.csv", *CSV_TRADES[layout])
    tape = tape_of(tmp_path, path)
    rows = rows_of(tape)
    assert (tape.instruments[0].symbol, tape.info.dropped) == ("BTCUSDT", {})
    assert rows["kind"].tolist() == [Kind.TRADE] * 3
    assert rows["f0"].tolist() == [30000.0, 30000.1, 30000.2]
    assert rows["f1"].tolist() == [0.5] * 3
    assert rows["side"].tolist() == [-1, 1, -1]
    assert rows["ts_event"].tolist() == [START + k * 1_000_000 for k in range(3)]
    if layout == "tardis":
        assert rows["ts_recv"].tolist() == [START + (k + 5) * 1_000_000 for k in range(3)]


BARS = {
    "binance dump": [KLINE.format(MS + k * 60_000, MS + k * 60_000 + 59_999) for k in range(3)],
    "candles without header": [
        f"{MS + k * 60_000},30000.1,30010.0,29990.0,30005.5,12.5" for k in range(3)
    ],
    "freqtrade csv": ["date,open,high,low,close,volume"]
    + [f"2023-11-14 22:1{4 + k}:00+00:00,30000.1,30010.0,29990.0,30005.5,12.5" for k in range(3)],
    "capitals and seconds": ["Timestamp,Open,High,Low,Close,Volume"]
    + [f"{MS // 1000 + k * 60},30000.1,30010.0,29990.0,30005.5,12.5" for k in range(3)],
    "date and time": ["<DATE>\t<TIME>\t<OPEN>\t<HIGH>\t<LOW>\t<CLOSE>\t<TICKVOL>"]
    + [f"2023.11.14\t22:1{4 + k}:00\t30000.1\t30010.0\t29990.0\t30005.5\t12.5" for k in range(3)],
    "newest first": ["https://www.example.com", "unix,date,symbol,open,high,low,close,Volume BTC"]
    + [
        f"{MS + k * 60_000},2023-11-14 22:1{4 + k}:00,BTC/USDT,30000.1,30010.0,29990.0,30005.5,12.5"
        for k in (2, 1, 0)
    ],
}


@pytest.mark.parametrize("layout", BARS)
def test_bars_of_any_usual_layout_are_the_same(tmp_path: Path, layout: str) -> None:
    path = text(tmp_path / "BTCUSDT-1m-2023.csv", *BARS[layout])
    tape = tape_of(tmp_path, path)
    (instrument,) = tape.instruments
    assert (instrument.symbol, instrument.tick) == ("BTCUSDT", "0.1")
    assert instrument.bar_interval_ns == MINUTE
    rows = rows_of(tape)
    assert rows["kind"].tolist() == [Kind.QUOTE] + [Kind.QUOTE, Kind.BAR, Kind.QUOTE] * 2 + [
        Kind.QUOTE, Kind.BAR,
    ]  # fmt: skip
    bars = rows[rows["kind"] == Kind.BAR]
    assert bars["ts_event"].tolist() == [START + k * MINUTE for k in range(3)]
    assert bars["ts_recv"].tolist() == [START + (k + 1) * MINUTE for k in range(3)]
    assert [bars[f"f{k}"][0] for k in range(4)] == [30000.1, 30010.0, 29990.0, 30005.5]
    if layout != "newest first":
        assert bars["f4"][0] == 12.5


def test_candles_in_json(tmp_path: Path) -> None:
    path = tmp_path / "bars" / "BTC_USDT-1m.json"
    path.parent.mkdir()
    candles = [[MS + k * 60_000, 30000.1, 30010.0, 29990.0, 30005.5, 12.5] for k in range(3)]
    path.write_text(str(candles))
    assert (rows_of(tape_of(tmp_path, path))["kind"] == Kind.BAR).sum() == 3
    path.write_text('{"a": 1}')
    with pytest.raises(DataError, match="not a list of candles"):
        tape_of(tmp_path, path)


def test_quotes_made_from_bars_have_the_assumed_spread_and_size(tmp_path: Path) -> None:
    path = text(tmp_path / "BTCUSDT-1m.csv", *BARS["candles without header"])
    rows = rows_of(tape_of(tmp_path, path))
    opening = rows[rows["flags"] & BAR_OPEN != 0]
    closing = rows[(rows["kind"] == Kind.QUOTE) & (rows["flags"] & BAR_OPEN == 0)]
    assert (opening["flags"] == ASSUMED | BAR_OPEN | LAST).all()
    assert (closing["flags"] == ASSUMED).all(), "the quote of a close is in the packet of its bar"
    # half of 10 bps of 30000.1 is 15.00005, to the tick of 0.1 outward
    assert set(opening["f0"].tolist()) == {29985.0}
    assert set(opening["f1"].tolist()) == {30015.2}
    assert opening["ts_recv"].tolist() == [START + k * MINUTE for k in range(3)]
    assert closing["ts_recv"].tolist() == [START + (k + 1) * MINUTE for k in range(3)]
    # 1000 in quote currency, in lots of 0.1: nothing less than one lot
    assert set(opening["f2"].tolist()) == {0.1}


def test_bid_and_ask_bars_give_their_own_quotes(tmp_path: Path) -> None:
    columns = {name: [1.0, 1.0] for name in ("open", "high", "low", "close")}
    quotes = {"open_bid": [0.9991, 0.9992], "open_ask": [1.0001, 1.0002],
              "close_bid": [1.0011, 1.0012], "close_ask": [1.0009, 1.0008]}  # fmt: skip
    path = parquet(
        tmp_path / "bars" / "fx_EURUSD_1m.parquet",
        ts_ns=[START, START + MINUTE],
        **columns,
        **quotes,
    )
    tape = tape_of(tmp_path, path)
    rows = rows_of(tape)
    opening = rows[rows["flags"] & BAR_OPEN != 0]
    assert opening["f0"].tolist() == quotes["open_bid"]
    closing = rows[(rows["kind"] == Kind.QUOTE) & (rows["flags"] & BAR_OPEN == 0)]
    assert closing["f1"].tolist() == quotes["close_ask"], "crossed as delivered: the kernel judges"
    assert "bar_quotes" in tape.instruments[0].has
    assert tape.instruments[0].tick == "0.0001"


def test_insane_rows_are_dropped_with_their_reasons(tmp_path: Path) -> None:
    nan, inf = float("nan"), float("inf")
    path = parquet(
        tmp_path / "trades" / "x_BTCUSDT.parquet",
        event_ns=[START, START, START, START, START, 0, START],
        price=[1.0, -1.0, nan, inf, 0.0, 1.0, 2.0],
        size=[1.0, 1.0, 1.0, 1.0, 1.0, 1.0, -1.0],
        side=[1, 1, 1, 1, 1, 1, 1],
        kind=["MARKET", "", "", "", "", "", ""],
    )
    tape = tape_of(tmp_path, path)
    assert tape.info.rows == 1
    assert tape.info.dropped == {
        "price not positive and finite": 4, "no time": 1, "size negative or not finite": 1,
    }  # fmt: skip


def test_prints_that_are_no_market_trades_are_flagged(tmp_path: Path) -> None:
    path = parquet(
        tmp_path / "trades" / "x_BTCUSDT.parquet",
        event_ns=[START + k for k in range(4)],
        price=[1.0] * 4, size=[1.0] * 4, side=[1] * 4,
        kind=["MARKET", "INSURANCE_FUND", "", None],
    )  # fmt: skip
    rows = rows_of(tape_of(tmp_path, path))
    assert rows["flags"].tolist() == [LAST, LAST | OFF_MARKET, LAST, LAST]


def test_quotes_keep_crossed_ones_and_unknown_sizes(tmp_path: Path) -> None:
    path = parquet(
        tmp_path / "quotes" / "x_EURUSD.parquet",
        event_ns=[START, START + 1, START + 2, START + 3],
        bid_px=[1.2, 1.3, 1.2, None],
        ask_px=[1.3, 1.2, 0.0, 1.2],
    )
    tape = tape_of(tmp_path, path)
    rows = rows_of(tape)
    assert rows["f0"].tolist() == [1.2, 1.3]
    assert all(str(one) == "nan" for one in rows["f2"])
    assert tape.instruments[0].has == ("quotes",)
    assert tape.info.dropped == {
        "price not positive and finite": 1, "quote with one side only": 1,
    }  # fmt: skip


def packed(data: bytes) -> bytes:
    """Compress without the time of day: the tests' names are the same in every process."""
    return gzip.compress(data, mtime=0)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("trades/x_A1.csv", b"", "the file is empty"),
        ("trades/x_A1.csv", b"\n\n", "the file is empty"),
        ("trades/x_A1.csv", b"price,size\n", "missing ts_event; found price, size"),
        ("quotes/x_A1.csv", b"ts_event,price\n1,2\n", "ts_event, bid, ask; missing bid, ask"),
        ("x_A1.csv", b"a,b\n1,2\n", "neither trades .* nor bars .*; found a, b"),
        ("x_A1.csv", b"1,2,3\n", "no header line, and 3 columns are no layout that is known"),
        ("x_A1.csv", b"\xff\xfe\x00", "not a text file in UTF-8"),
        ("x_A1.csv.gz", b"no gzip", "cannot be read"),
        ("x_A1.csv.gz", packed(b"ts_event,price,size\n" * 9999)[:60], "cannot be read"),
        ("x_A1.parquet", b"PAR1 no", "not a Parquet file"),
        ("x_A1.txt", b"x", "not a file that can be read; known endings: .parquet"),
        ("x_A1.csv", b"ts_event,price,size\nsoon,1,1\n", "column ts_event holds no times"),
        ("x_A1.csv", b"ts_event,price,size\n1700000000,1\n", "cannot be read"),
        ("x_A1.csv", b"time,price,size\n1700000000,0,1\n", "no usable row .1 price not"),
        ("x_A1.csv", b"1700000000,1,1,1,1,1\n1700000420,1,1,1,1,1\n", "bars of 420 s; allowed"),
        ("x_A1.jsonl.gz", packed(b'{"a":1}\n'), "no wire decoder for the venue x; known"),
        ("binance_spot_A1USDT.jsonl.gz", packed(b"{}\n"), "no wire capture; lines need"),
        ("binance_spot_A1USDT.jsonl.gz", b"plain", "cannot be read"),
        ("binance_spot_A1USDT.jsonl.gz", packed(b""), "the file is empty"),
    ],
)  # fmt: skip
def test_what_cannot_be_used_is_refused_in_one_line(
    tmp_path: Path, name: str, content: bytes, message: str
) -> None:
    import app.sources  # noqa: F401  (the wire decoders)

    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content)
    with pytest.raises(DataError, match=message) as caught:
        tape_of(tmp_path, path)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)
