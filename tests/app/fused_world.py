"""Runs with shadows, A/B splits and fused models over a cut of the sample market."""

from collections import namedtuple
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from app.replay import Replay, replay
from app.sources import open_tape
from config.load import load_settings
from config.settings import FusionSettings, ModelSettings, Settings, StrategySettings
from engine.audit_layout import Record
from engine.audit_reader import AuditFile
from engine.row_arrays import join_rows
from engine.run_files import Summary
from engine.tape import Tape, TapeWriter
from tests.app.replay_cli import ROOT, SAMPLE

SHORT, LONG = 30_000, 80_000  # rows; the bar model is warm after 61,298
# In this order the run's kernel is the one that other tests compile already.
BARS = ModelSettings(name="Bars", model_id="SignalClassifier", cadence="bar:1m", weight=2.0)
TICKS = ModelSettings(name="Ticks", model_id="TickMLP", cadence="every:250ms")
VOTE = FusionSettings(members=("Bars", "Ticks"), threshold=0.4, opposed="weigh")
FUSED = ModelSettings(name="Both", fusion=VOTE)
SINGLE = StrategySettings(name="ml_signal", params={"threshold": 0.45, "cooldown_s": 0.0})
ENSEMBLE = StrategySettings(name="ensemble", params={"threshold": 0.4, "cooldown_s": 0.0})


def cut(folder: Path, rows: int) -> Tape:
    """Write the first packets of the sample market to a tape in several segments."""
    settings = load_settings(None)
    sample = Tape.open(open_tape([SAMPLE], assumed=settings.assumed, cache_dir=folder / "tapes"))
    first = join_rows([segment.rows for segment in sample.segments])[:rows]
    last = int(np.flatnonzero(first["flags"] & 1)[-1]) + 1
    writer = TapeWriter(folder / "tape", sample.instruments, segment_rows=9_000)
    writer.append(first[:last])
    writer.close()
    return Tape.open(folder / "tape")


def settings_of(runs: Path, models, strategies, artifacts: Path = ROOT / "artifacts", **more: Any):
    """Return settings with these models and strategies."""
    settings = load_settings(None, {"runs_dir": str(runs), "artifacts_dir": str(artifacts)})
    return msgspec.structs.replace(
        settings, models=tuple(models), strategies=tuple(strategies), **more
    )


def run(tape: Tape, settings: Settings, *, named=(), **engine: Any) -> Summary:
    """Replay."""
    engine = msgspec.structs.replace(settings.engine, **engine)
    settings = msgspec.structs.replace(settings, engine=engine)
    return replay(Replay(tape=tape, settings=settings, named=named, report=False))


def shadow(model: ModelSettings, name: str) -> ModelSettings:
    """Return a model's settings as a shadow of another name."""
    return msgspec.structs.replace(model, name=name, mode="shadow")


Row = namedtuple("Row", "ts row model instrument code reason sell hold buy row_hash")


def decisions(summary: Summary) -> list[Row]:
    """Return the decisions of a run, as plain numbers."""
    made = records(summary, Record.DECISION)
    reason = made["aux"] & 0xFF
    names = ("ts", "row", "model", "instrument", "code")
    columns = (
        [made[name] for name in names] + [reason] + [made[k] for k in ("f0", "f1", "f2", "i3")]
    )
    return [Row(*values) for values in zip(*(column.tolist() for column in columns), strict=True)]


def records(summary: Summary, *kinds: Record) -> np.ndarray:
    """Return the audit's records of some kinds, in order."""
    parts = list(AuditFile(Path(summary.run_dir)).pick(kinds))
    return np.concatenate(parts)
