"""A data folder that was written from a tape gives the same tape again."""

from collections.abc import Callable
from pathlib import Path

import pytest

import app.sources  # noqa: F401  (the wire decoders)
from engine.errors import DataError
from engine.tape import Tape
from store.export import export_tape
from tests.store.files import MINUTE, START, parquet, tape_of
from tests.store.test_captures import book, capture, update
from tests.store.test_source import depth, quotes, trades

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"


def silent(what: str, done: int, total: int) -> None:
    """Report nothing."""


def round_trip(tmp_path: Path, tape: Tape, **options: object) -> Tape:
    """Write a tape as a data folder and convert that."""
    out = tmp_path / "out"
    export_tape(tape, out, overwrite=True, progress=silent)
    assert not list(out.glob(".*"))
    return tape_of(tmp_path, out, **options)


def make_trades(folder: Path) -> list[Path]:
    return [
        trades(folder / "trades" / "x_AUSD.parquet", list(range(0, 4000, 7)), recv=-500),
        quotes(folder / "quotes" / "x_AUSD.parquet", list(range(0, 4000, 5)), recv=-500),
        depth(folder / "depth" / "x_AUSD.parquet",
              [(1, 9, False), (5, 5, True), (10, 12, False), (20, 21, False), (22, 22, True)]),
    ]  # fmt: skip


def make_bars(folder: Path) -> list[Path]:
    ohlc = {name: [1.25, 1.5, 1.75] for name in ("open", "high", "low", "close", "volume")}
    stamps = [START, START + MINUTE, START + 5 * MINUTE]
    return [parquet(folder / "bars" / "x_AUSD_1m.parquet", ts_ns=stamps, **ohlc)]


def make_bar_quotes(folder: Path) -> list[Path]:
    names = ("open", "high", "low", "close", "open_bid", "open_ask", "close_bid", "close_ask")
    ohlc = {name: [1.25, 1.5] for name in names}
    return [parquet(folder / "bars" / "x_AUSD_1m.parquet", ts_ns=[START, START + MINUTE], **ohlc)]


def make_capture(folder: Path) -> list[Path]:
    return [
        capture(folder / "binance_usdm_BTCUSDT.jsonl.gz",
                update(1, 2, 0), book(5), update(5, 8, 4), update(9, 11, 8), update(15, 16, 14),
                update(17, 18, 16), book(16), update(19, 20, 18))
    ]  # fmt: skip


@pytest.mark.parametrize("make", [make_trades, make_bars, make_bar_quotes, make_capture])
def test_a_data_folder_gives_the_same_tape(
    tmp_path: Path, make: Callable[[Path], list[Path]]
) -> None:
    (tmp_path / "in").mkdir()
    tape = tape_of(tmp_path, *make(tmp_path / "in"))
    again = round_trip(tmp_path, tape)
    assert again.instruments == tape.instruments
    assert again.info.sha256 == tape.info.sha256
    assert again.info.dropped == {}


def test_what_a_person_said_of_the_grid_stays(tmp_path: Path) -> None:
    tape = tape_of(tmp_path, *make_trades(tmp_path / "in"), tick="0.5", min_notional="7")
    assert tape.instruments[0].inferred == ("lot",)
    again = round_trip(tmp_path, tape)
    assert again.instruments == tape.instruments
    assert (again.instruments[0].tick, again.instruments[0].min_notional) == ("0.5", "7")


def test_an_import_is_not_replaced_unasked(tmp_path: Path) -> None:
    tape = tape_of(tmp_path, *make_bars(tmp_path / "in"))
    export_tape(tape, tmp_path / "out", overwrite=False, progress=silent)
    before = {one: one.read_bytes() for one in (tmp_path / "out").rglob("*") if one.is_file()}
    with pytest.raises(DataError, match="is there already; --overwrite replaces it"):
        export_tape(tape, tmp_path / "out", overwrite=False, progress=silent)
    assert {one: one.read_bytes() for one in before} == before
    export_tape(tape, tmp_path / "out", overwrite=True, progress=silent)


@pytest.mark.skipif(not DATA.is_dir(), reason="no ../shared/data: the recorded sets")
@pytest.mark.parametrize(
    "files",
    [
        ["trades/gemini_ETHUSD_20210701.parquet", "quotes/gemini_ETHUSD_20210701.parquet"],
        ["bars/fxcm_USDJPY_1m_bidask_201302.parquet"],
        ["bars/us_multi_1m_20190211_20190215.parquet"],
        ["wire/binance_usdm_ETHUSDT_20240808.jsonl.gz"],
    ],
)
def test_recorded_sets_give_the_same_tape(tmp_path: Path, files: list[str]) -> None:
    tape = tape_of(tmp_path, *[DATA / one for one in files])
    again = round_trip(tmp_path, tape)
    assert again.info.sha256 == tape.info.sha256
