"""`lab.py data fetch` against the embedded exchange, through unmodified ccxt."""

import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from tests.app.replay_cli import summary
from tests.venues.embedded.clients import Rest
from venues.embedded.launcher import RunningExchange, start_exchange

ROOT = Path(__file__).resolve().parents[2]
OPTIONS = ("--seed", "7", "--history-hours", "6", "--weight-per-minute", "100000")


@pytest.fixture(scope="module")
def exchange() -> Iterator[RunningExchange]:
    with start_exchange(options=OPTIONS, stderr=subprocess.DEVNULL) as running:
        yield running


@pytest.fixture(autouse=True)
def _no_fault(exchange: RunningExchange) -> Iterator[None]:
    yield
    exchange.control("DELETE", "/faults")


def command(exchange: RunningExchange, out: Path, *words: object) -> list[str]:
    """Return the words of a fetch; later ones override."""
    given = ["--venue", "binance_spot", "--symbol", "BTC/USDT", "--days", "0.1", "--out", out]
    given += ["--base-url", exchange.rest_url, *words]
    return [sys.executable, "lab.py", "data", "fetch", *map(str, given)]


def fetch(exchange: RunningExchange, out: Path, *words: object) -> subprocess.CompletedProcess[str]:
    line = command(exchange, out, *words)
    return subprocess.run(line, cwd=ROOT, capture_output=True, text=True, timeout=120)


