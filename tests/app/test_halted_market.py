"""A venue's halt as a tape row: its instrument alone holds while it lasts, and replays agree."""

from pathlib import Path

import numpy as np
import pytest

from app.sources import open_tape
from config.load import load_settings
from engine.audit_layout import AUDIT, Record
from engine.events import HoldReason, OrderState
from engine.row_arrays import join_rows
from engine.rows import LAST, ROW, Kind
from engine.run_files import AUDIT_RECORDS
from engine.tape import Tape, TapeWriter
from tests.app.replay_cli import SAMPLE
from tests.app.test_kill_switch import run

HALT_AT, TRADES_AT = 30_000, 60_000
HALTED, OTHER = 0, 1


@pytest.fixture(scope="module")
def halted(tmp_path_factory) -> Path:
    """Return a tape of the sample in which one instrument is halted for a while."""
    folder = tmp_path_factory.mktemp("halted")
    settings = load_settings(None)
    sample = Tape.open(open_tape([SAMPLE], assumed=settings.assumed, cache_dir=folder / "tapes"))
    rows = join_rows([segment.rows for segment in sample.segments])[:80_000]
    parts, last = [], 0
    for at, state in ((HALT_AT, 1), (TRADES_AT, 0)):
        row = np.zeros(1, ROW)
        row["kind"], row["flags"], row["i0"], row["instrument"] = Kind.STATUS, LAST, state, HALTED
        row["ts_recv"] = rows["ts_recv"][at - 1]
        parts += [rows[last:at], row]
        last = at
    writer = TapeWriter(folder / "tape", sample.instruments)
    writer.append(join_rows([*parts, rows[last:]]))
    writer.close()
    return folder / "tape"


def test_fault_F24_a_halt_holds_one_instrument_and_its_end_frees_it(halted, tmp_path):
    summary = run(halted, tmp_path / "runs")
    records = np.fromfile(Path(summary.run_dir) / AUDIT_RECORDS, AUDIT)
    within = (records["row"] > HALT_AT) & (records["row"] < TRADES_AT)
    decisions = records["kind"] == Record.DECISION
    mine = records["instrument"] == HALTED
    held = records["aux"] == HoldReason.VENUE_HALTED
    assert np.count_nonzero(decisions & within & mine) > 100
    assert held[decisions & within & mine].all()
    assert not held[decisions & ~within].any()
    assert not held[decisions & ~mine].any()
    sent = (records["kind"] == Record.ORDER) & (records["code"] == OrderState.SENT)
    assert np.count_nonzero(sent & within & mine) == 0
    assert np.count_nonzero(sent & mine & ~within) > 0
    assert np.count_nonzero(sent & within & (records["instrument"] == OTHER)) > 0
    assert run(halted, tmp_path / "b", block=7).decision_digest == summary.decision_digest
