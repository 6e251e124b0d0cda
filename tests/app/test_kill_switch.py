"""The kill switch as a tape row: no order leaves after it, and a replay stops at the same row."""

from pathlib import Path

import numpy as np
import pytest

from app.replay import Replay, replay
from app.sources import open_tape
from config.load import load_settings
from engine.audit_layout import AUDIT, Record, Verdict
from engine.events import Command, HoldReason, OrderState
from engine.row_arrays import join_rows
from engine.rows import LAST, ROW, Kind
from engine.run_files import AUDIT_RECORDS
from engine.tape import Tape, TapeWriter
from tests.app.replay_cli import ROOT, SAMPLE

KILL_AT = 40_000


@pytest.fixture(scope="module")
def killed(tmp_path_factory) -> Path:
    """Return a tape of the sample with a KILL row in it."""
    folder = tmp_path_factory.mktemp("killed")
    settings = load_settings(None)
    sample = Tape.open(open_tape([SAMPLE], assumed=settings.assumed, cache_dir=folder / "tapes"))
    rows = join_rows([segment.rows for segment in sample.segments])[: 2 * KILL_AT]
    row = np.zeros(1, ROW)
    row["kind"], row["flags"], row["i0"] = Kind.CONTROL, LAST, Command.KILL
    row["ts_recv"] = rows["ts_recv"][KILL_AT - 1]
    writer = TapeWriter(folder / "tape", sample.instruments)
    writer.append(join_rows([rows[:KILL_AT], row, rows[KILL_AT:]]))
    writer.close()
    return folder / "tape"


def run(tape: Path, runs: Path, block: int = 65_536):
    settings = load_settings(
        None,
        {
            "runs_dir": str(runs),
            "artifacts_dir": str(ROOT / "artifacts"),
            "engine.block_rows": block,
        },
    )
    return replay(Replay(tape=Tape.open(tape), settings=settings, report=False))


def test_no_order_leaves_after_the_kill_row(killed, tmp_path):
    summary = run(killed, tmp_path / "runs")
    assert summary.exit_reason == "halted"
    assert summary.fills > 0, "it traded before"
    records = np.fromfile(Path(summary.run_dir) / AUDIT_RECORDS, AUDIT)
    after = records[records["row"] > KILL_AT]
    verdicts = after[after["kind"] == Record.VERDICT]
    assert (verdicts["code"] == Verdict.BLOCKED).all()
    sent = after[(after["kind"] == Record.ORDER) & (after["code"] == OrderState.SENT)]
    assert len(sent) == 0
    decisions = after[after["kind"] == Record.DECISION]
    assert len(decisions) > 1000
    assert (decisions["aux"] == HoldReason.HALTED).all()


def test_grouping_does_not_move_the_kill(killed, tmp_path):
    first = run(killed, tmp_path / "a")
    again = run(killed, tmp_path / "b", block=7)
    assert first.decision_digest == again.decision_digest
