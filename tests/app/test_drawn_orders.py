"""Drawn orders through the whole line: limits, money and fills hold up.

Every kind of order, owner, exit, stop and cancel meets a synthetic market, and the recorded ones of
../shared/data where they are at hand.
"""

from pathlib import Path

import msgspec
import numpy as np
import pytest

import app.replay
import app.wire
from app.compare import compare
from app.replay import Replay, replay
from app.sources import open_tape
from config.load import load_settings
from config.settings import StrategySettings
from engine.audit_layout import Record
from engine.audit_reader import AuditFile
from engine.events import Fill
from engine.kernel.ledger import DESK
from engine.limits import MAX_TRIGGERS
from engine.money import minor
from engine.rows import LAST
from engine.run_files import Summary
from engine.tape import Tape, TapeWriter
from risk.gate_layout import GATE
from store.synth import SynthSettings, write_market
from tests.app.drawn import (
    GHOSTS,
    LIMITS,
    Watch,
    drawn_settings,
    remembering,
    run_drawn,
    same_as_the_money,
    same_as_the_rules,
    the_parts,
)


@pytest.fixture(scope="module")
def tape(tmp_path_factory: pytest.TempPathFactory) -> Tape:
    """Make half an hour of a busy synthetic market."""
    folder = tmp_path_factory.mktemp("market")
    write_market(
        SynthSettings(symbols=2, hours=0.5, seed=4, predictability=0.4, rows_per_s=12.0),
        folder / "data",
    )
    settings = load_settings(None)
    made = open_tape([folder / "data"], assumed=settings.assumed, cache_dir=folder / "tapes")
    return Tape.open(made)


@pytest.mark.parametrize("shorts", [False, True])
def test_whatever_is_drawn_rules_limits_and_money_hold(tape, tmp_path, monkeypatch, shorts):
    watch = Watch(monkeypatch)
    summary = run_drawn(tape, drawn_settings(tmp_path, allow_short=shorts))
    parts = the_parts()
    assert summary.fills > 200
    assert summary.rejects > 5
    kinds = {answer[0] for answer in watch.answers}
    assert kinds == {1, 2, 3, 4}
    same_as_the_rules(tape, watch)
    same_as_the_money(parts, watch)
    audit = AuditFile(Path(summary.run_dir))
    totals = np.concatenate(list(audit.pick((Record.EXPOSURE,))))
    assert (totals["i4"] <= totals["i5"]).all()
    assert totals["i4"].max() >= 0.8 * minor(str(LIMITS["max_model_exposure"]))
    assert not parts.desk.open_orders
    gate = parts.gate.record[0]
    assert gate["gross_reserved"] == gate["open_orders"] == 0
    assert not gate["in_flight"].any()
    assert not gate["resting"].any()


def both_ways(tape: Tape, settings, monkeypatch) -> Summary:
    """Replay with the orders in the kernel and in Python; everything must be the same."""
    monkeypatch.setattr(app.replay, "build", remembering(app.replay.build))
    found = []
    for in_kernel in (True, False):
        monkeypatch.setattr(app.wire, "ORDERS_IN_KERNEL", in_kernel)
        summary = run_drawn(tape, settings)
        found.append((summary, the_parts()))
    (mine, kernel), (theirs, python) = found
    same = compare(Path(mine.run_dir), Path(theirs.run_dir))
    assert same.same, same.line
    assert mine.decision_digest == theirs.decision_digest
    assert mine.blocked == theirs.blocked
    numbers = ("intents", "approved", "reduced", "orders", "fills", "rejects")
    assert [getattr(mine, n) for n in numbers] == [getattr(theirs, n) for n in numbers]
    assert (kernel.portfolio.wallets == python.portfolio.wallets).all()
    assert (kernel.portfolio.books.records == python.portfolio.books.records).all()
    own = [parts.portfolio.strategy_books.records for parts in (kernel, python)]
    assert (own[0] == own[1]).all()
    counters = [name for name in DESK.names if name not in ("fast", "legs_standing")]
    for name in counters:
        assert (kernel.portfolio.desk[name] == python.portfolio.desk[name]).all(), name
    limits = [name for name in GATE.names if name != "request"]
    for name in limits:
        assert (kernel.gate.record[name] == python.gate.record[name]).all(), name
    return mine


@pytest.mark.parametrize("shorts", [False, True])
@pytest.mark.parametrize("reduce", [False, True])
def test_kernel_and_python_handle_orders_alike(tape, tmp_path, monkeypatch, shorts, reduce):
    settings = drawn_settings(tmp_path, allow_short=shorts, reduce_to_fit=reduce)
    mine = both_ways(tape, settings, monkeypatch)
    assert mine.fills > 200
    assert mine.rejects > 5
    assert len(mine.blocked) > 3