def started(exchange: RunningExchange, out: Path, *words: object) -> subprocess.Popen[str]:
    line = command(exchange, out, *words)
    return subprocess.Popen(
        line, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def columns(folder: Path) -> dict[str, np.ndarray]:
    """Return a kind's columns over all parts."""
    tables = [pq.read_table(path) for path in sorted(folder.glob("part-*.parquet"))]
    return {
        name: np.concatenate([one.column(name).to_numpy() for one in tables])
        for name in tables[0].column_names
    }


def files(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def everything(exchange: RunningExchange, path: str, **params: object) -> list:
    """Ask the exchange itself, page by page."""
    status, page = Rest(exchange).send(
        "GET", f"/api/v3/{path}?" + "&".join(f"{k}={v}" for k, v in params.items())
    )
    assert status == 200
    return page


def test_candles_and_trades_are_the_exchanges_own(
    exchange: RunningExchange, tmp_path: Path
) -> None:
    out = tmp_path / "data"
    done = fetch(exchange, out, "--what", "candles,trades", "--symbol", "BTC/USDT,ethusdt")
    assert (done.returncode, done.stderr) == (0, "")
    assert "holes: 0" in done.stdout
    folder = out / "binance_spot" / "BTCUSDT"
    assert (out / "binance_spot" / "ETHUSDT" / "bars").is_dir()
    asked = json.loads((folder / ".fetch.json").read_text())
    since, until = asked["since_ns"] // 10**6, asked["until_ns"] // 10**6
    assert until - since == 144 * 60_000
    found = columns(folder / "bars")
    truth = everything(
        exchange, "klines", symbol="BTCUSDT", interval="1m", startTime=since, endTime=until - 1
    )
    assert len(truth) == 144
    assert (found["ts_event"] // 10**6).tolist() == [one[0] for one in truth]
    for number, name in enumerate(("open", "high", "low", "close", "volume"), 1):
        assert found[name].tolist() == [float(one[number]) for one in truth]
    prints = columns(folder / "trades")
    first = int(prints["trade_id"][0])
    truth, page = [], [{}]
    while page and (not truth or truth[-1]["T"] < until):
        start = truth[-1]["a"] + 1 if truth else first
        page = everything(exchange, "aggTrades", symbol="BTCUSDT", fromId=start, limit=1000)
        truth += page
    truth = [one for one in truth if one["T"] < until]
    assert len(truth) > 1000  # more than a page
    assert prints["trade_id"].tolist() == [one["a"] for one in truth]
    assert (prints["ts_event"] // 10**6).tolist() == [one["T"] for one in truth]
    assert prints["price"].tolist() == [float(one["p"]) for one in truth]
    assert prints["size"].tolist() == [float(one["q"]) for one in truth]
    assert prints["side"].tolist() == [-1 if one["m"] else 1 for one in truth]
    before = everything(
        exchange, "aggTrades", symbol="BTCUSDT", startTime=since, endTime=since + 60_000
    )
    assert before[0]["a"] == first
    instrument = json.loads((folder / "instrument.json").read_text())
    assert (instrument["tick"], instrument["lot"], instrument["min_notional"]) == (
        "0.1", "0.00001", "5",
    )  # fmt: skip
    assert instrument["bar_interval_ns"] == 60 * 10**9


@pytest.mark.parametrize("way", [signal.SIGKILL, signal.SIGINT])
def test_a_fetch_that_was_stopped_goes_on_to_the_same_bytes(
    exchange: RunningExchange, tmp_path: Path, way: signal.Signals
) -> None:
    words = ("--what", "candles,trades", "--days", "0.2")
    out = tmp_path / "data"
    folder = out / "binance_spot" / "BTCUSDT"
    exchange.fault("rest", "hang", "GET /api/v3/aggTrades", skip=3)
    with started(exchange, out, *words) as process:
        try:
            deadline = time.monotonic() + 60
            while not list(folder.glob("trades/part-*")) and time.monotonic() < deadline:
                signal.sigtimedwait([], 0.05)
            busy = fetch(exchange, out, *words)
            assert (busy.returncode, busy.stderr.count("\n")) == (2, 1)
            assert "another fetch is at work there" in busy.stderr
        finally:
            process.send_signal(way)
        assert process.wait(20) == (130 if way == signal.SIGINT else -signal.SIGKILL)
        if way == signal.SIGINT:
            assert process.stderr is not None
            assert process.stderr.read() == "lab.py: interrupted\n"
    exchange.control("DELETE", "/faults")
    left = sorted(one.name for one in (folder / "trades").glob("part-*"))
    assert left
    assert not json.loads((folder / ".fetch.json").read_text())["done"]
    kept = {name: (folder / "trades" / name).stat().st_mtime_ns for name in left}
    other = tmp_path / "whole" / "binance_spot" / "BTCUSDT"  # the same window, never stopped
    other.mkdir(parents=True)
    for name in (".fetch.json", "instrument.json"):
        shutil.copy(folder / name, other / name)
    assert fetch(exchange, out, *words).returncode == 0
    assert fetch(exchange, tmp_path / "whole", *words).returncode == 0
    assert files(folder) == files(other)
    assert len(list((folder / "trades").glob("part-*"))) > len(left)
    assert kept == {name: (folder / "trades" / name).stat().st_mtime_ns for name in left}


def test_a_later_fetch_takes_what_is_new_and_a_replay_decides(
    exchange: RunningExchange, tmp_path: Path
) -> None:
    out = tmp_path / "data"
    assert fetch(exchange, out, "--days", "0.05").returncode == 0
    bars = out / "binance_spot" / "BTCUSDT" / "bars"
    small = columns(bars)["ts_event"]
    assert fetch(exchange, out, "--days", "0.2").returncode == 0
    large = columns(bars)["ts_event"]
    assert set(small) < set(large)
    assert (np.diff(large) == 60 * 10**9).all()
    refused = fetch(exchange, out, "--interval", "5m")
    assert (refused.returncode, refused.stderr.count("\n")) == (2, 1)
    assert "holds candles of 1m" in refused.stderr
    found = summary(out, runs=tmp_path / "runs")
    assert found["decisions"] > 0


def test_a_page_that_fails_is_asked_for_again(exchange: RunningExchange, tmp_path: Path) -> None:
    exchange.fault("rest", "status", "GET /api/v3/klines", status=503, body="{}", count=2)
    done = fetch(exchange, tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert "144 rows" in done.stdout
    exchange.fault(
        "rest", "status", "GET /api/v3/klines", status=429, body="{}", count=1, retry_after_s=900
    )
    done = fetch(exchange, tmp_path / "other")
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert "asks to wait 900 s" in done.stderr


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["--symbol", "XYZ/USDT"], 2, "binance has no market XYZUSDT; there is BTC/USDT, ETH/USDT"),
        (["--venue", "atlantis"], 2, "--venue atlantis: not known; ours are binance_spot"),
        (["--base-url", "http://127.0.0.1:9"], 1, "binance does not answer (NetworkError after"),
        (["--base-url", "here"], 2, "--base-url here: not an address"),
        (["--days", "0"], 2, "--days 0: allowed is a number above 0"),
        (["--days", "nan"], 2, "--days nan: allowed is a number above 0"),
        (["--what", "news"], 2, "--what news: allowed are candles, trades"),
        (["--interval", "7m"], 2, "--interval 7m: allowed are 1s 5s"),
        (["--symbol", "../x"], 2, "--symbol ../x: not symbols"),
    ],
)
def test_wrong_use_is_one_line_and_leaves_nothing(
    exchange: RunningExchange, tmp_path: Path, words: list[str], code: int, message: str
) -> None:
    done = fetch(exchange, tmp_path / "data", *words)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (code, "", 1)
    assert message in done.stderr
    assert not (tmp_path / "data").exists()


def test_data_of_another_origin_is_left_alone(exchange: RunningExchange, tmp_path: Path) -> None:
    folder = tmp_path / "binance_spot" / "BTCUSDT"
    folder.mkdir(parents=True)
    (folder / "instrument.json").write_text("{}")
    done = fetch(exchange, tmp_path)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "was not made by `data fetch`" in done.stderr
    assert [one.name for one in folder.iterdir()] == ["instrument.json"]
