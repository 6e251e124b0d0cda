"""The recorded Binance sets: the rebuilt book equals bookTicker, wire and Parquet are one tape."""

from pathlib import Path

import numpy as np
import pytest

from app.sources import open_tape
from config.settings import AssumedMarket
from engine.rows import LAST, SNAPSHOT_START, Kind
from engine.tape import Tape
from tests.store.files import rows_of

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
ASSUMED = AssumedMarket(quote_size_notional=100_000.0, bar_spread_bps=1.0)
# sets and how many update ids their depth and bookTicker streams have in common
SETS = [
    ("binance_usdm", "BTCUSDT", 1, 629),
    ("binance_usdm", "ETHUSDT", 1, 551),
    ("binance_spot", "BTCUSDT", 2, 1072),
    ("binance_spot", "ETHUSDT", 2, 1056),
]

pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason="no ../shared/data: the recorded sets")


def wire(venue: str, symbol: str, days: int) -> list[Path]:
    """Return the captures of a set."""
    return [DATA / "wire" / f"{venue}_{symbol}_2024080{8 + k}.jsonl.gz" for k in range(days)]


def tables(venue: str, symbol: str) -> list[Path]:
    """Return the Parquet files of the same set."""
    return [
        DATA / kind / f"{venue}_{symbol}_202408.parquet" for kind in ("depth", "quotes", "trades")
    ]


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


def best(side: dict[int, float], *, highest: bool) -> tuple[int, float]:
    """Return the best level of one side."""
    tick = max(side) if highest else min(side)
    return tick, side[tick]


@pytest.mark.parametrize(("venue", "symbol", "days", "comparable"), SETS)
def test_rebuilt_top_of_book_equals_book_ticker(
    cache: Path, venue: str, symbol: str, days: int, comparable: int
) -> None:
    tape = Tape.open(open_tape(wire(venue, symbol, days), assumed=ASSUMED, cache_dir=cache))
    tick = tape.instruments[0].tick_size
    rows = rows_of(tape)
    quotes = rows[rows["kind"] == Kind.QUOTE]
    told = {int(one["i4"]): one for one in quotes}
    bids: dict[int, float] = {}
    asks: dict[int, float] = {}
    compared = 0
    depth = rows[rows["kind"] == Kind.DEPTH]
    fields = [depth[name].tolist() for name in ("side", "f1", "i2", "i3", "flags")]
    for side, size, price_tick, last_id, flags in zip(*fields, strict=True):
        if flags & SNAPSHOT_START:
            bids.clear()
            asks.clear()
        book = bids if side > 0 else asks
        if size:
            book[price_tick] = size
        else:
            book.pop(price_tick, None)
        if flags & LAST and last_id in told:
            (bid, bid_size), (ask, ask_size) = best(bids, highest=True), best(asks, highest=False)
            assert bid < ask
            quote = told[last_id]
            assert round(float(quote["f0"]) / tick) == bid
            assert round(float(quote["f1"]) / tick) == ask
            assert (quote["f2"], quote["f3"]) == (bid_size, ask_size)
            compared += 1
    assert compared == comparable


@pytest.mark.parametrize(("venue", "symbol", "days", "_"), SETS)
def test_wire_and_parquet_of_one_span_are_one_tape(
    cache: Path, venue: str, symbol: str, days: int, _: int
) -> None:
    a = Tape.open(open_tape(wire(venue, symbol, days), assumed=ASSUMED, cache_dir=cache))
    b = Tape.open(open_tape(tables(venue, symbol), assumed=ASSUMED, cache_dir=cache))
    assert a.info.sha256 == b.info.sha256
    rows = rows_of(a)
    trades = rows[rows["kind"] == Kind.TRADE]
    assert ((trades["ts_recv"] - trades["ts_event"]) > 0).all()
    assert a.instruments[0].clock_offset_ns == 1_280_000_000
    recv = rows["ts_recv"].astype(np.int64)
    late = (np.maximum.accumulate(recv) > recv) & (rows["flags"] & LAST != 0)
    assert np.count_nonzero(late) <= 12, "only updates that waited for the first snapshot"
