"""Shadows that are asked together leave the records that they leave when asked one by one."""

from pathlib import Path

import msgspec
import pytest

import app.control_rows
import app.replay
import app.wire
from app.replay import Replay, replay
from app.shadows import COUNT_AT, STAGE
from config.load import load_settings
from engine.audit_layout import Record
from engine.events import Signal
from engine.limits import PENDING_PLACES, WAITING_ROWS
from engine.run_files import AUDIT_RECORDS, CHAIN
from ml import registry
from tests.app.fused_world import BARS, FUSED, SINGLE, TICKS, records, run, settings_of, shadow
from tests.app.reload_world import repeated, until
from tests.app.versions import copy_artifacts
from tests.ml.output_models import register

EAGER = msgspec.structs.replace(TICKS, min_confidence=0.9, cadence="quote")
SHADOWS = (
    shadow(TICKS, "TickShadow"),
    shadow(EAGER, "Picky"),
    shadow(BARS, "BarShadow"),
    shadow(FUSED, "BothShadow"),  # its members are heard at once: the models that trade
)
VALUED = ("Return", "Quantiles", "Size", "Action", "Eight", "Veto")


@pytest.fixture
def built(monkeypatch):
    """Return the parts of the runs that a test makes."""
    made, build = [], app.replay.build

    def noted(parts, *rest, **named):
        made.append(build(parts, *rest, **named))
        return made[-1]

    monkeypatch.setattr(app.replay, "build", noted)
    return made


def files_of(done):
    """Return the bytes of a run's audit and of its chain."""
    folder = Path(done.run_dir)
    return (folder / AUDIT_RECORDS).read_bytes(), (folder / CHAIN).read_bytes()


def waiting_at_swaps(monkeypatch):
    """Return a list to which each swap of later runs adds how many rows wait then."""
    waited, swap_at = [], app.control_rows.swap_at

    def noted(parts, *given):
        waited.append(parts.state.words[COUNT_AT])
        swap_at(parts, *given)

    monkeypatch.setattr(app.control_rows, "swap_at", noted)
    return waited


def waiting(parts):
    """Return the names of the models whose rows may wait."""
    pairs = zip(parts.plans, parts.state.slots, strict=False)
    return {plan.serving.settings.name for plan, slot in pairs if slot["waits"]}


def test_the_audit_is_that_of_shadows_asked_one_by_one(cut_tape, tmp_path, built, monkeypatch):
    settings = settings_of(tmp_path, (BARS, TICKS, *SHADOWS), (SINGLE,))
    together = run(cut_tape, settings, batch_rows=1)
    assert waiting(built[0]) == {"TickShadow", "Picky", "BarShadow"}
    assert together.shadow_decisions > 20 * PENDING_PLACES
    assert built[0].shadows.batches > together.shadow_decisions / WAITING_ROWS / 2
    assert together.latency_us[STAGE].p50 > 0.0
    grouped = run(cut_tape, settings, batch_rows=1, block_rows=7)
    monkeypatch.setattr(app.wire, "SHADOWS_WAIT", False)
    single = run(cut_tape, settings, batch_rows=1)
    assert waiting(built[2]) == set()
    assert built[2].shadows.batches == 0
    assert files_of(together) == files_of(single) == files_of(grouped)
    assert together.models == single.models
    ahead = run(cut_tape, settings)
    assert built[3].ahead is not None
    assert ahead.shadow_digest == together.shadow_digest
    assert ahead.decision_digest == together.decision_digest
    shown = [sorted(parts.pipeline.signals) for parts in built]
    assert {model for model, _ in shown[0]} == {0, 1}  # no shadow is shown to strategies
    assert all(keys == shown[0] for keys in shown)


def test_a_member_of_a_fused_model_is_asked_at_once(cut_tape, tmp_path, built):
    fusion = msgspec.structs.replace(FUSED.fusion, members=("TickShadow", "Ticks"))
    fused = msgspec.structs.replace(FUSED, name="Both", fusion=fusion, mode="shadow")
    models = (BARS, TICKS, shadow(TICKS, "TickShadow"), shadow(EAGER, "Picky"), fused)
    run(cut_tape, settings_of(tmp_path, models, (SINGLE,)), batch_rows=1)
    assert waiting(built[0]) == {"Picky"}


def test_outputs_beside_probabilities_and_what_listeners_hear(
    cut_tape, tmp_path, built, monkeypatch
):
    root = copy_artifacts(tmp_path)
    for name in VALUED:
        register(root, name)
    usual = settings_of(
        tmp_path,
        (BARS, TICKS, *(shadow(msgspec.structs.replace(TICKS, model_id=n), n) for n in VALUED)),
        (SINGLE,),
        artifacts=root,
        engine=msgspec.structs.replace(load_settings(None).engine, batch_rows=1),
    )
    found = []
    for together in (True, False):
        monkeypatch.setattr(app.wire, "SHADOWS_WAIT", together)
        heard: list[Signal] = []
        job = Replay(
            tape=cut_tape,
            settings=usual,
            report=False,
            subscribe=lambda bus, heard=heard: bus.topic(Signal).subscribe(heard.append),
        )
        done = replay(job)
        by_model = [[one for one in heard if one.model == at] for at in range(2 + len(VALUED))]
        found.append((done, by_model))
    assert waiting(built[0]) == set(VALUED)
    assert files_of(found[0][0]) == files_of(found[1][0])
    assert len(records(found[0][0], Record.SHADOW_OUTPUT)) > 1000
    assert repr(found[0][1]) == repr(found[1][1])  # NaN stands in some
    assert min(len(heard) for heard in found[0][1][1:]) > 20


@pytest.mark.asyncio
async def test_a_swap_leaves_what_waits_to_the_version_that_goes(worlds, root, monkeypatch):
    usual = load_settings(None).models
    (ticks,) = [one for one in usual if one.name == "TickMLP"]
    newest = msgspec.structs.replace(
        ticks, name="Newest", version="production", mode="shadow", cadence="quote"
    )
    world = worlds(root, models=(*usual, newest))
    world.feed(8_000)
    registry.promote(root, "TickMLP", "2", why="for the test", by="tests")
    world.signal.write_text("")
    await until(lambda: world.parts.swaps.count == 2)
    world.feed(8_000)
    assert waiting(world.parts) == {"Newest"}
    done = world.close()
    waited = waiting_at_swaps(monkeypatch)
    again = repeated(world, batch_rows=1)
    assert max(waited) > 0
    assert again.shadow_digest == done.shadow_digest != ""
    assert again.decision_digest == done.decision_digest
    assert repeated(world, block_rows=7, batch_rows=1).shadow_digest == done.shadow_digest
    assert repeated(world).shadow_digest == done.shadow_digest
