"""Drawn orders through the whole line: limits, money and fills hold up.

Every kind of order, owner, exit, stop and cancel meets a synthetic market, and the recorded ones of
../shared/data where they are at hand.
"""

from pathlib import Path

import msgspec
import numpy as np
import pytest

import app.replay
from app.sources import open_tape
from config.load import load_settings
from config.settings import StrategySettings
from engine.audit_layout import Record
from engine.audit_reader import AuditFile
from engine.limits import MAX_TRIGGERS
from engine.money import minor
from engine.rows import LAST
from engine.tape import Tape, TapeWriter
from store.synth import SynthSettings, write_market
from tests.app.drawn import (
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
