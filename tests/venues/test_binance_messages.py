"""Decoding Binance messages: right rows, and nothing that a venue sends raises."""

import json
import os
import subprocess
import sys

import msgspec
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from engine.rows import LAST, OFF_MARKET, ROW, SNAPSHOT, SNAPSHOT_START, Kind
from venues.binance_spot.decode import MessageDecoder as SpotDecoder
from venues.binance_usdm.decode import MessageDecoder as UsdmDecoder

TRADE = (
    '{"e":"trade","E":1672515782136,"s":"BNBBTC","t":12345,"p":"0.001","q":"100",'
    '"T":1672515782137,"m":true,"M":true}'
)
FUTURE_TRADE = (
    '{"e":"trade","E":1723161256322,"T":1723161256322,"s":"BNBBTC","t":5266583935,"p":"61800.30",'
    '"q":"0.006","X":"MARKET","m":false}'
)
TICKER = (
    '{"u":400900217,"s":"BNBBTC","b":"25.35190000","B":"31.21000000","a":"25.36520000",'
    '"A":"40.66000000"}'
)
FUTURE_TICKER = (
    '{"e":"bookTicker","u":5123107839020,"s":"BNBBTC","b":"61800.20","B":"2.507","a":"61800.30",'
    '"A":"2.510","T":1723161256313,"E":1723161256314}'
)
UPDATE = (
    '{"e":"depthUpdate","E":1672515782136,"s":"BNBBTC","U":157,"u":160,'
    '"b":[["0.0024","10"],["0.0022","0"]],"a":[["0.0026","100"]]}'
)
FUTURE_UPDATE = (
    '{"e":"depthUpdate","E":123456789,"T":123456788,"s":"BNBBTC","U":157,"u":160,"pu":149,'
    '"b":[["0.0024","10"]],"a":[["0.0026","100"]]}'
)
BOOK = '{"lastUpdateId":160,"bids":[["0.0024","10"]],"asks":[["0.0026","100"],["0.0027","1"]]}'
ALL = (TRADE, FUTURE_TRADE, TICKER, FUTURE_TICKER, UPDATE, FUTURE_UPDATE, BOOK)


def decode(message: str | bytes, *, symbol: str = "", tick: float | None = None) -> tuple:
    """Return (decoder, rows) of one message."""
    rows = np.zeros(16, ROW)
    decoder = SpotDecoder({"BNBBTC": 3}, {3: tick} if tick else None)
    data = message.encode() if isinstance(message, str) else message
    count = decoder.decode_into(data, memoryview(rows.view(np.uint8)), 1, 77, symbol)
    assert rows[0].tobytes() == bytes(64)
    assert not np.any(rows["kind"][max(count, 0) + 1 :]) or count <= 0
    return decoder, rows[1 : 1 + max(count, 0)]


def wrapped(message: str, stream: str) -> str:
    """Return a message in the envelope of combined streams."""
    return f'{{"stream":"bnbbtc@{stream}","data":{message}}}'


@pytest.mark.parametrize("envelope", [False, True])
def test_trade(envelope: bool) -> None:
    _, rows = decode(wrapped(TRADE, "trade") if envelope else TRADE)
    (row,) = rows
    assert (row["kind"], row["side"], row["flags"], row["instrument"]) == (Kind.TRADE, -1, LAST, 3)
    assert (row["f0"], row["f1"], row["i2"]) == (0.001, 100.0, 12345)
    assert (row["ts_event"], row["ts_recv"]) == (1672515782137_000_000, 77)
    assert (row["i3"], row["i4"], row["check"]) == (0, 0, 0)


def test_trades_that_are_no_market_trades_are_flagged() -> None:
    assert decode(FUTURE_TRADE)[1]["flags"] == LAST
    assert decode(FUTURE_TRADE)[1]["side"] == 1
    for what in ("INSURANCE_FUND", "ADL", "NA"):
        changed = FUTURE_TRADE.replace("MARKET", what)
        assert decode(changed)[1]["flags"] == LAST | OFF_MARKET


