"""Batches ahead: whatever the tape holds, a run decides as it does one by one."""

from pathlib import Path

import msgspec
import numpy as np
import pytest

import app.replay
from app.replay import Replay, replay
from app.sources import open_tape
from config.load import load_settings
from config.settings import StrategySettings
from engine.events import Command, Intent
from engine.row_arrays import join_rows
from engine.rows import LAST, ROW, Kind
from engine.tape import Tape, TapeWriter
from engine.view import View
from features.spec import parse_spec
from strategies.ema_cross import EmaCross
from strategies.registry import strategy
from tests.app.replay_cli import ROOT, SAMPLE

TICK_FILE = ROOT / "artifacts" / "TickMLP" / "1" / "feature_spec.json"
TICK_SPEC = parse_spec(TICK_FILE.read_bytes(), str(TICK_FILE))
SEEN: list[tuple[int, bytes]] = []


@strategy("row_reader")
class RowReader:
    """Writes down the feature row behind every piece of advice."""

    PARAMS: dict[str, float] = {}
    threshold = 0.4

    def __init__(self, **_: float) -> None:
        self.index = 0

    def decide(self, view: View) -> tuple[Intent, ...]:
        """Keep the row."""
        SEEN.append((view.signal.signal_id, view.features.tobytes()))
        return ()


@strategy("ema_cross_beside")
class EmaCrossBeside(EmaCross):
    """The rule on two means of a model that runs beside it: their kernel is compiled already."""

    FEATURES = tuple(name for name, _ in TICK_SPEC.features)  # the two means come last

    def decide(self, view: View) -> tuple[Intent, ...]:
        """Show the rule its two columns."""
        whole, view.features = view.features, view.features[-2:]
        try:
            return super().decide(view)
        finally:
            view.features = whole


def extra_row(kind: Kind, ts: int, **values: int) -> np.ndarray:
    """Return one row of the shell's own."""
    row = np.zeros(1, ROW)
    row["kind"], row["flags"], row["ts_recv"] = kind, LAST, ts
    for name, value in values.items():
        row[name] = value
    return row


@pytest.fixture(scope="module")
def tape(tmp_path_factory: pytest.TempPathFactory) -> Tape:
    """Return the sample with gaps, a disconnect, a kill and a resume, in segments of 9,000 rows."""
    folder = tmp_path_factory.mktemp("rough")
    settings = load_settings(None)
    sample = Tape.open(open_tape([SAMPLE], assumed=settings.assumed, cache_dir=folder / "tapes"))
    rows = join_rows([segment.rows for segment in sample.segments])[:120_000]

    def ts(at: int) -> int:
        return int(rows["ts_recv"][at - 1])

    parts = [
        rows[:30_000],
        extra_row(Kind.GAP, ts(30_000), instrument=0, i0=ts(30_000) - 5, i1=ts(30_000)),
        rows[30_000:50_000],
        extra_row(Kind.DISCONNECT, ts(50_000)),
        rows[50_000:70_000],
        extra_row(Kind.CONTROL, ts(70_000), i0=Command.KILL),
        rows[70_000:80_000],
        extra_row(Kind.CONTROL, ts(80_000), i0=Command.RESUME),
        rows[80_000:],
    ]
    writer = TapeWriter(folder / "tape", sample.instruments, segment_rows=9_000)
    writer.append(join_rows(parts))
    writer.close()
    return Tape.open(folder / "tape")


def run(tape: Tape, runs: Path, batch: int, block: int = 65_536, strategies=None, **engine):
    """Replay; return the summary and the parts."""
    settings = load_settings(
        None, {"runs_dir": str(runs), "artifacts_dir": str(ROOT / "artifacts")}
    )
    settings = msgspec.structs.replace(
        settings,
        engine=msgspec.structs.replace(
            settings.engine, batch_rows=batch, block_rows=block, **engine
        ),
        strategies=settings.strategies if strategies is None else strategies,
    )
    return replay(Replay(tape=tape, settings=settings, report=False))


def test_two_models_over_a_rough_tape(tape, tmp_path):
    alone = run(tape, tmp_path / "a", batch=1)
    assert alone.fills > 10
    assert len(alone.signals.hold_reasons) >= 4
    for batch, block in ((1024, 65_536), (64, 65_536), (7, 777), (2, 65_536)):
        found = run(tape, tmp_path / f"b{batch}", batch, block)
        assert found.decision_digest == alone.decision_digest, (batch, block)
        assert found.signals == alone.signals


@pytest.mark.parametrize(
    "rule", ["ema_cross_beside", pytest.param("ema_cross", marks=pytest.mark.slow)]
)
def test_a_rule_without_a_model_beside_models(tape, tmp_path, rule):
    rules = (StrategySettings(name=rule), StrategySettings(name="ml_signal"))
    alone = run(tape, tmp_path / "a", batch=1, strategies=rules)
    found = run(tape, tmp_path / "b", batch=512, strategies=rules)
    assert found.decision_digest == alone.decision_digest
    assert found.orders == alone.orders > 0


def test_a_strategy_sees_the_row_its_signal_was_made_from(tape, tmp_path):
    rows = []
    for batch in (1, 256):
        SEEN.clear()
        run(tape, tmp_path / str(batch), batch, strategies=(StrategySettings(name="row_reader"),))
        rows.append(list(SEEN))
    assert rows[0] == rows[1]
    assert len(rows[0]) > 100
    assert len({row for _, row in rows[0]}) > 100


def test_a_state_that_has_decided_elsewhere_ends_the_run(tape, tmp_path, monkeypatch):
    """The ring names the row of each decision: one that is not there may not pass silently."""
    build = app.replay.build

    def shifted(parts, *rest, **named):
        made = build(parts, *rest, **named)
        refill = made.ahead._ring

        def ring(at, rows, x, which):
            found = refill(at, rows, x, which)
            found["row"] += 1
            return found

        made.ahead._ring = ring
        return made

    monkeypatch.setattr(app.replay, "build", shifted)
    with pytest.raises(AssertionError, match="elsewhere"):
        run(tape, tmp_path, batch=64)


def test_a_model_whose_batches_differ_is_asked_one_by_one(tape, tmp_path, monkeypatch):
    """One that gives other bits in batches takes them from the whole run."""
    made = []
    build = app.replay.build

    def noted(parts, *rest, **named):
        made.append(build(parts, *rest, **named))
        return made[-1]

    monkeypatch.setattr(app.replay, "build", noted)
    monkeypatch.setattr("app.serving.Serving.batches", lambda self: self.index != 1)
    alone = run(tape, tmp_path / "a", batch=1024)
    assert made[0].ahead is None
    monkeypatch.undo()
    assert run(tape, tmp_path / "b", batch=1024).decision_digest == alone.decision_digest