@pytest.mark.parametrize("in_kernel", [True, False])
def test_who_listens_hears_every_fill_once(tape, tmp_path, monkeypatch, in_kernel):
    monkeypatch.setattr(app.wire, "ORDERS_IN_KERNEL", in_kernel)
    heard: list[Fill] = []
    job = Replay(
        tape=tape,
        settings=drawn_settings(tmp_path, allow_short=True),
        named=tuple(f"Ghost{k}:1" for k in range(GHOSTS)),
        report=False,
        subscribe=lambda bus: bus.topic(Fill).subscribe(heard.append),
    )
    told = replay(job)
    silent = run_drawn(tape, job.settings)
    assert [fill.fill_id for fill in heard] == list(range(told.fills))
    assert told.decision_digest == silent.decision_digest
    assert told.fills == silent.fills > 200


@pytest.mark.parametrize("block_rows", [1, 7, 1000])
def test_grouping_changes_nothing(tape, tmp_path, monkeypatch, block_rows):
    monkeypatch.setattr(app.replay, "build", remembering(app.replay.build))
    whole = run_drawn(tape, drawn_settings(tmp_path, allow_short=True))
    parts = run_drawn(tape, drawn_settings(tmp_path, block_rows, allow_short=True))
    assert parts.decision_digest == whole.decision_digest
    assert parts.fills == whole.fills > 200


def test_more_protected_entries_than_places_for_stops(tape, tmp_path, monkeypatch):
    """Wide limits and far stops: the run goes on, and every open position keeps its stop."""
    monkeypatch.setattr(app.replay, "build", remembering(app.replay.build))
    wide = dict.fromkeys(("max_position_notional", "max_model_exposure", "max_gross_exposure"), 1e6)
    settings = drawn_settings(tmp_path, **wide)
    settings = msgspec.structs.replace(
        settings,
        strategies=(StrategySettings(name="drawn_orders", params={"busy": 1.0, "far": 0.2}),),
        portfolio=msgspec.structs.replace(settings.portfolio, balances={"USDT": "1000000"}),
    )
    summary = run_drawn(tape, settings)
    assert summary.exit_reason == "done"
    protection = the_parts().desk.protection
    assert len(protection.legs) <= MAX_TRIGGERS
    assert len(protection.legs) > 0.9 * MAX_TRIGGERS


DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
RECORDED = [  # name, rows, quote currency, files
    ("spot", 150_000, "USDT", ["trades/binance_spot_BTCUSDT_202408",
                               "quotes/binance_spot_BTCUSDT_202408",
                               "depth/binance_spot_BTCUSDT_202408"]),
    ("book", 150_000, "USDT", ["trades/binance_spot_ETHUSDT_202408",
                               "depth/binance_spot_ETHUSDT_202408"]),
    ("sizeless", 15_000, "USD", ["quotes/oanda_EURUSD_20140501_20140515"]),
    ("crossed", 15_000, "USD", ["quotes/fxcm_EURUSD_20140505_20140509"]),
    ("gemini", 30_000, "USD", ["trades/gemini_ETHUSD_20210701", "quotes/gemini_ETHUSD_20210701"]),
]  # fmt: skip


def recorded_tape(folder: Path, count: int, files: list[str]) -> Tape:
    """Convert recorded files, and keep the first rows of the tape."""
    paths = [DATA / f"{name}.parquet" for name in files]
    made = open_tape(paths, assumed=load_settings(None).assumed, cache_dir=folder / "tapes")
    whole = Tape.open(made)
    rows = np.asarray(whole.segments[0].rows)[:count].copy()
    last = np.flatnonzero(rows["flags"] & LAST)[-1] + 1
    writer = TapeWriter(folder / "tape", whole.instruments)
    writer.append(rows[:last])
    writer.close()
    return Tape.open(folder / "tape")


@pytest.mark.skipif(not DATA.is_dir(), reason="no ../shared/data: the recorded sets")
@pytest.mark.parametrize(("name", "rows", "quote", "files"), RECORDED, ids=[r[0] for r in RECORDED])
def test_recorded_markets_follow_the_rules_too(tmp_path, monkeypatch, name, rows, quote, files):
    tape = recorded_tape(tmp_path, rows, files)
    watch = Watch(monkeypatch)
    summary = run_drawn(tape, drawn_settings(tmp_path, quote=quote, allow_short=True))
    assert summary.fills > 50
    same_as_the_rules(tape, watch)
    same_as_the_money(the_parts(), watch)
    monkeypatch.undo()
    both_ways(tape, drawn_settings(tmp_path, quote=quote, allow_short=True), monkeypatch)
