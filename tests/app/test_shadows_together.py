"""Shadows that are asked together leave the records that they leave when asked one by one."""

from pathlib import Path

import msgspec
import pytest

import app.replay
import app.wire
from engine.limits import PENDING_PLACES
from engine.run_files import AUDIT_RECORDS, CHAIN
from tests.app.fused_world import BARS, FUSED, SINGLE, TICKS, run, settings_of, shadow

SHADOWS = (
    shadow(TICKS, "TickShadow"),
    shadow(msgspec.structs.replace(TICKS, min_confidence=0.9, cadence="quote"), "Picky"),
    shadow(BARS, "BarShadow"),
    shadow(FUSED, "BothShadow"),
)
MODELS = (BARS, TICKS, *SHADOWS)


def files_of(done):
    """Return the bytes of a run's audit and of its chain."""
    folder = Path(done.run_dir)
    return (folder / AUDIT_RECORDS).read_bytes(), (folder / CHAIN).read_bytes()


@pytest.fixture
def built(monkeypatch):
    """Return the parts of the runs that a test makes."""
    made, build = [], app.replay.build

    def noted(parts, *rest, **named):
        made.append(build(parts, *rest, **named))
        return made[-1]

    monkeypatch.setattr(app.replay, "build", noted)
    return made


def test_records_are_those_of_shadows_asked_one_by_one(cut_tape, tmp_path, built, monkeypatch):
    settings = settings_of(tmp_path, MODELS, (SINGLE,))
    together = run(cut_tape, settings, batch_rows=1)
    slots, plans = built[0].state.slots, built[0].plans
    waits = {plan.serving.settings.name for plan, slot in zip(plans, slots) if slot["waits"]}
    assert waits == {"TickShadow", "Picky", "BarShadow"}
    assert together.shadow_decisions > 20 * PENDING_PLACES
    assert built[0].shadows.batches > 20
    monkeypatch.setattr(app.wire, "SHADOWS_WAIT", False)
    single = run(cut_tape, settings, batch_rows=1)
    assert built[1].shadows.batches == 0
    assert files_of(together) == files_of(single)
    assert together.shadow_digest == single.shadow_digest