@pytest.mark.parametrize("envelope", [False, True])
def test_ticker(envelope: bool) -> None:
    _, (row,) = decode(wrapped(TICKER, "bookTicker") if envelope else TICKER)
    assert (row["kind"], row["flags"], row["ts_event"]) == (Kind.QUOTE, LAST, 0)
    assert [row[f"f{k}"] for k in range(4)] == [25.3519, 25.3652, 31.21, 40.66]
    assert row["i4"] == 400900217
    _, (row,) = decode(wrapped(FUTURE_TICKER, "bookTicker") if envelope else FUTURE_TICKER)
    assert row["ts_event"] == 1723161256313_000_000
    assert row["f3"] == 2.51


@pytest.mark.parametrize("envelope", [False, True])
def test_depth_is_one_packet_of_bids_then_asks(envelope: bool) -> None:
    decoder, rows = decode(wrapped(UPDATE, "depth@100ms") if envelope else UPDATE, tick=0.0001)
    assert rows["flags"].tolist() == [0, 0, LAST]
    assert rows["side"].tolist() == [1, 1, -1]
    assert rows["f0"].tolist() == [0.0024, 0.0022, 0.0026]
    assert rows["f1"].tolist() == [10.0, 0.0, 100.0]
    assert rows["i2"].tolist() == [24, 22, 26]
    assert set(rows["i3"].tolist()) == {160}
    assert set(rows["i4"].tolist()) == {157}
    assert decoder.depth == (157, 160, -1, False, 3)
    decoder, rows = decode(FUTURE_UPDATE)
    assert decoder.depth == (157, 160, 149, False, 3)
    assert rows["i2"].tolist() == [149, 149], "the id before stands there while no tick is known"
    assert rows["ts_event"][0] == 123456788_000_000


def test_a_bare_book_takes_the_symbol_it_is_given() -> None:
    decoder, rows = decode(BOOK, symbol="BNBBTC")
    assert rows["flags"].tolist() == [SNAPSHOT | SNAPSHOT_START, SNAPSHOT, SNAPSHOT | LAST]
    assert decoder.depth == (160, 160, -1, True, 3)
    decoder, rows = decode(BOOK)
    assert len(rows) == 0
    assert decoder.skipped == {"symbol not asked for": 1}


def test_stamps_in_microseconds() -> None:
    _, (row,) = decode(TRADE.replace("1672515782137", "1672515782137123"))
    assert row["ts_event"] == 1672515782137123_000


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        ('{"result":null,"id":1}', "answer to a request"),
        ('{"code":2,"msg":"Invalid request","id":3}', "answer to a request"),
        ('{"e":"kline","E":1,"s":"BNBBTC","k":{}}', "kline is not used"),
        ('{"e":"serverShutdown","E":1}', "unknown message"),
        ("{}", "unknown message"),
        ("[]", "field missing, of the wrong type or out of bounds"),
        ("null", "field missing, of the wrong type or out of bounds"),
        ("", "no JSON"),
        ("{", "no JSON"),
        ("ping", "no JSON"),
        (TRADE[:-1], "no JSON"),
        (TRADE.replace("BNBBTC", "ETHBTC"), "symbol not asked for"),
        (wrapped(TRADE, "trade").replace("BNBBTC", "ETHBTC"), "symbol not asked for"),
        ("[" * 100_000, "field missing, of the wrong type or out of bounds"),
    ],
)
def test_what_is_no_market_data_is_counted(message: str, reason: str) -> None:
    decoder, rows = decode(message)
    assert len(rows) == 0
    assert decoder.skipped == {reason: 1}


BAD_PRICES = ['"0"', '"-1"', '"nan"', '"inf"', '"-Infinity"', '"1e400"', "1e400", "NaN", '"1e308"',
              "null", '""', '"x"', "[]", "true"]  # fmt: skip


@pytest.mark.parametrize("bad", BAD_PRICES)
@pytest.mark.parametrize(
    ("message", "good"),
    [(TRADE, '"0.001"'), (TICKER, '"25.36520000"'), (UPDATE, '"0.0022"'), (BOOK, '"0.0027"')],
)
def test_fault_F12_insane_prices_are_refused(message: str, good: str, bad: str) -> None:
    assert message.count(good) == 1
    for text in (message.replace(good, bad), wrapped(message.replace(good, bad), "trade")):
        decoder, rows = decode(text, symbol="BNBBTC")
        assert len(rows) == 0
        assert sum(decoder.skipped.values()) == 1


