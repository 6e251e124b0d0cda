"""The watch over a run and over a session: what it sees, and what a demotion does and leaves."""

import asyncio
import json
import shutil
from pathlib import Path

import msgspec
import numpy as np
import pytest

import lab
from app.collect import collect_rows
from app.demotion import DEMOTE_HEAD, payload
from app.live_watch import LiveWatch
from app.replay import Replay, replay
from app.watching import Look, Watching, settings_of_run, watch_run
from config.load import load_settings
from config.settings import ModelSettings, WatchSettings
from engine.audit_layout import AUDIT, ModelStatus, Record
from engine.events import Block, WatchCheck
from engine.hash_words import hash_words
from engine.run_files import AUDIT_RECORDS, EVENTS
from ml import registry
from ml.importing import Foreign, import_onnx
from ml.watch.judge import Finding
from ml.watch.reference import KEY, reference_of
from tests.app.reload_world import World, repeated, swapped, until
from tests.app.test_threaded_replay import tape
from tests.app.versions import copy_artifacts, tick_mlp
from tests.ml.faulty_models import far_rows, flat
from tests.ml.heavy_models import register
from tests.ml.output_models import rows as golden_rows
from tests.ml.output_models import spec

assert tape
RULES = WatchSettings(least_rows=300, horizon_s=5.0)
TICKS = 1  # place of TickMLP among the models


@pytest.fixture(scope="module")
def trained(tape, tmp_path_factory) -> Path:
    """Artifacts with TickMLP:2 that knows its training rows, and :3 that was trained elsewhere."""
    root = copy_artifacts(tmp_path_factory.mktemp("watched"))
    seen = collect_rows(tape, spec(), "every:250ms", load_settings(None))
    x, of = seen.x[seen.valid], seen.instrument[seen.valid]
    for shift, weight in ((0.0, 0.3), (6.0, 0.31)):
        moved = x + np.float32(shift) * x.std(axis=0)
        kept = msgspec.to_builtins(reference_of(moved, spec().names, of))
        said = Foreign(model_id="TickMLP", spec=spec(), rows=golden_rows(), meta={KEY: kept})
        import_onnx(root, tick_mlp(weight), said)
    width = len(spec())
    register(root, "Flat", flat(width, 0), spec(), rows=far_rows(width), placement="inline")
    return root


def of_run(tape, trained, runs, version) -> Path:
    settings = load_settings(None, {"runs_dir": str(runs), "artifacts_dir": str(trained)})
    models = tuple(
        msgspec.structs.replace(one, version=version) if one.name == "TickMLP" else one
        for one in settings.models
    )
    settings = msgspec.structs.replace(settings, models=models, watch=RULES)
    job = Replay(tape=tape, settings=settings, named=(f"TickMLP:{version}",), report=False)
    return Path(replay(job).run_dir)


def looked(looks: list[Look], name: str) -> tuple[Look, dict[str, Finding]]:
    (look,) = [one for one in looks if one.name == name]
    return look, {one.check: one for one in look.findings}


def test_a_run_on_rows_as_in_training_has_not_drifted(tape, trained, tmp_path):
    look, found = looked(watch_run(of_run(tape, trained, tmp_path, "2")), "TickMLP")
    assert look.model == "TickMLP:2" and look.demote == ""
    assert found["features"].value == 0.0
    assert found["dissimilar"].value < 0.03
    judged = {name for name, one in found.items() if one.value is not None}
    assert {"strikes", "constant", "outputs", "calibration"} <= judged


