"""Shadows that read windows wait like others: copies of them are evaluated afterwards."""

import shutil
from pathlib import Path

import msgspec
import numpy as np
import pytest

import app.wire
from app.waiting import WINDOW_SIZES, WaitingRows
from engine.audit_layout import Record
from engine.events import HoldReason
from engine.limits import WAITING_ROWS
from ml import registry
from tests.app.fused_world import BARS, SINGLE, TICKS, records, run, settings_of
from tests.app.reload_world import repeated, until
from tests.app.test_shadows_together import built, files_of, waiting, waiting_at_swaps
from tests.app.versions import copy_artifacts, tick_spec
from tests.ml.sequence_models import register

assert built
STEPS = 16
NAMES = ("Many", "One", "Often")


@pytest.fixture(scope="module")
def windowed(tmp_path_factory) -> Path:
    """Artifacts with sequence models: of many windows a call, of one, and a second version."""
    root, spec = copy_artifacts(tmp_path_factory.mktemp("windowed")), tick_spec()
    register(root, "Many", STEPS, spec, placement="inline", many=True)
    register(root, "One", STEPS, spec, placement="inline", turned=True)
    for model_id in ("Many", "One"):
        registry.promote(root, model_id, "1", why="for the tests", by="tests")
    register(root, "Many", 9, spec, placement="inline", many=True, turned=True)
    return root


def lines(mode: str = "shadow"):
    """Return the settings of the sequence models: two at the pace of ticks, one more often."""
    of = {"Many": "Many", "One": "One", "Often": "Many"}
    made = [msgspec.structs.replace(TICKS, name=n, model_id=m, mode=mode) for n, m in of.items()]
    made[-1] = msgspec.structs.replace(made[-1], cadence="quote", min_confidence=0.34)
    return tuple(made)


def test_the_audit_is_that_of_windows_asked_one_by_one(
    cut_tape, windowed, tmp_path, built, monkeypatch
):
    settings = settings_of(tmp_path, (BARS, TICKS, *lines()), (SINGLE,), windowed)
    together = run(cut_tape, settings)
    assert waiting(built[0]) == set(NAMES)
    sizes = {one.settings.name: one.waiting.sizes for one in built[0].models if one.waiting}
    assert sizes == {"Many": WINDOW_SIZES, "One": (1,), "Often": WINDOW_SIZES}
    assert built[0].shadows.batches > together.shadow_decisions / WAITING_ROWS / 2
    grouped = run(cut_tape, settings, block_rows=7)
    monkeypatch.setattr(app.wire, "SHADOWS_WAIT", False)
    single = run(cut_tape, settings)
    assert waiting(built[2]) == set()
    assert files_of(together) == files_of(single) == files_of(grouped)
    assert together.models == single.models
    said = records(together, Record.SHADOW)
    for model in (2, 3, 4):
        reasons = said["aux"][said["model"] == model] & 0xFF
        assert HoldReason.WINDOW_SHORT in reasons
        answered = said[(said["model"] == model) & (said["f0"] + said["f1"] + said["f2"] > 0)]
        assert len(np.unique(answered["f0"])) > 500
    without = run(cut_tape, settings_of(tmp_path / "w", (BARS, TICKS), (SINGLE,), windowed))
    assert without.decision_digest == together.decision_digest
    assert without.fills == together.fills


def test_where_a_batch_fails_each_window_has_its_own_answer(
    cut_tape, windowed, tmp_path, built, monkeypatch
):
    calls = []

    def fails(self, count):
        calls.append(count)
        raise RuntimeError("one of them is to blame")

    settings = settings_of(tmp_path, (BARS, TICKS, *lines()), (SINGLE,), windowed)
    usual = run(cut_tape, settings)
    monkeypatch.setattr(
        "app.opening.waiting_rows", lambda model, rows: WaitingRows(model, together=False)
    )
    monkeypatch.setattr(WaitingRows, "run", fails)
    again = run(cut_tape, settings)
    assert len(calls) == built[1].shadows.batches > 0
    assert files_of(again) == files_of(usual)


@pytest.mark.asyncio
async def test_a_swap_leaves_windows_that_wait_to_the_version_that_goes(
    worlds, windowed, tmp_path, monkeypatch
):
    often = msgspec.structs.replace(lines()[-1], version="production")
    root = copy_of(windowed, tmp_path)
    world = worlds(root, models=(BARS, TICKS, often))
    world.feed(8_000)
    registry.promote(root, "Many", "2", why="for the test", by="tests")
    world.reloads.ask_production("test")
    await until(lambda: world.parts.swaps.count == 1)
    world.feed(8_000)
    assert waiting(world.parts) == {"Often"}
    done = world.close()
    waited = waiting_at_swaps(monkeypatch)
    again = repeated(world)
    assert max(waited) > 0
    assert again.shadow_digest == done.shadow_digest != ""
    assert again.decision_digest == done.decision_digest
    assert repeated(world, block_rows=7).shadow_digest == done.shadow_digest
    monkeypatch.setattr(app.wire, "SHADOWS_WAIT", False)
    assert repeated(world).shadow_digest == done.shadow_digest


def copy_of(root: Path, folder: Path) -> Path:
    """Return a copy of artifacts that a test may change."""
    return Path(shutil.copytree(root, folder / "artifacts"))