def test_fault_F12_negative_and_infinite_sizes_are_refused() -> None:
    for bad in ('"-0.5"', '"inf"', '"1e300"', '"nan"'):
        for message, good in ((TRADE, '"100"'), (TICKER, '"31.21000000"'), (UPDATE, '"100"')):
            decoder, rows = decode(message.replace(good, bad))
            assert len(rows) == 0
            assert sum(decoder.skipped.values()) == 1
    assert len(decode(UPDATE.replace('"100"', '"0"'))[1]) == 3, "0 removes a level"


def test_fault_F14_wrong_shapes_are_refused_and_numbers_may_be_bare() -> None:
    fields = json.loads(TRADE)
    for name in ("s", "t", "p", "q", "T", "m"):
        missing = {key: value for key, value in fields.items() if key != name}
        assert len(decode(json.dumps(missing, separators=(",", ":")))[1]) == 0
        for wrong in ({}, [], None):
            changed = json.dumps(fields | {name: wrong}, separators=(",", ":"))
            assert len(decode(changed)[1]) == 0
    assert decode(TRADE.replace('"0.001"', "0.001"))[1]["f0"] == 0.001
    assert decode(TRADE.replace('"M":true', '"M":true,"new":[1,{"a":2}]'))[1]["f0"] == 0.001
    assert len(decode(TRADE.replace('"t":12345', '"t":1.5'))[1]) == 0
    assert len(decode(TRADE.replace('"t":12345', f'"t":{"9" * 30}'))[1]) == 0


def test_fault_F14_the_order_of_keys_and_blanks_do_not_matter() -> None:
    for message, symbol in ((TRADE, ""), (TICKER, ""), (UPDATE, ""), (BOOK, "BNBBTC")):
        expected = decode(message, symbol=symbol)[1].tobytes()
        fields = json.loads(message)
        for text in (
            json.dumps(dict(reversed(fields.items()))),
            json.dumps(dict(sorted(fields.items())), indent=1),
            json.dumps({"data": dict(reversed(fields.items())), "stream": "bnbbtc@x"}),
        ):
            assert decode(text, symbol=symbol)[1].tobytes() == expected


def test_fault_F15_of_duplicate_keys_the_last_one_counts() -> None:
    assert decode(TRADE.replace('"p":"0.001"', '"p":"5","p":"7"'))[1]["f0"] == 7.0
    assert decode(TICKER.replace('"b":"25.35190000"', '"b":"1","b":"2"'))[1]["f0"] == 2.0


def test_a_message_that_does_not_fit_is_not_written() -> None:
    rows = np.zeros(2, ROW)
    decoder = UsdmDecoder({"BNBBTC": 0})
    buffer = memoryview(rows.view(np.uint8))
    assert decoder.decode_into(UPDATE.encode(), buffer, 0, 1) == -1
    assert decoder.needed_rows == 3
    assert decoder.decode_into(TICKER.encode(), buffer, 2, 1) == -1
    assert rows.tobytes() == bytes(128)
    assert decoder.decode_into(TICKER.encode(), buffer, 1, 1) == 1


prices = st.integers(1, 10**13).flatmap(
    lambda n: st.integers(0, 10).map(lambda d: format(n * 10.0**-d, f".{d}f"))
)


@given(bid=prices, ask=prices, size=prices, envelope=st.booleans())
def test_decimal_strings_become_the_nearest_float(
    bid: str, ask: str, size: str, envelope: bool
) -> None:
    message = f'{{"u":1,"s":"BNBBTC","b":"{bid}","B":"{size}","a":"{ask}","A":"0.00"}}'
    _, rows = decode(wrapped(message, "bookTicker") if envelope else message)
    values = float(bid), float(ask), float(size)
    if all(0 < one < 1e15 for one in values[:2]):
        assert (rows["f0"][0], rows["f1"][0], rows["f2"][0], rows["f3"][0]) == (*values, 0.0)
    else:
        assert len(rows) == 0