def test_a_run_on_other_rows_has_and_the_command_says_so(tape, trained, tmp_path, capsys):
    run = of_run(tape, trained, tmp_path, "3")
    assert lab.main(["models", "watch", run.name, "--runs", str(tmp_path), "--json"]) == 1
    told = json.loads(capsys.readouterr().out)
    (ticks,) = [one for one in told["models"] if one["name"] == "TickMLP"]
    assert ticks["demote"] == "features"
    found = {one["check"]: one for one in ticks["findings"]}
    assert found["features"]["failed"] and found["dissimilar"]["failed"]
    (bars,) = [one for one in told["models"] if one["name"] == "SignalClassifier"]
    assert bars["demote"] == ""
    assert lab.main(["models", "watch", str(run)]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert any('models shadow TickMLP:3 --why "features"' in line for line in lines)


def test_a_version_that_was_registered_while_the_watch_runs_is_known(tape, trained, tmp_path):
    root = tmp_path / "artifacts"
    shutil.copytree(trained, root)
    run = of_run(tape, root, tmp_path / "runs", "2")
    watching = Watching(run, settings_of_run(run), tape.instruments, False)
    try:
        data = tick_mlp(0.77)
        said = Foreign(model_id="TickMLP", spec=spec(), rows=golden_rows())
        import_onnx(root, data, said)
        swap = np.zeros(1, AUDIT)
        swap["kind"], swap["model"] = Record.MODEL, TICKS
        entry = registry.View(root).find("TickMLP", "4")
        for at, word in enumerate(hash_words(entry.sha256)):
            swap[f"i{at}"] = word
        watching.take_records(swap)
        (ticks,) = [one for one in watching.look() if one.name == "TickMLP"]
        assert (ticks.model, ticks.sha256) == ("TickMLP:4", entry.sha256)
    finally:
        watching.close()


@pytest.mark.asyncio
async def test_a_demotion_row_takes_new_exposure_away_and_replays(worlds, root):
    world = worlds(root, named=("TickMLP:1", "TickMLP:2"))
    world.feed(12_000)
    serving = world.parts.models[TICKS]
    assert serving.may_trade and world.parts.portfolio.books.peek(TICKS, 0).position_lot >= 0
    words = payload(WatchCheck.FEATURES, serving, 0.75)
    world.tape.push(DEMOTE_HEAD, world.now_ns(), world.now_ns(), words)
    other = (*words[:3], words[3] + 1, words[4])
    world.tape.push(DEMOTE_HEAD, world.now_ns(), world.now_ns(), other)
    world.feed(12_000)
    assert not serving.may_trade and serving.status == ModelStatus.DEMOTED
    await swapped(world, "TickMLP:2\n")
    assert serving.may_trade and serving.status == ModelStatus.SERVING
    world.feed(4_000)
    await swapped(world, "TickMLP:1\n")
    world.feed(4_000)
    done = world.close()
    records = np.fromfile(world.run_dir / AUDIT_RECORDS, AUDIT)
    models = records[(records["kind"] == Record.MODEL) & (records["model"] == TICKS)]
    serves = ModelStatus.SERVING
    assert models["code"].tolist() == [serves, ModelStatus.DEMOTED, serves, serves]
    after = records[(records["seq"] > models["seq"][1]) & (records["seq"] < models["seq"][2])]
    verdicts = after[(after["kind"] == Record.VERDICT) & (after["model"] == TICKS)]
    entered = np.isin(
        verdicts["id"], after["id"][(after["kind"] == Record.INTENT) & (after["code"] == 0)]
    )
    assert entered.any(), "it goes on wishing"
    assert (verdicts["i0"][entered] & Block.MODEL_STATUS != 0).all()
    events = (world.run_dir / EVENTS).read_text()
    assert "TickMLP:1 is a shadow now: features 0.75" in events
    assert "demotion_passed" in events
    for block, ahead in ((1, 1), (65_536, 1024)):
        again = repeated(world, block_rows=block, batch_rows=ahead)
        assert again.decision_digest == done.decision_digest


class Drifting(World):
    """A session whose model was trained on other rows, with a watch that looks often."""

    def __init__(self, folder: Path, root: Path, cache: Path) -> None:
        rules = msgspec.structs.replace(RULES, period_s=0.05, confirmations=2, least_rows=200)
        models = tuple(
            msgspec.structs.replace(one, version="3") if one.name == "TickMLP" else one
            for one in load_settings(None).models
        )
        flat = ModelSettings(name="Flat", model_id="Flat", version="1", cadence="every:250ms")
        super().__init__(
            folder, root, ("TickMLP:3", "Flat:1"), cache=cache, watch=rules, models=(*models, flat)
        )
        self.watch = LiveWatch(self.run_dir, rules, self.parts.models, self.demotions)


@pytest.mark.asyncio
async def test_fault_M09_a_session_demotes_what_its_worker_sees_and_never_promotes(
    trained, tmp_path, tmp_path_factory
):
    cache = tmp_path_factory.getbasetemp() / "tapes"
    world = Drifting(tmp_path / "w", trained, cache)
    watching = asyncio.create_task(world.watch.run())
    drifted, flat = world.parts.models[TICKS:]
    try:
        for _ in range(30):
            world.feed(1_000)
            world.parts.pipeline.on_flush()
            await asyncio.sleep(0)
        async with asyncio.timeout(120):
            await until(lambda: not drifted.may_trade and not flat.may_trade)
        looks = world.watch.looks
        await until(lambda: world.watch.looks > looks + 2)
    finally:
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
    for serving in (drifted, flat):
        assert serving.status == ModelStatus.DEMOTED and not serving.struck_out
    assert [code for code, _ in world.told] == ["model_demoted"] * 2, "once each, no promotion"
    said = " ".join(text for _, text in world.told)
    assert 'models shadow TickMLP:3 --why "features"' in said
    assert 'models shadow Flat:1 --why "constant"' in said
    assert "answers are equal" in said
    world.feed(2_000)
    done = world.close()
    assert repeated(world).decision_digest == done.decision_digest
    entry = registry.View(trained).find("TickMLP", "3")
    assert entry.status == "candidate", "the registry is a person's"


@pytest.mark.slow
@pytest.mark.asyncio
async def test_a_worker_that_cannot_watch_costs_nothing_but_lines(tmp_path):
    rules = msgspec.structs.replace(RULES, period_s=0.01)
    watch = LiveWatch(tmp_path / "nowhere", rules, [object()], None)
    task = asyncio.create_task(watch.run())
    await until(lambda: watch.starts == 3)
    await asyncio.sleep(0.05)
    assert not task.done()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert watch.looks == 0