@given(
    base=st.sampled_from(ALL + tuple(wrapped(one, "trade") for one in ALL)),
    edits=st.lists(st.tuples(st.integers(0, 400), st.binary(max_size=3)), max_size=4),
    cut=st.integers(0, 400),
)
@settings(max_examples=600)
@example(base=TRADE, edits=[(0, b"\xff\xfe")], cut=400)
def test_changed_bytes_never_raise_and_never_give_an_insane_row(
    base: str, edits: list, cut: int
) -> None:
    data = bytearray(base.encode())
    for at, piece in edits:
        data[at % (len(data) + 1) : at % (len(data) + 1) + len(piece)] = piece
    decoder, rows = decode(bytes(data[:cut]), symbol="BNBBTC")
    assert sum(decoder.skipped.values()) == (0 if len(rows) else 1) or not json_levels(data[:cut])
    for row in rows:
        assert 0 < row["f0"] < 1e15
        assert row["instrument"] == 3
        assert row["kind"] in (Kind.QUOTE, Kind.TRADE, Kind.DEPTH)


def json_levels(data: bytes) -> bool:
    """Say whether a message is not simply an update without levels."""
    try:
        fields = msgspec.json.decode(bytes(data))
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return True
    fields = fields.get("data", fields) if isinstance(fields, dict) else {}
    return not (isinstance(fields, dict) and fields.get("b") == [] == fields.get("a"))


@given(data=st.binary(max_size=200))
def test_noise_never_raises(data: bytes) -> None:
    decoder, rows = decode(data)
    assert len(rows) == 0
    assert sum(decoder.skipped.values()) == 1


@pytest.mark.parametrize("message", [bytearray(TRADE.encode()), TRADE, memoryview(TRADE.encode())])
def test_what_is_not_bytes_is_never_read_as_such(message: object) -> None:
    rows = np.zeros(4, ROW)
    decoder = SpotDecoder({"BNBBTC": 3})
    decoder.decode_into(TRADE.encode(), memoryview(rows.view(np.uint8)), 0, 1)
    assert decoder.fast.parse(id(message), 0, 1, decoder.fast.address) == 0


@given(
    base=st.sampled_from(ALL[:6]),
    edits=st.lists(st.tuples(st.integers(0, 200), st.sampled_from(b'{}[]",:.0123456789eabTuU')),
                   min_size=1, max_size=3),
    envelope=st.booleans(),
)  # fmt: skip
@settings(max_examples=1500)
def test_the_fast_parser_agrees_with_msgspec_or_gives_up(
    base: str, edits: list, envelope: bool
) -> None:
    text = bytearray((wrapped(base, "x") if envelope else base).encode())
    for at, byte in edits:
        text[at % len(text)] = byte
    fast, slow = SpotDecoder({"BNBBTC": 3}, {3: 0.01}), SpotDecoder({"BNBBTC": 3}, {3: 0.01})
    warm = np.zeros(8, ROW)
    fast.decode_into(base.encode(), memoryview(warm.view(np.uint8)), 0, 1)
    rows, expected = np.zeros(8, ROW), np.zeros(8, ROW)
    buffer = memoryview(rows.view(np.uint8))
    fast.fast.adopt(buffer)
    message = bytes(text)
    count = fast.fast.parse(id(message), 0, 77, fast.fast.address)
    if count == 0:
        return
    assert slow._slowly(message, memoryview(expected.view(np.uint8)), 0, 77, "") == count
    assert rows[:count].tobytes() == expected[:count].tobytes()
    assert fast.depth == slow.depth


def test_without_machine_code_everything_goes_through_msgspec() -> None:
    code = (
        "from tests.venues.test_binance_messages import *\n"
        "for message in ALL:\n"
        "    decoder, rows = decode(message, symbol='BNBBTC', tick=0.01)\n"
        "    print(rows.tobytes().hex(), decoder.depth)\n"
    )
    printed = [
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "NUMBA_DISABLE_JIT": disabled},
            capture_output=True, text=True, check=True,
        ).stdout
        for disabled in ("0", "1")
    ]  # fmt: skip
    assert printed[0] == printed[1]
    assert len(printed[0].splitlines()) == len(ALL)
